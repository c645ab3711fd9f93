"""Which WebShop goals a run plays: a frozen panel on a generated catalogue, a new one, or the official data."""

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sg_pipeline.environments.webshop.generation.recipe import CatalogueRecipe
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.trajectories.types import Task

logger = logging.getLogger(__name__)

Split = Literal["train", "dev", "test"]


def _default_sizes() -> dict[Split, int]:
    return {"train": 224, "dev": 100, "test": 200}


class TasksConfig(BaseModel):
    """Where the tasks come from.

    Attributes:
        source: "panel" plays a frozen panel on a generated catalogue; "generate" draws a new one from `catalogue` and
            `sizes`; "official" plays the official data in the folder `data`.
        panel: name of a panel that comes with the package, or path of a panel file.
        catalogue, sizes: recipe of a new panel.
        data: folder of the official files (what `$WEBSHOP_DATA` names).
        goals: which official goals: instructions that people wrote, or synthetic ones.
        limit: play only the first so many goals of each split; None: all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["panel", "generate", "official"] = "panel"
    panel: str = "default"
    catalogue: CatalogueRecipe = Field(default_factory=CatalogueRecipe)
    sizes: dict[Split, int] = Field(default_factory=_default_sizes)
    data: str | None = None
    goals: Literal["human", "synthetic"] = "human"
    limit: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _official_needs_data(self) -> "TasksConfig":
        if self.source == "official" and not self.data:
            raise ValueError(
                "source is 'official', but data names no folder: set tasks.data or the environment variable "
                "WEBSHOP_DATA"
            )
        return self

    def unused(self) -> tuple[str, ...]:
        """Return the fields that the source does not use."""
        official, recipe = ("data", "goals"), ("catalogue", "sizes")
        return {"panel": (*official, *recipe), "generate": (*official, "panel"), "official": ("panel", *recipe)}[
            self.source
        ]

    def panel_sizes(self) -> dict[str, int]:
        """Return `sizes` with plain names of splits."""
        return {str(split): size for split, size in self.sizes.items()}


def panel_path(config: TasksConfig, root: Path) -> Path:
    """Return the file of the panel that `config` names.

    Raises:
        ConfigurationError: there is none.
    """
    from sg_pipeline.environments.webshop.generation.panel import PANELS

    shipped = {path.stem: path for path in sorted(PANELS.glob("*.json"))}
    path = shipped.get(config.panel, root / config.panel)
    if not path.is_file():
        raise ConfigurationError(
            f"tasks.panel is {config.panel!r}, which is neither a panel of the package ({', '.join(shipped)}) "
            f"nor a panel file (looked for {path})"
        )
    return path


def data_folder(config: TasksConfig, root: Path) -> Path:
    """Return the folder of the official files."""
    return (root / Path(str(config.data)).expanduser()).resolve()


def prepare_tasks(config: TasksConfig, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
    """Make sure that the catalogue lies on the disk, is the right one, and is prepared for search.

    Args:
        config: where the tasks come from.
        games: folder in which generated catalogues are kept, a sub-folder for each panel.
        compiled: folder of prepared catalogues.
        root: what relative paths in `config` start from.

    Returns:
        The prepared panel, see `benchmark.Benchmark.prepare`; `data_root` is the folder of the official files.

    Raises:
        ConfigurationError, DataError: in one sentence.
    """
    if config.source == "official":
        splits, sha256, data_root, source = _official(config, compiled, root)
    else:
        splits, sha256, data_root, source = _generated(config, games, compiled, root)
    if config.limit is not None:
        splits = {split: tasks[: config.limit] for split, tasks in splits.items()}
    sizes = ", ".join(f"{split} {len(tasks)}" for split, tasks in splits.items())
    logger.info("tasks: %s (%s), sha256 %s", source, sizes, sha256[:12])
    return {
        "sha256": sha256,
        "source": source,
        "data_root": data_root,
        "splits": {split: [asdict(task) for task in tasks] for split, tasks in splits.items()},
    }


def _generated(
    config: TasksConfig, games: Path, compiled: Path, root: Path
) -> tuple[dict[str, list[Task]], str, str, str]:
    from sg_pipeline.environments.webshop.catalogue import open_catalogue
    from sg_pipeline.environments.webshop.generation.panel import make_panel, read_panel, write_panel

    if config.source == "generate":
        panel, source = make_panel(config.catalogue, config.panel_sizes()), "newly generated goals"
    else:
        panel, source = read_panel(panel_path(config, root)), f"generated goals, panel {config.panel}"
    data_root = f"webshop-{panel.sha256[:12]}"
    write_panel(panel, games / data_root)
    open_catalogue(games / data_root, compiled)
    return panel.tasks(), panel.sha256, data_root, source


def _official(config: TasksConfig, compiled: Path, root: Path) -> tuple[dict[str, list[Task]], str, str, str]:
    """Return the authors' splits; one that the data are too few for is told and left out."""
    from sg_pipeline.environments.webshop.catalogue import open_catalogue
    from sg_pipeline.environments.webshop.goals import SPLITS

    folder = data_folder(config, root)
    catalogue = open_catalogue(folder, compiled)
    count = catalogue.goal_count(config.goals)
    splits: dict[str, list[Task]] = {}
    for split, (first, last) in SPLITS.items():
        end = min(count, last or count)
        if config.limit is not None:
            end = min(end, first + config.limit)
        tasks = []
        for position in range(first, end):
            goal = catalogue.goal(config.goals, position)
            path = f"{config.goals}/{position}"
            tasks.append(Task(f"{config.goals}-{position:05d}", "webshop", split, goal.category, path, goal.sha256))
        if tasks:
            splits[split] = tasks
        else:
            logger.warning(
                "tasks: the data in %s have %d %s goals; split %s begins at %d and is left out",
                folder, count, config.goals, split, first,
            )  # fmt: skip
    if not splits:
        raise DataError(
            f"WebShop's data folder {folder} has no {config.goals} goals: set tasks.goals to the other kind."
        )
    identity = json.dumps([catalogue.sha256, config.goals, count])
    source = f"official data, {config.goals} goals, {len(catalogue)} products"
    return splits, hashlib.sha256(identity.encode()).hexdigest(), str(folder), source
