"""Which ALFWorld games a run plays: a frozen panel of generated games, new ones, or the official data."""

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sg_pipeline.environments.alfworld.generation.sampler import Difficulty
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.trajectories.types import Task

logger = logging.getLogger(__name__)

Split = Literal["train", "valid_seen", "valid_unseen"]


def _default_sizes() -> dict[Split, int]:
    return {"train": 256, "valid_seen": 200, "valid_unseen": 200}


class TasksConfig(BaseModel):
    """Where the tasks come from.

    Attributes:
        source: "panel" plays a frozen panel of generated games; "generate" draws a new panel from `seed`, `sizes` and
            `difficulty`; "official" plays the official data in the folder `data`.
        panel: name of a panel that comes with the package, or path of a panel file.
        seed, sizes, difficulty: recipe of a new panel.
        data: folder of the official games (what `$ALFWORLD_DATA` names).
        limit: play only the first so many games of each split; None: all.
        compile_workers: processes that compile games ahead; does not change results.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["panel", "generate", "official"] = "panel"
    panel: str = "default"
    seed: int = Field(0, ge=0)
    sizes: dict[Split, int] = Field(default_factory=_default_sizes)
    difficulty: Difficulty = Field(default_factory=Difficulty)
    data: str | None = None
    limit: int | None = Field(None, ge=1)
    compile_workers: int = Field(2, ge=1)

    def panel_sizes(self) -> dict[str, int]:
        """Return `sizes` with plain names of splits."""
        return {str(split): size for split, size in self.sizes.items()}

    def unused(self) -> tuple[str, ...]:
        """Return the fields that the source does not use."""
        recipe = ("seed", "sizes", "difficulty")
        return {"panel": ("data", *recipe), "generate": ("data", "panel"), "official": ("panel", *recipe)}[self.source]

    @model_validator(mode="after")
    def _official_needs_data(self) -> "TasksConfig":
        if self.source == "official" and not self.data:
            raise ValueError(
                "source is 'official', but data names no folder: set tasks.data or the environment variable "
                "ALFWORLD_DATA"
            )
        return self


def prepare_tasks(config: TasksConfig, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
    """Make sure that every game of the panel lies on the disk, is the right one, and is compiled.

    Args:
        config: where the tasks come from.
        games: folder in which generated games are kept, a sub-folder for each panel.
        compiled: folder of compiled games.
        root: what relative paths in `config` start from.

    Returns:
        The prepared panel, JSON-ready: `sha256` (of the panel file, or of the list of official games), `source`,
        `data_root` (relative to `games`, or absolute) and `splits`: name -> list of `Task` as mappings.

    Raises:
        ConfigurationError, DataError: in one sentence.
    """
    from sg_pipeline.environments.alfworld.compile import compile_panel

    if config.source == "official":
        splits, sha256, data_root = _official(config, root)
        source = "official data"
    else:
        splits, sha256, data_root, source = _generated(config, games, root)
    if config.limit is not None:
        splits = {split: tasks[: config.limit] for split, tasks in splits.items()}
    folder = games / data_root
    counts = compile_panel(
        [folder / task.path for tasks in splits.values() for task in tasks], compiled, config.compile_workers
    )
    sizes = ", ".join(f"{split} {len(tasks)}" for split, tasks in splits.items())
    logger.info("tasks: %s (%s), sha256 %s; %d games compiled now", source, sizes, sha256[:12], counts.translated)
    return {
        "sha256": sha256,
        "source": source,
        "data_root": data_root,
        "splits": {split: [asdict(task) for task in tasks] for split, tasks in splits.items()},
    }


def panel_file(config: TasksConfig, root: Path) -> Path:
    """Return where the panel that `config` names should lie: in the package, or at a path that starts from `root`."""
    from sg_pipeline.environments.alfworld.generation.panel import PANELS

    shipped = PANELS / f"{config.panel}.json"
    return shipped if shipped.is_file() else root / config.panel


def data_folder(config: TasksConfig, root: Path) -> Path:
    """Return the folder of the official games."""
    return (root / Path(str(config.data)).expanduser()).resolve()


def _generated(config: TasksConfig, games: Path, root: Path) -> tuple[dict[str, list[Task]], str, str, str]:
    from sg_pipeline.environments.alfworld.generation.panel import PANELS, make_panel, read_panel, write_panel_games

    if config.source == "generate":
        panel, source = make_panel(config.seed, config.panel_sizes(), config.difficulty), "newly generated games"
    else:
        path = panel_file(config, root)
        if not path.is_file():
            shipped = ", ".join(sorted(file.stem for file in PANELS.glob("*.json")))
            raise ConfigurationError(
                f"tasks.panel is {config.panel!r}, which is neither a panel of the package ({shipped}) "
                f"nor a panel file (looked for {path})"
            )
        panel, source = read_panel(path), f"generated games, panel {config.panel}"
    data_root = f"alfworld-{panel.sha256[:12]}"
    write_panel_games(panel, games / data_root)
    return panel.tasks(), panel.sha256, data_root, source


def _official(config: TasksConfig, root: Path) -> tuple[dict[str, list[Task]], str, str]:
    from sg_pipeline.environments.alfworld.official import find_official_splits

    folder = data_folder(config, root)
    splits = find_official_splits(folder)
    listing = json.dumps({s: [[t.task_id, t.sha256] for t in tasks] for s, tasks in splits.items()}, sort_keys=True)
    return splits, hashlib.sha256(listing.encode()).hexdigest(), str(folder)
