"""A scripted customer who knows only what the pages have shown, and its demonstrations.

    search the goal's words ─► open what fits by title and price ─► look for the options ─► check the features
          ▲                            ▲        │ no                      │ no                    │ no
          └── no more pages            └────────┴─────────────────────────┴───────────────────────┘
    ─► choose the options ─► buy

It decides at each turn from the open page, so it can continue from wherever a mistake has led.

Every `CATALOGUE_SHARE` demonstrations are played in another catalogue, of the panel's recipe and another seed: a policy
that has to copy a product's id from the page must not be able to memorise it.
"""

import tempfile
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import numpy as np

from sg_pipeline.environments.base import Demonstration, DemoTurn, lapse
from sg_pipeline.environments.webshop.catalogue import Catalogue, prepare_catalogue
from sg_pipeline.environments.webshop.generation.catalogue import CatalogueRecipe, write_catalogue
from sg_pipeline.environments.webshop.goals import Goal
from sg_pipeline.environments.webshop.official import find_files
from sg_pipeline.environments.webshop.pages import BACK, BUY, NEXT, PREVIOUS, SUB_PAGES
from sg_pipeline.environments.webshop.products import Product
from sg_pipeline.environments.webshop.progress import Progress, untold, wanted_options
from sg_pipeline.environments.webshop.session import FORMS, Session
from sg_pipeline.randomness import derive_seed
from sg_pipeline.trajectories.types import Polarity

MAX_TURNS = 15
"""The paper's limit."""

CATALOGUE_SHARE = 500
"""A catalogue of three thousand products takes a second to make, a demonstration twenty milliseconds."""

IMPOSSIBLE_SHARE = 0.25
"""Share of mistakes that are clicks on what is not on the page."""

_PAGES = 3
"""Result pages that the expert reads before it searches with fewer words."""


class Expert:
    """Plays one visit; `decide` at each turn."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._goal = session.goal
        self._rejected: set[str] = set()
        self._checked: set[str] = set()
        self._searches = 0

    def decide(self) -> tuple[str, str]:
        """Return the sub-goal in words and the action."""
        product = self._session.product
        if product is None:
            return self._search() if self._session.page.kind == "search" else self._choose()
        return self._read(product) if self._session.page.kind in SUB_PAGES else self._inspect(product)

    def _search(self) -> tuple[str, str]:
        attributes = self._goal.attributes if self._searches % 2 == 0 else self._goal.attributes[:1]
        self._searches += 1
        return f"search {self._goal.query}", f"search[{' '.join([*attributes, self._goal.query])}]"

    def _choose(self) -> tuple[str, str]:
        """Open the first product that may fit and was not rejected."""
        goal = self._goal
        page = [product for product in self._session.results() if product.asin not in self._rejected]
        # A title without any of the attributes is unlikely to fit; otherwise the order of the search decides.
        for product in page:
            title = product.title.lower()
            traits = [attribute for attribute in goal.attributes if attribute in title]
            if traits and goal.query in title and product.price <= goal.price_upper:
                maker = title.split()[0]
                return f"open {' '.join(traits)} {goal.query} by {maker}", f"click[{product.asin.lower()}]"
        if self._session.number < _PAGES and page:
            return "look at next page", "click[next >]"
        return self._search()

    def _inspect(self, product: Product) -> tuple[str, str]:
        goal = self._goal
        wanted = wanted_options(product, goal)
        flaws = goal.query not in product.title.lower() or product.price > goal.price_upper
        if product.asin in self._rejected or flaws or len(wanted) < len(goal.options):
            self._rejected.add(product.asin)
            return "wrong product leave", "click[< prev]"
        unknown = untold(product, goal)
        if unknown and product.asin not in self._checked:
            return f"check {' '.join(unknown)}", "click[features]"
        for name, value in wanted.items():
            if self._session.selected.get(name) != value:
                return f"choose {value}", f"click[{value}]"
        return "buy", "click[buy now]"

    def _read(self, product: Product) -> tuple[str, str]:
        """Leave a sub-page, and remember what the features say."""
        if self._session.page.kind == "features":
            self._checked.add(product.asin)
            shown = " ".join(self._session.page.segments).lower()
            missing = [attribute for attribute in untold(product, self._goal) if attribute not in shown]
            if missing:
                self._rejected.add(product.asin)
                return f"not {' '.join(missing)} leave", "click[< prev]"
        return f"back to {self._goal.query}", "click[< prev]"


def demonstrate(
    catalogue: Catalogue, goal: Goal, rng: np.random.Generator, noise: float = 0.0, max_turns: int = MAX_TURNS
) -> Demonstration:
    """Play a visit with the scripted expert; it is lost after `max_turns`, or if nothing that fits was found.

    Args:
        catalogue, goal: what is played.
        rng, noise: see `base.Demonstrator`.
        max_turns: the episode's limit.
    """
    session = Session(catalogue, goal)
    progress, expert = Progress(session), Expert(session)
    polarity, won = Polarity.NEUTRAL, False
    observation = session.page.text()
    turns: list[DemoTurn] = []
    while len(turns) < max_turns and not session.done:
        wanted = expert.decide()
        subgoal, action = lapse(turns, noise, rng, lambda: mistaken(session, mistake(session, rng))) or wanted
        is_noise = action != wanted[1]
        turns.append(DemoTurn(observation, subgoal if is_noise else wanted[0], polarity, action, is_noise))
        outcome = session.act(action)
        polarity = progress.judge(action, outcome)
        won = outcome.reward is not None and outcome.reward.total == 1.0
        observation = session.page.text()
    return Demonstration(tuple(turns), won, observation, polarity, FORMS)


def mistake(session: Session, rng: np.random.Generator) -> str:
    """Return an action at random that does not end the visit: mostly a possible click, else an impossible one."""
    page, goal = session.page, session.goal
    if rng.random() < IMPOSSIBLE_SHARE:
        absent = [*goal.option_values(), goal.asin.lower(), "features", "< prev", "next >", BUY]
        absent = [name for name in absent if name not in page.clickables]
        return f"click[{absent[int(rng.integers(len(absent)))]}]"
    possible = [name for name in page.clickables if name not in (BUY, "search")]
    if page.kind == "search" or not possible:
        words = [goal.query, *goal.attributes, *goal.option_values()]
        return f"search[{words[int(rng.integers(len(words)))]}]"
    return f"click[{possible[int(rng.integers(len(possible)))]}]"


def mistaken(session: Session, action: str) -> tuple[str, str]:
    """Return the sub-goal, in the expert's words, of a customer who wants this action, and the action."""
    name = action.partition("[")[2].removesuffix("]")
    goal = session.goal
    if action.startswith("search"):
        return f"search {name}", action
    if product := session.page.products.get(name):
        return f"open {goal.query} by {product.title.lower().split()[0]}", action
    aims = {BACK: f"search {goal.query}", PREVIOUS: f"back to {goal.query}", NEXT: "look at next page", BUY: "buy"}
    aims |= {page: f"check {page}" for page in SUB_PAGES} | {goal.asin.lower(): f"open {goal.query}"}
    return aims.get(name, f"choose {name}"), action


class GeneratedShopDemonstrator:
    """Plays fresh goals in fresh catalogues, none of which is a panel's (see `base.Demonstrator`)."""

    def __init__(self, recipe: CatalogueRecipe) -> None:
        self._recipe = recipe
        self._folder = tempfile.TemporaryDirectory(prefix="sg_webshop_demonstrations_")
        self._catalogue = lru_cache(maxsize=2)(self._make_catalogue)

    def demonstrate(self, number: int, rng: np.random.Generator, noise: float) -> Demonstration:
        """Play demonstration `number`; the categories take turns."""
        catalogue, by_category = self._catalogue(number // CATALOGUE_SHARE)
        positions = by_category[number % len(by_category)]
        goal = catalogue.goal("synthetic", positions[int(rng.integers(len(positions)))])
        return demonstrate(catalogue, goal, rng, noise)

    def close(self) -> None:
        """Remove the catalogues."""
        self._folder.cleanup()

    def _make_catalogue(self, number: int) -> tuple[Catalogue, list[list[int]]]:
        """Return catalogue `number` and the positions of its goals, by category."""
        folder = Path(self._folder.name) / str(number)
        seed = derive_seed(self._recipe.seed, "webshop demonstrations", number, bits=31)
        write_catalogue(self._recipe.model_copy(update={"seed": seed}), folder)
        prepare_catalogue(find_files(folder), folder / "prepared")
        catalogue = Catalogue(folder / "prepared")
        by_category: defaultdict[str, list[int]] = defaultdict(list)
        for position in range(catalogue.goal_count("synthetic")):
            by_category[catalogue.goal("synthetic", position).category].append(position)
        return catalogue, [by_category[category] for category in sorted(by_category)]
