"""The reward's four parts, and the text comparison."""

from dataclasses import replace

import numpy as np
import pytest

from sg_pipeline.environments.webshop.goals import NO_LIMIT, Goal
from sg_pipeline.environments.webshop.products import Product
from sg_pipeline.environments.webshop.reward import judge, normalise_colour, token_set_ratio

PRODUCT = Product(
    asin="B000000001",
    title="Acme Cotton Shirt",
    description="Very soft.",
    bullets=("Machine Washable",),
    price_tag="$20.0",
    price=20.0,
    options={"color": ("red", "navy blue"), "size": ("small", "large")},
    attributes=("long sleeve", "essential oil"),
    query="shirts",
    category="fashion",
    product_category="Clothing \u203a Men \u203a Shirts",
)
GOAL = Goal(
    asin=PRODUCT.asin,
    instruction="Find me a shirt",
    attributes=("long sleeves", "machine washable"),
    options=(("color", "red"), ("size", "large")),
    price_upper=30.0,
    name=PRODUCT.title,
    query="shirts",
    category="fashion",
    product_category=PRODUCT.product_category,
)


def test_all_parts_met_is_one() -> None:
    reward = judge(PRODUCT, GOAL, {"size": "large", "color": "red"})
    assert (reward.total, reward.r_type, reward.r_att, reward.r_option, reward.r_price) == (1.0, 1.0, 1.0, 1.0, True)


def test_each_part_counts_by_itself() -> None:
    selected = {"size": "large", "color": "red"}
    other = replace(GOAL, attributes=("long sleeve", "gluten free"))
    assert judge(PRODUCT, other, selected).total == pytest.approx(0.8)
    assert judge(PRODUCT, GOAL, {"size": "large"}).total == pytest.approx(0.8)
    assert judge(replace(PRODUCT, price=30.5), GOAL, selected).total == pytest.approx(0.8)
    assert judge(replace(PRODUCT, price=30.0), GOAL, selected).total == 1.0
    assert judge(PRODUCT, GOAL, {}).total == pytest.approx(0.6)


def test_no_options_wanted() -> None:
    reward = judge(PRODUCT, replace(GOAL, options=(), price_upper=NO_LIMIT), {"color": "red"})
    assert (reward.total, reward.r_option) == (1.0, None)


@pytest.mark.parametrize(
    ("shared", "query", "category", "r_type"),
    [
        *((3, "other", "A", 1.0), (2, "other", "A", 0.5), (1, "other", "A", 0.1), (0, "other", "A", 0.0)),
        *((2, "shirts", "A", 1.0), (2, "other", PRODUCT.product_category, 1.0)),
        (0, "shirts", PRODUCT.product_category, 0.0),  # no word in common outweighs the rest
    ],
)
def test_the_kind_of_thing(shared: int, query: str, category: str, r_type: float) -> None:
    words = "one two three four five six seven eight nine ten eleven twelve"
    title = " ".join(["other", *words.split()[:shared]])
    product = replace(PRODUCT, title=title, query=query, product_category=category)
    assert judge(product, replace(GOAL, name=words), {}).r_type == r_type


def test_colours_are_compared_by_their_first_name() -> None:
    assert normalise_colour("light navy blue") == "blue"
    assert normalise_colour("fashion girl") == "ash"
    assert normalise_colour("16 oz") == "16 oz"


def test_pairs_of_a_synthetic_goal_keep_the_fault_of_the_original() -> None:
    product = replace(PRODUCT, options={"color": ("black137", "white")})
    pair = replace(GOAL, options=(("color", "black137"),))
    # The page's value is cut to its colour, the goal's pair is not: "black" is no word of "color black137".
    assert judge(product, pair, {"color": "black137"}).r_option == 0.0
    assert judge(product, replace(GOAL, options=("black137",)), {"color": "black137"}).r_option == 1.0


def test_ratio_agrees_with_thefuzz() -> None:
    fuzz = pytest.importorskip("thefuzz.fuzz", reason="thefuzz is in the extra dev")
    rng = np.random.default_rng(0)
    words = ["sleeve", "sleeves", "Long-Sleeve", "tea", "tree", "café", "naïve", "18''x18''", "x-large", "large"]
    words += ["long", "('size',", "'large')", "b17-wine\xa0red", "中文", "!!", "10", "1", ""]
    for _ in range(4000):
        first, second = (" ".join(rng.choice(words, size=rng.integers(0, 5))) for _ in range(2))
        assert token_set_ratio(first, second) == fuzz.token_set_ratio(first, second), (first, second)
