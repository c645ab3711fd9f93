"""The original's reward of a purchase, in its four parts.

    reward = r_type (n_attributes + n_options + [price <= limit]) / (|attributes| + |options| + 1)

Source: `web_agent_site/engine/goal.py` of the original; the text comparison is thefuzz's `token_set_ratio` > 85, here
from rapidfuzz, which thefuzz wraps.

One thing differs: `r_type` compares the nouns of two titles, which the original takes from spaCy's large English
model. It is not on PyPI; words of letters without stop words replace it. That moves the title score within its bands,
and matters only if neither query nor categories agree, or if the titles share hardly a word.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sg_pipeline.environments.base import requires_extra
from sg_pipeline.environments.webshop.analyzer import STOP_WORDS
from sg_pipeline.environments.webshop.goals import Goal
from sg_pipeline.environments.webshop.products import CATEGORY_MARK, Product

with requires_extra("webshop"):
    from rapidfuzz import fuzz
    from rapidfuzz.utils import default_process

MATCH = 85
"""A ratio above it counts as the same."""

_LATIN_1 = dict.fromkeys(range(128, 256))
_WORD = re.compile(r"[^\W\d_]+")

_COLOURS = """
    alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo
    caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream crystal
    dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather indigo
    ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor
    mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal rust sand
    sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise violet walnut
    wheat white wine yellow
"""
COLOURS = tuple(_COLOURS.split())
"""The colours that the original knows, in the order in which it looks for them."""


@dataclass(frozen=True, slots=True)
class Reward:
    """A purchase, judged; the field names of the parts are the original's.

    Attributes:
        total: in [0, 1].
        r_type: 1.0 the right kind of thing, 0.5, 0.1 or 0.0 less and less so.
        r_att, r_option: share of the wanted attributes and options that are met; `r_option` None: no option is wanted.
        r_price: the price is within the limit.
    """

    total: float
    r_type: float
    r_att: float
    r_option: float | None
    r_price: bool

    def parts(self) -> tuple[tuple[str, float], ...]:
        """Return the parts of the reward by name, without `r_option` if no option is wanted."""
        shares = {name: getattr(self, name) for name in ("r_type", "r_att", "r_option", "r_price")}
        return tuple((name, float(share)) for name, share in shares.items() if share is not None)


@lru_cache(maxsize=100_000)
def token_set_ratio(first: str, second: str) -> int:
    """Return thefuzz's `token_set_ratio` in whole percent, 0 if one of the two has no letter or digit."""
    first, second = (default_process(text.translate(_LATIN_1)) for text in (first, second))
    return round(fuzz.token_set_ratio(first, second))


def judge(product: Product, goal: Goal, selected: Mapping[str, str]) -> Reward:
    """Return the reward for buying `product` with the options `selected` (name -> value)."""
    r_type = _type(product, goal)
    attributes = sum(_has_attribute(product, wanted) for wanted in goal.attributes)
    options = matched_options(goal, tuple(selected.values()))
    r_price = product.price <= goal.price_upper
    parts = len(goal.attributes) + len(goal.options) + 1
    return Reward(
        total=(attributes + options + r_price) / parts * r_type,
        r_type=r_type,
        r_att=attributes / len(goal.attributes),
        r_option=options / len(goal.options) if goal.options else None,
        r_price=r_price,
    )


def matched_options(goal: Goal, selected: tuple[str, ...]) -> int:
    """Return how many of the goal's options are met by the selected values."""
    values = [str(normalise_colour(value)) for value in selected]
    # A pair is compared as Python writes it: "('color', 'red')" holds the same words as "color red".
    return sum(
        any(token_set_ratio(value, str(normalise_colour(wanted))) > MATCH for value in values)
        for wanted in goal.options
    )


def normalise_colour(value: str | tuple[str, str]) -> str | tuple[str, str]:
    """Return the first colour that is in `value`, else `value`.

    In a text a colour is found anywhere ("ash" in "fashion"); in a pair of name and value only if it is one of the two.
    So does the original with synthetic goals, whose options are pairs: "black137" in a goal is not matched by
    "black137" on the page. Results are comparable only with the same fault.
    """
    return next((colour for colour in COLOURS if colour in value), value)


def _has_attribute(product: Product, wanted: str) -> bool:
    return any(token_set_ratio(attribute, wanted) > MATCH for attribute in product.attributes) or any(
        wanted in text.lower() for text in (product.title, " ".join(product.bullets), product.description)
    )


def _type(product: Product, goal: Goal) -> float:
    bought, wanted = (
        {part.strip() for part in path.split(CATEGORY_MARK)}
        for path in (product.product_category, goal.product_category)
    )
    words = _title_words(goal.name)
    title_score = len(set(_title_words(product.title)) & set(words)) / len(words) if words else 0.2
    if title_score < 0.1:
        return 0.1 if title_score else 0.0
    return 1.0 if product.query == goal.query or len(bought & wanted) >= 2 or title_score > 0.2 else 0.5


def _title_words(title: str) -> list[str]:
    return [word for word in _WORD.findall(title.lower()) if word not in STOP_WORDS]
