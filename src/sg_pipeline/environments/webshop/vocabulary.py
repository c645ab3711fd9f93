"""The words of generated shops for a word-level policy, and the rewrites that drop what tells it nothing.

A results page of ten products is about 110 tokens: the instruction is read once, on the first page; separators,
buttons that are on every page and cents are dropped. An asin is three tokens: kind, first attribute, maker.
"""

from sg_pipeline.environments.webshop.generation.words import BRANDS, DEPARTMENTS, asin_pieces
from sg_pipeline.policies.vocabulary import Vocabulary

PRICES = range(5, 101)
"""Dollars that are one token; a rival costs at most a hundred."""

_COMMANDS = ("search[", "click[", "]")
_BUTTONS = ("< prev", "next >", "buy now", "back to search")
_WORDS = """
    task with page item description features reviews search open choose check not wrong product leave look at next back
    to buy nothing limit positive neutral negative by
"""

REWRITES = (
    # What every page repeats. The first page alone ends in the search button.
    (r"^webshop \[sep\] instruction: \[sep\] (?:find me )?", " task "),
    (r" \[sep\] search$", " "),
    (r"^(?:instruction: \[sep\] .*? \[sep\] )?back to search \[sep\] ", " "),
    (r"\(total results: \d+\) \[sep\] (?:< prev \[sep\] )?next >", " "),
    (r"^ ?< prev \[sep\] ", " item "),
    (r"\[sep\] rating: n\.a\. \[sep\] description \[sep\] features \[sep\] reviews \[sep\] buy now", " "),
    (r" \[sep\] ", " "),
    # Prices: whole dollars.
    (r"price lower than ", " limit $"),
    (r"\.00? dollars\b", " "),
    (r"(?<=\d)\.0\b", " "),
    (r"price: ", " "),
    (r",\s*and\b", " "),
    # Commands: the brackets are tokens of their own.
    (r"search\[", " search[ "),
    (r"click\[", " click[ "),
    (r"\]", " ] "),
    (r"[,:;!?\"(){}=]", " "),
)

JOINS = (("search[ ", "search["), ("click[ ", "click["), (" ]", "]"))


def webshop_vocabulary() -> Vocabulary:
    """Return every word that observations, actions and guidance of a generated shop can hold."""
    words = {*_WORDS.split(), *_COMMANDS, *BRANDS, *(f"${dollars}" for dollars in PRICES)}
    for department in DEPARTMENTS:
        words.update(*(kind.split() for kinds in department.groups.values() for kind in kinds))
        words.update(*(attribute.split() for attribute in department.attributes))
        words.update(department.options, *department.options.values())
    first, *others = asin_pieces()
    words.update(first, (f"##{piece}" for pieces in others for piece in pieces))
    return Vocabulary(
        receptacles=(),
        items=(),
        words=tuple(sorted(words)),
        phrases=_BUTTONS,
        rewrites=REWRITES,
        joins=JOINS,
    )
