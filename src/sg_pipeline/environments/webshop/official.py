"""The official files and their products.

    items_shuffle.json       all products (or items_shuffle_1000.json: the first thousand)
    items_ins_v2.json        attributes and synthetic instructions (or items_ins_v2_1000.json)
    items_human_ins.json     instructions that people wrote

The names are the authors'; so is the order of the products, which the order of the goals depends on. The products are
one array of several gigabytes, which is read entry by entry.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sg_pipeline.environments.base import requires_extra
from sg_pipeline.environments.webshop.products import Product, read_product
from sg_pipeline.errors import DataError

with requires_extra("webshop"):
    import ijson


class OfficialFiles(NamedTuple):
    """The three files of one folder."""

    products: Path
    attributes: Path
    human: Path


def find_files(folder: Path) -> OfficialFiles:
    """Return the files of `folder`: those of all products if they exist, else those of the first thousand.

    Raises:
        DataError: the folder or a file is missing.
    """
    if not folder.is_dir():
        raise DataError(
            f"WebShop's data folder {folder} does not exist: set tasks.data (or the environment variable WEBSHOP_DATA) "
            "to the folder that holds items_shuffle.json, items_ins_v2.json and items_human_ins.json."
        )
    suffix = "" if (folder / "items_shuffle.json").is_file() else "_1000"
    files = OfficialFiles(
        folder / f"items_shuffle{suffix}.json", folder / f"items_ins_v2{suffix}.json", folder / "items_human_ins.json"
    )
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        there = ", ".join(sorted(path.name for path in folder.glob("items_*.json"))) or "no items_*.json"
        raise DataError(
            f"WebShop's data folder {folder} lacks {', '.join(missing)}; it holds {there}: put the authors' files "
            "there under their own names."
        )
    return files


def read_products(files: OfficialFiles) -> Iterator[Product]:
    """Yield the products of the files, in their order, each asin once.

    Raises:
        DataError: a file is truncated or not what its name says.
    """
    # As text, a million entries take a tenth of the memory.
    attributes, human = (
        {asin: json.dumps(value) for asin, value in _entries(path, "object")}
        for path in (files.attributes, files.human)
    )
    seen: set[str] = set()
    for number, entry in enumerate(_entries(files.products, "array")):
        try:
            asin = entry["asin"]
            if asin == "nan" or len(asin) > 10 or asin in seen:  # the original does not list it
                continue
            seen.add(asin)
            product = read_product(entry, json.loads(attributes.get(asin, "null")), json.loads(human.get(asin, "[]")))
        except (KeyError, TypeError, AttributeError) as error:
            what = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"WebShop's file {files.products}, entry {number}: {what}; a product with the fields asin, name, "
                "full_description, small_description, pricing, customization_options, query, category and "
                "product_category was expected."
            ) from error
        yield product


def _entries(path: Path, kind: Literal["array", "object"]) -> Iterator[Any]:
    """Yield the elements of the array, or the (name, value) pairs of the object, that a file consists of."""
    number = 0
    try:
        with path.open("rb") as file:
            first = file.read(1 << 16).lstrip()[:1].decode(errors="replace")
            if first != {"array": "[", "object": "{"}[kind]:
                raise DataError(f"WebShop's file {path} should hold a JSON {kind}, but begins with {first!r}.")
            file.seek(0)
            items = ijson.items(file, "item", use_float=True)
            for entry in items if kind == "array" else ijson.kvitems(file, "", use_float=True):
                yield entry
                number += 1
    except OSError as error:
        raise DataError(f"WebShop's file {path} cannot be read ({error.strerror}).") from error
    except ijson.JSONError as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"WebShop's file {path} cannot be read as JSON after {number} whole entries ({reason}); download it "
            "again, or correct the folder."
        ) from error
