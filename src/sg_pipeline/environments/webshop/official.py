"""Where the official files are, and their products.

    items_shuffle.json       all products (or items_shuffle_1000.json: the first thousand)
    items_ins_v2.json        attributes and synthetic instructions (or items_ins_v2_1000.json)
    items_human_ins.json     instructions that people wrote

The names are the authors'; so is the order of the products, which the order of the goals depends on.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg_pipeline.environments.webshop.products import Product, is_listed, read_product
from sg_pipeline.environments.webshop.streaming import JsonStream
from sg_pipeline.errors import DataError

HUMAN_INSTRUCTIONS = "items_human_ins.json"


@dataclass(frozen=True, slots=True)
class OfficialFiles:
    """The three files of one folder."""

    products: Path
    attributes: Path
    human: Path

    def paths(self) -> tuple[Path, Path, Path]:
        """Return all three."""
        return self.products, self.attributes, self.human


def find_files(folder: Path) -> OfficialFiles:
    """Return the files of `folder`: those of all products where they are there, else those of the first thousand.

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
        folder / f"items_shuffle{suffix}.json", folder / f"items_ins_v2{suffix}.json", folder / HUMAN_INSTRUCTIONS
    )
    missing = [path.name for path in files.paths() if not path.is_file()]
    if missing:
        there = ", ".join(sorted(path.name for path in folder.glob("items_*.json"))) or "no items_*.json"
        raise DataError(
            f"WebShop's data folder {folder} lacks {', '.join(missing)}; it holds {there}: put the authors' files "
            "there under their own names."
        )
    return files


class OfficialProducts:
    """Iterates the products of the files, once; afterwards it knows the files' digests."""

    def __init__(self, files: OfficialFiles) -> None:
        self._files = files
        self.sha256: dict[str, str] = {}

    def __iter__(self) -> Iterator[Product]:
        """Yield the products in the files' order, each asin once.

        Raises:
            DataError: a file is truncated or not what its name says.
        """
        attributes = self._read_pairs(self._files.attributes)
        human = self._read_pairs(self._files.human)
        stream = JsonStream(self._files.products)
        seen: set[str] = set()
        for number, entry in enumerate(stream.elements()):
            try:
                if not is_listed(entry) or entry["asin"] in seen:
                    continue
                asin = entry["asin"]
                seen.add(asin)
                product = read_product(
                    entry,
                    json.loads(attributes[asin]) if asin in attributes else None,
                    json.loads(human[asin]) if asin in human else (),
                )
            except (KeyError, TypeError, AttributeError) as error:
                what = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
                raise DataError(
                    f"WebShop's file {stream.path}, entry {number}: {what}; a product with the fields asin, name, "
                    "full_description, small_description, pricing, customization_options, query, category and "
                    "product_category was expected."
                ) from error
            yield product
        self.sha256[stream.path.name] = stream.sha256

    def _read_pairs(self, path: Path) -> dict[str, bytes]:
        """Return asin -> JSON; as text, a million entries take a tenth of the memory."""
        stream = JsonStream(path)
        pairs: dict[str, bytes] = {asin: _dump(value) for asin, value in stream.pairs()}
        self.sha256[path.name] = stream.sha256
        return pairs


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
