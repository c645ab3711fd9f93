"""What a policy writes, taken apart as the original does: `search[words]` and `click[thing]`; all else does nothing."""

import re
from dataclasses import dataclass

_CALL = re.compile(r"(.+)\[(.+)\]")  # greedy and on one line, from the start but not to the end: as in the original

FORMS = ("search[words]", "click[name]")
"""The forms of all commands."""

SPECIAL_QUERIES = ("<r>", "<a>", "<c>", "<q>")
"""First words by which the original's site lists products without searching: at random, by attribute, category, query.

An agent that knew them would read the answer off the category; in text mode two of them crash the original. They are
blocked: such a search does nothing.
"""


@dataclass(frozen=True, slots=True)
class Action:
    """An action that may do something.

    Attributes:
        name: "search" or "click", exactly so written.
        argument: lower-cased, not stripped.
    """

    name: str
    argument: str


def parse_action(text: str) -> Action | None:
    """Return what `text` asks for; None where it is neither a search nor a click, or a blocked search."""
    match = _CALL.match(text)
    if match is None:
        return None
    name, argument = match[1], match[2].lower()
    if name not in ("search", "click"):
        return None
    if name == "search" and argument.split(" ")[0] in SPECIAL_QUERIES:
        return None
    return Action(name, argument)
