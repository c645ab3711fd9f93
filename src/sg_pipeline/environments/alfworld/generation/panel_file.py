"""The panel file: a frozen, hashed list of games with the recipe that makes each of them again.

    {"format": 1, "environment": "alfworld", "generator": 1, "alfworld": "0.4.2",
     "seed": 7, "difficulty": {…}, "task_types": […],
     "splits": {"train": [{"task_id", "task_type", "path", "attempt", "sha256"}, …], …},
     "sha256": digest of everything above}

Digests are SHA-256 of the canonical JSON (sorted keys, no spaces), so re-formatting the file does no harm.
"""

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sg_pipeline.environments.alfworld.generation.sampler import Difficulty
from sg_pipeline.errors import DataError
from sg_pipeline.files import atomic_write
from sg_pipeline.trajectories.types import Task

FORMAT = 1
ENVIRONMENT = "alfworld"
_SHA256 = r"^[0-9a-f]{64}$"


class PanelGame(BaseModel):
    """One game of a panel.

    Attributes:
        task_id: unique within the panel.
        task_type: ALFWorld's task type.
        path: game file, relative to the folder into which the panel's games are written, with forward slashes.
        attempt: how many earlier draws for this place were given up because the panel had that game already.
        sha256: digest of the game file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task_id: str = Field(min_length=1)
    task_type: str = Field(min_length=1)
    path: str = Field(min_length=1)
    attempt: int = Field(ge=0)
    sha256: str = Field(pattern=_SHA256)

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or "\\" in path:
            raise ValueError(f"{path!r} leaves the games' folder: a relative path without '..' is expected")
        return path


class Panel(BaseModel):
    """A whole panel; the attributes are the keys of the file (see the module's docstring)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    environment: Literal["alfworld"]
    generator: int
    alfworld: str
    seed: int
    difficulty: Difficulty
    task_types: tuple[str, ...]
    splits: dict[str, tuple[PanelGame, ...]]
    sha256: str = Field(pattern=_SHA256)

    @model_validator(mode="after")
    def _each_once(self) -> "Panel":
        games = [game for split in self.splits.values() for game in split]
        for what in ("task_id", "path", "sha256"):
            seen: set[str] = set()
            for game in games:
                value = getattr(game, what)
                if value in seen:
                    raise ValueError(f"{what} {value!r} appears twice: each game belongs to one split and appears once")
                seen.add(value)
        return self

    def tasks(self) -> dict[str, list[Task]]:
        """Return the tasks of each split, in the panel's order."""
        return {
            split: [
                Task(game.task_id, self.environment, split, game.task_type, game.path, game.sha256) for game in games
            ]
            for split, games in self.splits.items()
        }


def seal(content: dict[str, Any]) -> Panel:
    """Return the panel made of `content` (all keys but `sha256`) with its digest."""
    return Panel.model_validate({**content, "sha256": _digest(content)})


def load_panel(path: Path) -> dict[str, list[Task]]:
    """Return the tasks of each split of a panel file. Raises `DataError` as `read_panel` does."""
    return read_panel(path).tasks()


def read_panel(path: Path) -> Panel:
    """Read and verify a panel file.

    Raises:
        DataError: the file is missing, no JSON, not of this format, or was changed after it was made.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"Panel file {path} is missing: make it (create_panel_file) or correct its path.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"Panel file {path} cannot be read as JSON ({error}): restore or regenerate it.") from error
    if not isinstance(content, dict) or "sha256" not in content:
        raise DataError(f"Panel file {path} is no panel: an object with the key 'sha256' is expected.")
    if content.get("format") != FORMAT:
        raise DataError(
            f"Panel file {path}: field 'format' is {content.get('format')!r}, but this version reads format {FORMAT}."
        )
    stated = content.pop("sha256")
    found = _digest(content)
    if found != stated:
        raise DataError(
            f"Panel file {path} was changed after it was made: its content has the digest {found[:12]}…, "
            f"its field 'sha256' says {str(stated)[:12]}…; restore or regenerate it."
        )
    try:
        return Panel.model_validate({**content, "sha256": stated})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole file"
        found_value = "" if isinstance(first["input"], dict | BaseModel) else f", found {first['input']!r}"
        raise DataError(f"Panel file {path}: {field}: {first['msg']}{found_value}.") from error


def save_panel(panel: Panel, path: Path) -> None:
    """Write a panel file, one game a line."""
    content = panel.model_dump(mode="json")
    splits = content.pop("splits")
    lines = ["{"]
    lines += [f"{_json(key)}:{_json(value)}," for key, value in content.items() if key != "sha256"]
    lines.append('"splits":{')
    for n, (split, games) in enumerate(splits.items(), start=1):
        lines.append(f"{_json(split)}:[")
        lines += [_json(game) + ("," if k < len(games) else "") for k, game in enumerate(games, start=1)]
        lines.append("]" + ("," if n < len(splits) else ""))
    lines += ["},", f'"sha256":{_json(content["sha256"])}', "}"]
    with atomic_write(path) as temporary:
        temporary.write_bytes("\n".join(lines).encode() + b"\n")


def _digest(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
