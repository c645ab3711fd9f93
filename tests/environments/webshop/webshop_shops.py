"""Shops for the tests: small generated ones, and the official thousand products if present."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sg_pipeline.environments.webshop.generation.catalogue import CatalogueRecipe, write_catalogue

SMALL = CatalogueRecipe(products=120, seed=5)


def shared_data() -> Path:
    """Return the folder of the official thousand products; skips the test where it is not present."""
    shared = os.environ.get("SG_SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data"
    folder = Path(shared) / "webshop"
    if not (folder / "items_shuffle_1000.json").exists():
        pytest.skip(f"the official WebShop products are not at {folder}")
    return folder


def references(name: str) -> list[dict[str, Any]]:
    """Return the lines of a file of recorded behaviour; skips the test where it is not present."""
    path = shared_data() / name
    if not path.exists():
        pytest.skip(f"the recorded behaviour of the original is not at {path}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@cache
def _entries() -> tuple[bytes, ...]:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        write_catalogue(SMALL, Path(scratch))
        return tuple((Path(scratch) / name).read_bytes() for name in FILES)


FILES = ("items_shuffle.json", "items_ins_v2.json", "items_human_ins.json")


def write_small_shop(folder: Path) -> Path:
    """Write the official files of a small generated shop and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(FILES, _entries(), strict=True):
        (folder / name).write_bytes(content)
    return folder
