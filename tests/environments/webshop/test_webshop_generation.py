"""Generated catalogues and the panels that come with the package."""

import json
from pathlib import Path
from typing import Any

import pytest

from sg_pipeline.environments.panels import digest_of
from sg_pipeline.environments.webshop.catalogue import open_catalogue
from sg_pipeline.environments.webshop.generation.catalogue import FILES, CatalogueRecipe, entries
from sg_pipeline.environments.webshop.generation.panel import (
    PANELS,
    Panel,
    create_panel_file,
    make_panel,
    write_panel,
)
from sg_pipeline.environments.webshop.generation.words import ATTRIBUTES, BRANDS, KINDS, asin, asin_pieces
from sg_pipeline.environments.webshop.progress import fits
from sg_pipeline.errors import ConfigurationError, DataError

GOAL = {"task_id": "a", "task_type": "fashion", "position": 1, "sha256": "0" * 64}


def test_ids_are_unique_and_made_of_known_pieces() -> None:
    first, second, third = (set(pieces) for pieces in asin_pieces())
    assert (len(first), len(second)) == (len(set(KINDS)), len(set(ATTRIBUTES)))
    ids = [entry["asin"].lower() for entry, _ in entries(CatalogueRecipe(products=3000))]
    assert len(set(ids)) == 3000
    assert all(one[:4] in first and one[4:7] in second for one in ids)
    assert sum(one[7:] not in third for one in ids) < 10
    more = {asin(KINDS[-1], ATTRIBUTES[-1], BRANDS[-1], number) for number in range(938)}
    assert len(more) == 938


@pytest.mark.parametrize("name", ["default", "small"])
def test_shipped_panels_are_right_to_the_byte(name: str, tmp_path: Path) -> None:
    panel = Panel.read(PANELS / f"{name}.json")
    panel.save(tmp_path / "panel.json")
    assert (tmp_path / "panel.json").read_bytes() == (PANELS / f"{name}.json").read_bytes()
    folder = tmp_path / "games"
    write_panel(panel, folder)
    written = {name: (folder / name).stat().st_ino for name in FILES}
    write_panel(panel, folder)
    assert {name: (folder / name).stat().st_ino for name in FILES} == written
    catalogue = open_catalogue(folder, tmp_path / "compiled")
    by_asin = {product.asin: product for product in catalogue.products()}
    for goals in panel.splits.values():
        for goal in goals:
            made = catalogue.goal("synthetic", goal.position)
            assert made.sha256 == goal.sha256
            assert fits(by_asin.pop(made.asin), made)  # no product twice, also across splits


def test_panel_file_round_trip_and_changed_file_raises(tmp_path: Path) -> None:
    path = tmp_path / "panel.json"
    panel = create_panel_file(path, CatalogueRecipe(products=60), {"train": 4, "test": 3})
    assert Panel.read(path) == panel
    assert list(panel.splits) == ["train", "test"]
    path.write_text(path.read_text().replace("test-0001", "test-0009"))
    with pytest.raises(DataError, match="changed after it was made"):
        Panel.read(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environment": "alfworld"}, r"panel\.json: environment"),
        ({"splits": {"test": [GOAL, GOAL]}}, r"task_id 'a' appears twice"),
        ({"splits": {"test": [GOAL], "dev": [{**GOAL, "task_id": "b"}]}}, r"path 'synthetic/1' appears twice"),
        (None, "missing"),
        ("[]", "no panel"),
        ("{", "as JSON"),
    ],
)
def test_panel_read_wrong_file_raises(tmp_path: Path, changes: Any, message: str) -> None:
    path = tmp_path / "panel.json"
    if isinstance(changes, dict):
        content = {**json.loads((PANELS / "small.json").read_text()), **changes}
        content.pop("sha256")
        path.write_text(json.dumps({**content, "sha256": digest_of(content)}))
    elif changes is not None:
        path.write_text(changes)
    with pytest.raises(DataError, match=message):
        Panel.read(path)


def test_make_panel_too_small_catalogue_raises() -> None:
    with pytest.raises(ConfigurationError, match=r"tasks\.sizes asks for 50"):
        make_panel(CatalogueRecipe(products=20), {"test": 50})


def test_write_panel_other_bytes_raises(tmp_path: Path) -> None:
    panel = make_panel(CatalogueRecipe(products=20), {"test": 2})
    other = panel.model_copy(update={"files": {name: "0" * 64 for name in FILES}})
    with pytest.raises(DataError, match="comes out different"):
        write_panel(other, tmp_path)
