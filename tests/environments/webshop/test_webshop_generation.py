"""Generated catalogues and the panels that come with the package."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from sg_pipeline.environments.webshop.catalogue import Catalogue, open_catalogue
from sg_pipeline.environments.webshop.generation.catalogue import FILES, CatalogueRecipe, entries, write_catalogue
from sg_pipeline.environments.webshop.generation.panel import (
    PANELS,
    Panel,
    create_panel_file,
    make_panel,
    write_panel,
)
from sg_pipeline.environments.webshop.generation.words import ATTRIBUTES, BRANDS, KINDS, asin, asin_pieces
from sg_pipeline.environments.webshop.products import Product, read_product
from sg_pipeline.environments.webshop.progress import fits
from sg_pipeline.errors import ConfigurationError, DataError


def products(recipe: CatalogueRecipe) -> list[Product]:
    return [read_product(entry, known, ()) for entry, known in entries(recipe)]


def test_a_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    recipe = CatalogueRecipe(products=40, seed=2)
    digests = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_catalogue(recipe, folder)
        digests.append([hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES])
    assert digests[0] == digests[1]
    other = products(recipe.model_copy(update={"seed": 3}))
    assert other != products(recipe)


def test_ids_are_unique_and_made_of_known_pieces() -> None:
    first, second, third = (set(pieces) for pieces in asin_pieces())
    assert (len(first), len(second)) == (len(set(KINDS)), len(set(ATTRIBUTES)))
    ids = [product.asin.lower() for product in products(CatalogueRecipe(products=3000))]
    assert len(set(ids)) == 3000
    assert all(one[:4] in first and one[4:7] in second for one in ids)
    assert sum(one[7:] not in third for one in ids) < 10
    more = {asin(KINDS[-1], ATTRIBUTES[-1], BRANDS[-1], number) for number in range(938)}
    assert len(more) == 938


def test_asin_encodes_kind_attribute_and_maker() -> None:
    for product in products(CatalogueRecipe(products=40)):
        brand = product.title.split()[0].lower()
        assert product.asin in {asin(product.query, product.attributes[0], brand, number) for number in range(3)}


def test_a_family_has_the_rivals_that_the_recipe_names() -> None:
    family = products(CatalogueRecipe(products=4, seed=1))
    wanted = next(product for product in family if product.wish)
    rivals = [product for product in family if not product.wish]
    assert len(rivals) == 3
    assert {re.sub(r"^\w+ ", "", product.title) for product in family} == {re.sub(r"^\w+ ", "", wanted.title)}
    assert sum(product.price >= wanted.price + 20 for product in rivals) == 1
    assert sum(product.attributes != wanted.attributes for product in rivals) == 1
    first = next(iter(wanted.options))
    assert sum(not set(product.options[first]) & set(wanted.options[first]) for product in rivals) == 1


def test_titles_are_short_and_hide_the_third_attribute() -> None:
    for product in products(CatalogueRecipe(products=400, seed=4)):
        assert 5 <= len(product.title.split()) <= 10
        assert product.attributes[2] not in product.title.lower()
        assert product.bullets[0] == product.attributes[2]


@pytest.mark.parametrize("name", ["default", "small"])
def test_shipped_panels_are_right_to_the_byte(name: str, tmp_path: Path) -> None:
    panel = Panel.read(PANELS / f"{name}.json")
    panel.save(tmp_path / "panel.json")
    assert (tmp_path / "panel.json").read_bytes() == (PANELS / f"{name}.json").read_bytes()
    folder = tmp_path / "games"
    assert write_panel(panel, folder)
    assert not write_panel(panel, folder)
    catalogue: Catalogue = open_catalogue(folder, tmp_path / "compiled")
    seen: set[str] = set()
    for goals in panel.splits.values():
        for goal in goals:
            made = catalogue.goal("synthetic", goal.position)
            assert made.sha256 == goal.sha256
            assert made.asin not in seen  # also across splits
            seen.add(made.asin)
            product = catalogue.find(made.asin)
            assert product is not None
            assert fits(product, made)


def test_panel_file_round_trip_and_changed_file_raises(tmp_path: Path) -> None:
    path = tmp_path / "panel.json"
    panel = create_panel_file(path, CatalogueRecipe(products=60), {"train": 4, "test": 3})
    assert Panel.read(path) == panel
    assert list(panel.splits) == ["train", "test"]
    content = json.loads(path.read_text())
    content["splits"]["test"][0]["position"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="changed after it was made"):
        Panel.read(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"environment": "alfworld", "sha256": "x"}'])
def test_panel_read_other_file_raises(tmp_path: Path, content: str) -> None:
    path = tmp_path / "panel.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"panel\.json"):
        Panel.read(path)
    with pytest.raises(DataError, match="missing"):
        Panel.read(tmp_path / "nowhere.json")


def test_make_panel_too_small_catalogue_raises() -> None:
    with pytest.raises(ConfigurationError, match=r"tasks\.sizes asks for 50"):
        make_panel(CatalogueRecipe(products=20), {"test": 50})


def test_write_panel_other_bytes_raises(tmp_path: Path) -> None:
    panel = make_panel(CatalogueRecipe(products=20), {"test": 2})
    other = panel.model_copy(update={"files": {name: "0" * 64 for name in FILES}})
    with pytest.raises(DataError, match="comes out different"):
        write_panel(other, tmp_path)
