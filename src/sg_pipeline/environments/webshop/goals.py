"""Goals: what a customer wants, in the original's order, with deterministic price limits, and disjoint splits.

Source: `get_human_goals` and `get_synthetic_goals` of the original's `web_agent_site/engine/goal.py`, and the shuffle
with seed 233 in `SimServer`. A goal is named by its kind and its position in that order.

    human:      one goal for each instruction that a person wrote
    synthetic:  one for each combination of option values of a product with a synthetic instruction
"""

import hashlib
import itertools
import json
import math
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sg_pipeline.environments.webshop.products import Product
from sg_pipeline.randomness import derive_seed

GoalKind = Literal["human", "synthetic"]
KINDS: tuple[GoalKind, ...] = ("human", "synthetic")

SHUFFLE_SEED = 233
"""The original's: a test set of "the first 500 goals" means this order."""

SPLITS: dict[str, tuple[int, int | None]] = {"train": (1500, None), "dev": (500, 1500), "test": (0, 500)}
"""Positions of each split, the authors' own. They share no goal; a worker never shuffles again."""

NO_LIMIT = 1_000_000.0
_LIMITS = [10.0 * step for step in range(1, 100)]


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal of a customer.

    Attributes:
        asin: a product that meets it.
        instruction: the text that the agent sees.
        attributes: what the product must have.
        options: what must be selected: pairs of name and value (synthetic goals), or values (human goals).
        price_upper: the price limit; `NO_LIMIT` if the text names none.
        name, query, category, product_category: of the product `asin`; the reward compares the kind of thing.
    """

    asin: str
    instruction: str
    attributes: tuple[str, ...]
    options: tuple[tuple[str, str], ...] | tuple[str, ...]
    price_upper: float
    name: str
    query: str
    category: str
    product_category: str

    @property
    def sha256(self) -> str:
        """Digest of the whole goal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def option_values(self) -> tuple[str, ...]:
        """Return the wanted values without the names of their options."""
        return tuple(option if isinstance(option, str) else option[1] for option in self.options)


def goal_order(products: Iterable[Product], kind: GoalKind) -> npt.NDArray[np.int32]:
    """Return (goals, 2), in the original's order: number of the product, and which of its goals it is."""
    counts = np.array([_goals_of(product, kind) for product in products], dtype=np.int64)
    numbers = np.repeat(np.arange(len(counts)), counts)
    parts = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
    # Python's own generator, as there; its `shuffle` depends on the length alone.
    order = list(range(len(numbers)))
    random.Random(SHUFFLE_SEED).shuffle(order)
    return np.stack([numbers, parts], axis=1)[order].astype(np.int32)


def make_goal(product: Product, kind: GoalKind, part: int) -> Goal:
    """Return one goal of a product, as `goal_order` names it."""
    options: tuple[tuple[str, str], ...] | tuple[str, ...]
    if kind == "human":
        text, attributes, options = [one for one in product.instructions if one.attributes][part]
        text = text.strip(".")
    else:
        attributes, options = product.wish_attributes, _combination(product, part)
        asked = ", and ".join(f"{name}: {value}" for name, value in options)
        text = f"{product.wish} with {asked}" if asked else str(product.wish)
    # The limit belongs to the instruction; in a synthetic goal to the product, whatever its options.
    limit, limit_text = _price_limit(product, part if kind == "human" else 0)
    return Goal(
        asin=product.asin,
        instruction=f"{text}{limit_text}",
        attributes=attributes,
        options=options,
        price_upper=limit,
        name=product.title,
        query=product.query,
        category=product.category,
        product_category=product.product_category,
    )


def _goals_of(product: Product, kind: GoalKind) -> int:
    if kind == "human":
        return sum(bool(one.attributes) for one in product.instructions)
    if product.wish is None or not product.wish_attributes:
        return 0
    return math.prod(len(values) for values in product.options.values())


def _combination(product: Product, part: int) -> tuple[tuple[str, str], ...]:
    """Return the values number `part` of `itertools.product` over the options, sorted by name."""
    names = sorted(product.options)
    combinations = itertools.product(*(product.options[name] for name in names))
    return tuple(zip(names, next(itertools.islice(combinations, part, None)), strict=True))


def _price_limit(product: Product, number: int) -> tuple[float, str]:
    """Return the higher of two of the next four tens above the price, and how the instruction says it."""
    above = [limit for limit in _LIMITS if limit > product.price][:4]
    if len(above) < 2:
        return NO_LIMIT, ""
    pairs = list(itertools.combinations(above, 2))
    _, limit = pairs[derive_seed(0, "webshop price limit", product.asin, number) % len(pairs)]
    return limit, f", and price lower than {limit:.2f} dollars"
