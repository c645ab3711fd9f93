"""A compiled game: everything the fast engine needs, translated once, and how it is kept on disk.

One game = one file of about 40 KB, named by the digest of the game's bytes and of the versions of the
libraries that translated it. A damaged file is translated again.
"""

import hashlib
import json
import logging
import zlib
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sg_pipeline.errors import ConfigurationError
from sg_pipeline.files import atomic_write

logger = logging.getLogger(__name__)

FORMAT = 1
_MAGIC = b"sg_pipeline compiled game\n"
_LIBRARIES = ("alfworld", "textworld", "fast-downward-textworld", "tatsu")

Symbol = list[Any]
"""A parsed grammar symbol: [kind, ...] with the kinds of `fast_logic`."""


@dataclass(frozen=True, slots=True)
class CompiledGame:
    """A game after translation and parsing.

    Attributes:
        sas: the planning task, as fast-downward reads it.
        variables: (id, type) of every object that appears in a fact.
        entities: display name of each object id.
        actions: per action its placeholders as [name, type], its command template and its feedback rule.
        facts: every proposition that can ever hold, in textworld's own order: [predicate, variable, ...].
        initial: indices into `facts` of those that hold at the start.
        rules: grammar rules: per name its alternatives as [condition, symbols].
        starts: parsed symbols of each text that a derivation starts from.
        queries: per query text its predicates as [predicate, placeholders as [name, type], type tuples it matches].
    """

    sas: bytes
    variables: list[list[str]]
    entities: dict[str, str]
    actions: dict[str, dict[str, Any]]
    facts: list[list[Any]]
    initial: list[int]
    rules: dict[str, list[list[Any]]]
    starts: dict[str, list[Symbol]]
    queries: dict[str, list[list[Any]]]


@lru_cache(maxsize=1)
def toolchain() -> str:
    """Return a short digest of our format and the versions of the libraries that take part in a translation."""
    parts = [f"format {FORMAT}", *(f"{name} {version(name)}" for name in _LIBRARIES)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def cache_path(cache_dir: Path, sha256: str) -> Path:
    """Return where the compiled form of the game with this digest is kept."""
    return cache_dir / sha256[:2] / f"{sha256}.{toolchain()}.game"


def load_cached(cache_dir: Path, sha256: str) -> CompiledGame | None:
    """Return the compiled game from the cache; None if it is missing or damaged (which is logged)."""
    path = cache_path(cache_dir, sha256)
    try:
        content = path.read_bytes()
        body = content[len(_sealed(b"")) :]
        if content != _sealed(body):
            raise ValueError("its digest does not match")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("The compiled game %s is not usable (%s) and will be replaced.", path, error)
        return None
    text, sas = zlib.decompress(body).split(b"\0", 1)
    return CompiledGame(sas=sas, **json.loads(text))


def store_cached(cache_dir: Path, sha256: str, game: CompiledGame) -> None:
    """Write the compiled game. Raises `ConfigurationError` if the folder cannot be written."""
    fields = asdict(game)
    sas = fields.pop("sas")
    text = json.dumps(fields, separators=(",", ":"), sort_keys=True)
    try:
        with atomic_write(cache_path(cache_dir, sha256)) as temporary:
            temporary.write_bytes(_sealed(zlib.compress(text.encode() + b"\0" + sas, 6)))
    except OSError as error:
        raise ConfigurationError(
            f"The folder for compiled ALFWorld games, {cache_dir}, cannot be written: {error.strerror}."
        ) from error


def _sealed(body: bytes) -> bytes:
    """Return the file content: what it is, digest of the rest, the rest (compressed JSON and planning task)."""
    return _MAGIC + hashlib.sha256(body).digest() + body
