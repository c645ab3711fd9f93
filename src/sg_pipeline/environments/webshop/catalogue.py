"""All products of a shop on disk, prepared once: to be read by number, searched, and asked for goals.

    official files ──► products.jsonl, where each line ends, index/, goals-<kind>.npy

Everything is memory-mapped and read-only: the environments of a process share one `Catalogue` (`open_catalogue`), and
processes share its pages, so a million products cost an environment almost no memory.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from sg_pipeline.environments.panels import digest_of_file
from sg_pipeline.environments.webshop.goals import KINDS, Goal, GoalKind, goal_order, make_goal
from sg_pipeline.environments.webshop.index import IndexBuilder, SearchIndex
from sg_pipeline.environments.webshop.official import OfficialFiles, find_files, read_products
from sg_pipeline.environments.webshop.products import Product
from sg_pipeline.errors import DataError
from sg_pipeline.files import atomic_write

logger = logging.getLogger(__name__)

FORMAT = 2
"""Version of the prepared form; raise it when products, analyzer or index change."""

_MANIFEST = "catalogue.json"
_PRODUCTS_KEPT = 2_000
"""Parsed products that a process keeps, about 2 KB each."""


class Catalogue:
    """A prepared catalogue, opened for reading."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = np.memmap(folder / "products.jsonl", dtype=np.uint8, mode="r")
        self._ends = np.load(folder / "line_ends.npy", mmap_mode="r")
        self._index = SearchIndex(folder / "index")
        self._goals: dict[GoalKind, np.ndarray] = {}
        self.product = lru_cache(maxsize=_PRODUCTS_KEPT)(self._read)
        self.sha256: str = json.loads((folder / _MANIFEST).read_text())["sha256"]
        """Digest of the official files that it was made from."""

    def __len__(self) -> int:
        return len(self._ends)

    def products(self) -> Iterator[Product]:
        """Return every product, in the files' order."""
        return map(self._read, range(len(self)))

    def search(self, query: str) -> list[int]:
        """Return the numbers of the products for `query`, best first."""
        return [number for number, _ in self._index.search(query)]

    def goal_count(self, kind: GoalKind) -> int:
        """Return how many goals of that kind there are."""
        return len(self._goal_order(kind))

    def goal(self, kind: GoalKind, position: int) -> Goal:
        """Return the goal at a position of the original's order. Raises `DataError` if there is none."""
        order = self._goal_order(kind)
        if not 0 <= position < len(order):
            raise DataError(f"WebShop's catalogue has {len(order)} {kind} goals: there is none at position {position}.")
        number, part = order[position]
        return make_goal(self.product(int(number)), kind, int(part))

    def _read(self, number: int) -> Product:
        start = int(self._ends[number - 1]) if number else 0
        return Product.parse(self._lines[start : int(self._ends[number])].tobytes())

    def _goal_order(self, kind: GoalKind) -> np.ndarray:
        if kind not in KINDS:
            raise DataError(f"WebShop's goals are of the kinds {' and '.join(KINDS)}, not {kind!r}.")
        if kind not in self._goals:
            path = self._folder / f"goals-{kind}.npy"
            if not path.is_file():
                order = goal_order(self.products(), kind)
                with atomic_write(path) as temporary, temporary.open("wb") as file:
                    np.save(file, order)
            self._goals[kind] = np.load(path, mmap_mode="r")
        return self._goals[kind]


@lru_cache(maxsize=4)
def _open(folder: Path) -> Catalogue:
    return Catalogue(folder)


def open_catalogue(data: Path, cache: Path | None) -> Catalogue:
    """Return this process's catalogue of the official files in the folder `data`; prepare it first if necessary.

    Prepared catalogues are kept in `cache`, or in `data` itself. Raises `DataError` if the files are missing or wrong.
    """
    files = find_files(data.resolve())
    folder = (cache or data).resolve() / f"webshop-{_cache_key(files)}"
    if not (folder / _MANIFEST).is_file():
        prepare_catalogue(files, folder)
        logger.info("webshop: %d products prepared for search, in %s", len(_open(folder)), folder)
    return _open(folder)


def prepare_catalogue(files: OfficialFiles, folder: Path) -> None:
    """Write the prepared form of `files` to `folder`, whole or not at all; raises `DataError` if a file is wrong."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        _write(files, temporary)
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            # Another process has prepared the same catalogue meanwhile.
            if not (folder / _MANIFEST).is_file():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(files: OfficialFiles, folder: Path) -> None:
    builder = IndexBuilder()
    ends: list[int] = []
    asins: list[str] = []
    with (folder / "products.jsonl").open("wb") as lines:
        for product in read_products(files):
            lines.write(product.dump() + b"\n")
            ends.append(lines.tell())
            asins.append(product.asin)
            builder.add(product.document())
    if not asins:
        raise DataError(f"WebShop's file {files.products} holds no product.")
    np.save(folder / "line_ends.npy", np.array(ends, dtype=np.int64))
    (folder / "index").mkdir()
    builder.write(asins, folder / "index")
    digests = {path.name: digest_of_file(path) for path in files}
    sha256 = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    manifest = {"format": FORMAT, "products": len(asins), "files": digests, "sha256": sha256}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))


def _cache_key(files: OfficialFiles) -> str:
    """Return the name of the prepared form, without reading gigabytes again to see that nothing has changed."""
    # A copy can have size and mtime of another content, but not its ctime.
    stats = ((path.name, path.stat()) for path in files)
    stamps = [(name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps([FORMAT, str(files.products.parent), stamps]).encode()).hexdigest()[:16]
