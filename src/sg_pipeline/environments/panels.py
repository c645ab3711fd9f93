"""What the benchmarks' panels share: where they are, their sealed files, the section `tasks`, the prepared form.

A sealed panel file is a frozen list of tasks with the recipe that reproduces their games, one task a line:

    {"format": 1, "environment": …, "generator": …, …recipe…,
     "splits": {"train": [{"task_id", "task_type", …, "sha256"}, …], …},
     "sha256": digest of everything above}

Digests are SHA-256 of the canonical JSON (sorted keys, no spaces), so re-formatting the file does no harm.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sg_pipeline.environments.base import PanelTasks
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.files import atomic_write
from sg_pipeline.trajectories.types import Task

logger = logging.getLogger(__name__)

FORMAT = 1
SHA256 = r"^[0-9a-f]{64}$"


class SourcedTasks(PanelTasks):
    """A section `tasks` whose games may be a panel's, new ones, or official data.

    Attributes:
        source: "panel" plays a frozen panel of generated games; "generate" draws a new panel from a recipe; "official"
            plays the official data in the folder `data`.
        data: folder of the official data (`$<DATA_VARIABLE>`).
    """

    DATA_VARIABLE: ClassVar[str]
    RECIPE: ClassVar[tuple[str, ...]]
    """Fields that only "generate" uses."""
    OFFICIAL: ClassVar[tuple[str, ...]] = ("data",)
    """Fields that only "official" uses."""

    source: Literal["panel", "generate", "official"] = "panel"
    data: str | None = None

    @model_validator(mode="after")
    def _official_needs_data(self) -> Self:
        if self.source == "official" and not self.data:
            raise ValueError(
                "source is 'official', but data names no folder: set tasks.data or the environment variable "
                f"{self.DATA_VARIABLE}"
            )
        return self

    def unused(self) -> tuple[str, ...]:
        """Return the fields that the source does not use."""
        used = {"panel": ("panel",), "generate": self.RECIPE, "official": self.OFFICIAL}
        return tuple(name for source, names in used.items() if source != self.source for name in names)

    def data_folder(self, root: Path) -> Path:
        """Return the folder of the official data; a relative one starts from `root`."""
        return (root / Path(str(self.data)).expanduser()).resolve()

    def require_generated(self) -> None:
        """Raise `ConfigurationError` for official tasks, whose like cannot be generated."""
        if self.source == "official":
            raise ConfigurationError(
                "base_model.source 'warm_start' demonstrates on generated games: set tasks.source to 'panel' or "
                "'generate'"
            )


class PanelTask(BaseModel):
    """One task of a sealed panel; a benchmark adds what reproduces its game."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task_id: str = Field(min_length=1)
    task_type: str = Field(min_length=1)
    sha256: str = Field(pattern=SHA256)

    def location(self) -> str:
        """Return `Task.path`."""
        raise NotImplementedError


T = TypeVar("T", bound=PanelTask)


class SealedPanel(BaseModel, Generic[T]):
    """A whole panel file; a benchmark adds its recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    environment: str
    generator: int
    splits: dict[str, tuple[T, ...]]
    sha256: str = Field(pattern=SHA256)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[tuple[str, str]] = set()
        for game in (game for split in self.splits.values() for game in split):
            for what, value in (("task_id", game.task_id), ("path", game.location()), ("sha256", game.sha256)):
                if (what, value) in seen:
                    raise ValueError(f"{what} {value!r} appears twice: each game belongs to one split and appears once")
                seen.add((what, value))
        return self

    @classmethod
    def seal(cls, content: Mapping[str, Any]) -> Self:
        """Return the panel of `content`, which is all keys but `format` and `sha256`."""
        content = {"format": FORMAT, **content}
        return cls.model_validate({**content, "sha256": digest_of(content)})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and verify a panel file.

        Raises:
            DataError: the file is missing, not JSON, not such a panel, or was changed after it was made.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DataError(
                f"Panel file {path} is missing: make it (create_panel_file) or correct its path."
            ) from error
        except (OSError, ValueError) as error:
            raise DataError(f"Panel file {path} cannot be read as JSON ({error}): restore or regenerate it.") from error
        if not isinstance(content, dict) or "sha256" not in content:
            raise DataError(f"Panel file {path} is no panel: an object with the key 'sha256' is expected.")
        stated = content["sha256"]
        found = digest_of({key: value for key, value in content.items() if key != "sha256"})
        if found != stated:
            raise DataError(
                f"Panel file {path} was changed after it was made: its content has the digest {found[:12]}…, "
                f"its field 'sha256' says {str(stated)[:12]}…; restore or regenerate it."
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the whole file"
            value = "" if isinstance(first["input"], dict | BaseModel) else f", found {first['input']!r}"
            raise DataError(f"Panel file {path}: {field}: {first['msg']}{value}.") from error

    def save(self, path: Path) -> None:
        """Write the panel file."""
        content = self.model_dump(mode="json")
        splits, sha256 = content.pop("splits"), content.pop("sha256")
        recipe = [f"{_json(key)}:{_json(value)}," for key, value in content.items()]
        blocks = []
        for name, games in splits.items():
            # A task's digest comes last on its line.
            lines = [_json(dict(sorted(game.items(), key=lambda item: item[0] == "sha256"))) for game in games]
            blocks.append(f"{_json(name)}:[\n" + ",\n".join(lines) + "\n]")
        text = "\n".join(["{", *recipe, '"splits":{', ",\n".join(blocks), "},", f'"sha256":{_json(sha256)}', "}\n"])
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def tasks(self) -> dict[str, list[Task]]:
        """Return the tasks of each split, in the panel's order."""
        return {
            split: [
                Task(game.task_id, self.environment, split, game.task_type, game.location(), game.sha256)
                for game in games
            ]
            for split, games in self.splits.items()
        }


def find_panel(name: str, shipped: Path, root: Path) -> Path:
    """Return the file of a panel: one of the folder `shipped` by name, or a path that starts from `root`."""
    known = {path.stem: path for path in sorted(shipped.glob("*.json"))}
    path = known.get(name, root / name)
    if not path.is_file():
        raise ConfigurationError(
            f"tasks.panel is {name!r}, which is neither a panel of the package ({', '.join(known)}) nor a panel file "
            f"(looked for {path})"
        )
    return path


def prepared(
    splits: Mapping[str, Sequence[Task]], limit: int | None, *, sha256: str, source: str, data_root: str
) -> dict[str, Any]:
    """Return a prepared panel as `base.Benchmark.prepare` describes it; log it."""
    splits = {split: tasks[:limit] for split, tasks in splits.items()}
    sizes = ", ".join(f"{split} {len(tasks)}" for split, tasks in splits.items())
    logger.info("tasks: %s (%s), sha256 %s", source, sizes, sha256[:12])
    return {
        "sha256": sha256,
        "source": source,
        "data_root": data_root,
        "splits": {split: [asdict(task) for task in tasks] for split, tasks in splits.items()},
    }


def digest_of(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `content`."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_of_file(path: Path) -> str | None:
    """Return the SHA-256 of a file; None if it does not exist."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
