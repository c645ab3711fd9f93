"""Shops for the tests: small generated ones, and the official thousand products if present."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sg_pipeline.environments.webshop.catalogue import Catalogue
from sg_pipeline.environments.webshop.generation.catalogue import CatalogueRecipe, write_catalogue
from sg_pipeline.environments.webshop.products import Product


def shared_data(name: str = "items_shuffle_1000.json") -> Path:
    """Return the folder of the official thousand products; skips the test if it lacks the file `name`."""
    shared = os.environ.get("SG_SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data"
    folder = Path(shared) / "webshop"
    if not (folder / name).exists():
        pytest.skip(f"{name} is not in {folder}")
    return folder


def references(name: str) -> list[dict[str, Any]]:
    """Return the lines of a file of the original's recorded behaviour."""
    return [json.loads(line) for line in (shared_data(name) / name).read_text(encoding="utf-8").splitlines()]


def write_small_shop(folder: Path) -> Path:
    """Write the official files of a small generated shop and return their folder."""
    write_catalogue(CatalogueRecipe(products=120, seed=5), folder)
    return folder


def product_of(shop: Catalogue, asin: str) -> Product:
    return next(product for product in shop.products() if product.asin == asin)
