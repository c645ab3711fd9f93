"""Verdicts on actions: did they bring the visit nearer to a purchase of score 1?

What counts is which goal conditions are met: a fitting product among the results, then open, then its wanted options
selected. A verdict never reveals what the pages have not shown: a product that lacks an attribute is not called wrong
before its features were opened, if only they show it.
"""

from sg_pipeline.environments.webshop.goals import Goal
from sg_pipeline.environments.webshop.pages import SUB_PAGES
from sg_pipeline.environments.webshop.products import Product
from sg_pipeline.environments.webshop.reward import judge, matched_options
from sg_pipeline.environments.webshop.session import Outcome, Session
from sg_pipeline.trajectories.types import Polarity


def wanted_options(product: Product, goal: Goal) -> dict[str, str]:
    """Return the options of `product` that the goal wants, as far as it has them: name -> value."""
    found: dict[str, str] = {}
    for option in goal.options:
        names = [option[0]] if not isinstance(option, str) else list(product.options)
        value = option if isinstance(option, str) else option[1]
        for name in names:
            if value in product.options.get(name, ()):
                found[name] = value
                break
    return found


def fits(product: Product, goal: Goal) -> bool:
    """Return whether buying `product` with the right options has score 1."""
    return judge(product, goal, wanted_options(product, goal)).total == 1.0


def untold(product: Product, goal: Goal) -> list[str]:
    """Return the wanted attributes that are not in the product's title."""
    return [attribute for attribute in goal.attributes if attribute not in product.title.lower()]


def visibly_wrong(product: Product, goal: Goal) -> bool:
    """Return whether price, options or the kind of thing on the item's page show that it does not fit."""
    reward = judge(product, goal, wanted_options(product, goal))
    return not reward.r_price or reward.r_type < 1 or (reward.r_option is not None and reward.r_option < 1)


class Progress:
    """Judges the actions of one visit, one after the other."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._checked: set[str] = set()
        self._searched: set[str] = set()
        self._remember()

    def judge(self, action: str, outcome: Outcome) -> Polarity:
        """Return the verdict on `action`, whose result is `outcome`."""
        before, kind, offered, matched = self._product, self._kind, self._offered, self._matched
        self._remember()
        if outcome.reward is not None or not outcome.understood:
            won = outcome.reward is not None and outcome.reward.total == 1.0
            return Polarity.POSITIVE if won else Polarity.NEGATIVE
        if self._kind == "item" and kind == "item":
            return Polarity.POSITIVE if self._matched > matched else Polarity.NEGATIVE
        product, goal = self._product, self._session.goal
        if product is not None and kind == "results":
            if visibly_wrong(product, goal):
                return Polarity.NEGATIVE
            return Polarity.NEUTRAL if untold(product, goal) else Polarity.POSITIVE
        if product is not None and self._kind in SUB_PAGES:
            useful = action == "click[features]" and untold(product, goal) and product.asin not in self._checked
            if useful:
                self._checked.add(product.asin)
            return Polarity.POSITIVE if useful and fits(product, goal) else Polarity.NEGATIVE
        return self._listed(action, offered, before is not None and product is None and fits(before, goal))

    def _listed(self, action: str, offered: bool, left_fitting: bool) -> Polarity:
        """Judge a step that led to results, to the search page, or from a sub-page back to its item."""
        again = action.startswith("search[") and action in self._searched
        if action.startswith("search["):
            self._searched.add(action)
        if left_fitting or again:
            return Polarity.NEGATIVE
        if self._kind == "item" or action == "click[< prev]":
            return Polarity.NEUTRAL
        if self._offered:
            return Polarity.POSITIVE
        return Polarity.NEGATIVE if offered else Polarity.NEUTRAL

    def _remember(self) -> None:
        session = self._session
        self._product, self._kind = session.product, session.page.kind
        self._matched = matched_options(session.goal, tuple(session.selected.values()))
        self._offered = self._kind == "results" and any(fits(product, session.goal) for product in session.results())
