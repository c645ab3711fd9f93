"""Reads and checks a game file; every problem is reported in one sentence.

A game is `<task>/<trial>/game.tw-pddl`: JSON with the fields `pddl_domain`, `grammar` (textworld's own
grammar, with the task's text baked in), `pddl_problem` and `solvable`.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg_pipeline.errors import DataError, SgPipelineError

GAME_FILE_NAME = "game.tw-pddl"
_TEXT_FIELDS = ("pddl_domain", "grammar", "pddl_problem")

# The wording of PutObject identifies the data version: the game data of 2.1.2 renamed "put X in/on Y" to "move X to Y".
_PUT_TEMPLATE = re.compile(r'action\s+PutObject\s*\{\s*template\s*::\s*"([^"]*)"')
GENERATED_VERSION = "2.1.2"
_VERSIONS = {"put {o} in/on {r}": "2.1.1", "move {o} to {r}": GENERATED_VERSION}


@dataclass(frozen=True, slots=True)
class GameFile:
    """One game, read and checked: its digest, and its JSON, whose three text fields are strings."""

    path: Path
    sha256: str
    data: Mapping[str, Any]


def data_version(grammar: str) -> str:
    """Return the data version whose wording a game's grammar has: "2.1.1", "2.1.2" or "unknown"."""
    found = _PUT_TEMPLATE.search(grammar)
    return _VERSIONS.get(found.group(1), "unknown") if found else "unknown"


def read_json(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the sha256 of a JSON file and the object that it holds; `DataError` if there is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read the file {path}: {error.strerror}.") from error
    try:
        data = json.loads(content)
    except ValueError as error:
        raise DataError(f"The file {path} is truncated or not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise DataError(f"The file {path} holds a JSON {type(data).__name__}, expected an object.")
    return hashlib.sha256(content).hexdigest(), data


def read_game(path: Path, sha256: str = "") -> GameFile:
    """Read a `game.tw-pddl` file, which must have the digest `sha256` unless that is empty.

    Raises:
        DataError: the file is missing, is not the expected one, is not JSON, lacks a field, or holds a game that is
            not marked as solvable.
    """
    digest, data = read_json(path)
    if sha256 and digest != sha256.lower():
        raise DataError(f"The game file {path} is not the one of the panel: its sha256 is {digest}, expected {sha256}.")
    for field in _TEXT_FIELDS:
        if not isinstance(data.get(field), str):
            found = type(data[field]).__name__ if field in data else "nothing"
            raise DataError(f"The game file {path} needs a text in its field '{field}', found {found}.")
    if data.get("solvable") is not True:
        found = data.get("solvable", "nothing")
        raise DataError(f"The game file {path} is not playable: its field 'solvable' is {found!r}, expected true.")
    return GameFile(path=path, sha256=digest, data=data)


@contextmanager
def loading(path: Path) -> Iterator[None]:
    """Turn any exception of the PDDL translator or the grammar into one sentence about the game `path`.

    The translator reports some errors by `sys.exit` and sets `sys.argv`; neither may leak into the caller.
    """
    argv = sys.argv
    try:
        yield
    except SgPipelineError:
        raise
    except (Exception, SystemExit) as error:
        detail = " ".join(str(error).split())[:200] or "no message"
        raise DataError(f"The game file {path} does not load: {type(error).__name__}: {detail}.") from error
    finally:
        sys.argv = argv
