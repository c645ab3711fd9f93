"""Draws a catalogue: families of products that differ in one thing that a customer may care about.

A family has a kind and three attributes. The title has two of them; the third is on the page "Features" only, as the
first bullet, which is in the search index: a search finds it, but one has to open the features to see it. Each product
has rivals of the same kind and title attributes: one that costs more, one with another third attribute, one with other
option values. So a customer reads prices on the results, values on the item's page and, if the third attribute matters,
its features.

Every family is drawn from a separate stream: a catalogue of a million products needs no more memory than one of ten.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sg_pipeline.environments.webshop.generation.words import BRANDS, DEPARTMENTS, MAX_PRODUCTS, Department, asin
from sg_pipeline.environments.webshop.products import CATEGORY_MARK
from sg_pipeline.files import atomic_write
from sg_pipeline.randomness import stream

FILES = ("items_shuffle.json", "items_ins_v2.json", "items_human_ins.json")
"""The official names."""

_LOWEST, _HIGHEST = 5, 60
"""Dollars of an original; a more expensive rival costs 20 to 40 more."""

Rival = Literal["dearer", "other attribute", "other options"]


class CatalogueRecipe(BaseModel):
    """What a catalogue is drawn from.

    Attributes:
        products: how many.
        seed: decides everything else.
        rivals: which rivals each product has.
        values: how many values an option of a product has.
        hidden: share of goals that ask for the attribute that is not in the title.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    products: int = Field(3000, ge=1, le=MAX_PRODUCTS)
    seed: int = Field(0, ge=0)
    rivals: tuple[Rival, ...] = ("dearer", "other attribute", "other options")
    values: int = Field(3, ge=2, le=4)
    hidden: float = Field(0.5, ge=0, le=1)


def write_catalogue(recipe: CatalogueRecipe, folder: Path) -> None:
    """Write the three official files of a catalogue, each whole or not at all; there are no human instructions."""
    with (
        atomic_write(folder / FILES[0]) as products,
        atomic_write(folder / FILES[1]) as attributes,
        products.open("w", encoding="utf-8") as product_file,
        attributes.open("w", encoding="utf-8") as attribute_file,
    ):
        for number, (entry, known) in enumerate(entries(recipe)):
            product_file.write(("[" if number == 0 else ",") + "\n" + _json(entry))
            attribute_file.write(("{" if number == 0 else ",") + f"\n{_json(entry['asin'])}:{_json(known)}")
        product_file.write("\n]\n")
        attribute_file.write("\n}\n")
    with atomic_write(folder / FILES[2]) as human:
        human.write_text("{}\n", encoding="utf-8")


def entries(recipe: CatalogueRecipe) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the entries of the product file and of the attribute file, product by product."""
    made: Counter[tuple[str, str, str]] = Counter()
    for entry, known in islice(_members(recipe), recipe.products):
        alike = entry["query"], known["attributes"][0], entry["name"].split()[0].lower()
        yield {"asin": asin(*alike, made[alike]), **entry}, known
        made[alike] += 1


def _members(recipe: CatalogueRecipe) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield families without end, each in random order, so that the original is not always first."""
    family = 0
    while True:
        rng = stream(recipe.seed, "webshop family", family)
        drawn = list(_family(rng, DEPARTMENTS[family % len(DEPARTMENTS)], recipe))
        yield from (drawn[place] for place in rng.permutation(len(drawn)))
        family += 1


def _family(
    rng: np.random.Generator, department: Department, recipe: CatalogueRecipe
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield a product with a wish, and its rivals, which have none."""
    groups = [(group, kind) for group, kinds in department.groups.items() for kind in kinds]
    group, kind = groups[int(rng.integers(len(groups)))]
    first, second, third, other = (str(word) for word in rng.choice(department.attributes, size=4, replace=False))
    brands = [str(brand) for brand in rng.choice(BRANDS, size=1 + len(recipe.rivals), replace=False)]
    price = int(rng.integers(_LOWEST, _HIGHEST))
    options, others = _values(rng, department, recipe.values)
    asked = [first, third] if rng.random() < recipe.hidden else [first, second]

    def member(
        brand: str, last: str, dollars: int, values: dict[str, list[str]], **wish: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        entry = {
            "name": f"{brand} {first} {second} {kind}".title(),
            "full_description": f"{kind} by {brand}".capitalize(),
            "small_description": [last, first, second],
            "pricing": f"${dollars}.00",
            "images": [],
            "product_category": f" {CATEGORY_MARK} ".join((department.path, group, kind.title())),
            "average_rating": "",
            "customization_options": {name: [{"value": value} for value in values[name]] for name in values},
            "category": department.name,
            "query": kind,
            "page": 1,
        }
        return entry, {"attributes": [first, second, last], **wish}

    instruction = f"Find me {asked[0]} {kind} with {asked[1]}"
    yield member(brands[0], third, price, options, instruction=instruction, instruction_attributes=asked)
    for rival, brand in zip(recipe.rivals, brands[1:], strict=True):
        dollars = price + int(rng.integers(20, 41)) if rival == "dearer" else max(_LOWEST, price - int(rng.integers(4)))
        last = other if rival == "other attribute" else third
        yield member(brand, last, dollars, others if rival == "other options" else options)


def _values(
    rng: np.random.Generator, department: Department, number: int
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return option values of a product, and of a rival whose first option has others."""
    ours: dict[str, list[str]] = {}
    theirs: dict[str, list[str]] = {}
    for place, (name, values) in enumerate(department.options.items()):
        drawn = [str(value) for value in rng.permutation(values)]
        ours[name] = sorted(drawn[:number], key=values.index)
        rest = drawn[number : 2 * number] if place == 0 else drawn[:number]
        theirs[name] = sorted(rest, key=values.index)
    return ours, theirs


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
