"""A visit to the shop: which page is open, what is selected, and what an action does."""

import re
from dataclasses import dataclass

from sg_pipeline.environments.webshop.catalogue import Catalogue
from sg_pipeline.environments.webshop.goals import Goal
from sg_pipeline.environments.webshop.pages import (
    BACK,
    BUY,
    NEXT,
    PER_PAGE,
    PREVIOUS,
    SUB_PAGES,
    done_page,
    item_page,
    results_page,
    search_page,
    sub_page,
)
from sg_pipeline.environments.webshop.products import Product
from sg_pipeline.environments.webshop.reward import Reward, judge

_CALL = re.compile(r"(.+)\[(.+)\]")  # greedy and on one line, from the start but not to the end: as in the original

FORMS = ("search[words]", "click[name]")
"""The forms of all commands."""

SPECIAL_QUERIES = ("<r>", "<a>", "<c>", "<q>")
"""First words by which the original's site lists products without searching: at random, by attribute, category, query.

An agent that knew them would read the answer from the category; in text mode two of them crash the original. They
are blocked: such a search does nothing.
"""


def parse_action(text: str) -> tuple[str, str] | None:
    """Return ("search" or "click", lower-cased argument) as the original reads it; None if neither or blocked."""
    match = _CALL.match(text)
    if match is None or match[1] not in ("search", "click"):
        return None
    name, argument = match[1], match[2].lower()
    if name == "search" and argument.split(" ")[0] in SPECIAL_QUERIES:
        return None
    return name, argument


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action did: nothing if it was not understood; the reward is that of the purchase that ended the visit."""

    understood: bool
    reward: Reward | None = None


class Session:
    """One visit with one goal, by the rules of the original's `SimServer`.

    A new search, or going back from an item to the results, forgets the selected options; a sub-page keeps them.
    """

    def __init__(self, catalogue: Catalogue, goal: Goal) -> None:
        self.goal = goal
        self.product: Product | None = None
        self.selected: dict[str, str] = {}
        self.page = search_page(goal.instruction)
        self.done = False
        self._catalogue = catalogue
        self._found: list[int] = []
        self.number = 1
        """Which page of the results is or was open, from 1."""

    def act(self, text: str) -> Outcome:
        """Carry out an action, as the policy wrote it."""
        action = parse_action(text)
        if action is None:
            return Outcome(understood=False)
        name, argument = action
        if name == "search":
            self._found, self.number = self._catalogue.search(argument), 1
            self._show_results()
        elif argument == "search" or argument not in self.page.clickables:
            # The search page's button alone has no words to search for.
            return Outcome(understood=False)
        elif argument == BUY:
            return self._buy()
        else:
            self._click(argument)
        return Outcome(understood=True)

    def results(self) -> list[Product]:
        """Return the products of the present page of results, also while one of them is open."""
        start = (self.number - 1) * PER_PAGE
        return [self._catalogue.product(number) for number in self._found[start : start + PER_PAGE]]

    def _click(self, name: str) -> None:
        # Buttons before links and values: a product's option may be called "features".
        if name == BACK:
            self.product, self.selected, self._found = None, {}, []
            self.page = search_page(self.goal.instruction)
        elif name in (NEXT, PREVIOUS) and self.page.kind == "results":
            self.number += 1 if name == NEXT else -1
            self._show_results()
        elif name == PREVIOUS and self.page.kind == "item":
            self._show_results()
        elif name in SUB_PAGES and self.product is not None:
            self.page = sub_page(self.goal.instruction, self.product, name)
        else:
            if name in self.page.products:
                self.product = self.page.products[name]
            elif name in self.page.options:
                self.selected = {**self.selected, self.page.options[name]: name}
            assert self.product is not None
            self.page = item_page(self.goal.instruction, self.product)

    def _show_results(self) -> None:
        self.product, self.selected = None, {}
        self.page = results_page(self.goal.instruction, self.results(), self.number, len(self._found))

    def _buy(self) -> Outcome:
        assert self.product is not None
        reward = judge(self.product, self.goal, self.selected)
        self.page, self.done = done_page(self.product, self.selected, reward), True
        return Outcome(understood=True, reward=reward)
