"""ScienceWorld as the graph sees it: tasks, environment, expert, words."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from sg_pipeline.environments.benchmark import Demonstrator
from sg_pipeline.environments.scienceworld.java import find_java
from sg_pipeline.environments.scienceworld.panel import NAME, panel_path, read_panel, require_simulator
from sg_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sg_pipeline.policies.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

SOLVED_PANELS = {"default": "default", "small": "default"}
"""Panel -> the solutions that demonstrate it; they are of the default panel's training tasks."""


class ScienceWorldTasksConfig(BaseModel):
    """Which variations a run plays.

    Attributes:
        panel: "default" (short tasks), "small" (a few of them), "official" (all 30 tasks in the published splits), or
            the path of a panel file.
        limit: play only the first so many tasks of each split; None: all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    panel: str = "default"
    limit: int | None = Field(None, ge=1)


class ScienceWorldBenchmark:
    """ScienceWorld (see `environments.benchmark.Benchmark`)."""

    name = NAME
    environment = "sg_pipeline.environments.scienceworld.adapter:ScienceWorldEnvironment"
    tasks_config: type[BaseModel] = ScienceWorldTasksConfig

    def prepare(self, config: ScienceWorldTasksConfig, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
        """Read the panel, make sure of Java and of the simulator that the panel was made for; see `Benchmark`.

        Nothing is generated or compiled: the simulator makes a world in a twentieth of a second.
        """
        find_java()
        panel = read_panel(config.panel, root)
        require_simulator(panel.simulator, f"panel {config.panel!r}")
        splits = {split: tasks[: config.limit] for split, tasks in panel.tasks().items()}
        sizes = ", ".join(f"{split} {len(tasks)}" for split, tasks in splits.items())
        logger.info("tasks: ScienceWorld, panel %s (%s), sha256 %s", config.panel, sizes, panel.sha256[:12])
        return {
            "sha256": panel.sha256,
            "source": f"official ScienceWorld variations, panel {config.panel}",
            "data_root": NAME,
            "splits": {split: [asdict(task) for task in tasks] for split, tasks in splits.items()},
        }

    def inputs(self, config: ScienceWorldTasksConfig, root: Path) -> Mapping[str, Path | Mapping[str, Path]]:
        """Return the panel's file, which names the simulator by its digest; see `Benchmark`."""
        return {"tasks.panel": panel_path(config.panel, root)}

    def demonstrator(self, config: ScienceWorldTasksConfig, games: Path, compiled: Path, root: Path) -> Demonstrator:
        """Return the expert on the panel's kinds of tasks, training variations only; see `Benchmark`."""
        from sg_pipeline.environments.scienceworld.gold import read_paths
        from sg_pipeline.environments.scienceworld.recordings import ScienceWorldDemonstrator

        solutions = SOLVED_PANELS.get(config.panel)
        if solutions is None:
            raise ConfigurationError(
                f"tasks.panel {config.panel!r} has no solved tasks for a warm start: the panels that have are "
                f"{', '.join(sorted(SOLVED_PANELS))}"
            )
        kinds = {task.task_type for task in read_panel(config.panel, root).tasks()["train"]}
        paths = {key: path for key, path in read_paths(solutions).items() if key.split("/")[0] in kinds}
        return ScienceWorldDemonstrator(paths, compiled)

    def vocabulary(self) -> "Vocabulary":
        """Return every word of the simulator; see `Benchmark`."""
        from sg_pipeline.environments.scienceworld.words import OWN_WORDS, POT_NUMBERS, simulator_words
        from sg_pipeline.policies.vocabulary import Vocabulary

        words = tuple(sorted({*simulator_words(), *OWN_WORDS} - {"pot"}))
        return Vocabulary(receptacles=("pot",), items=(), words=words, receptacle_numbers=POT_NUMBERS, item_numbers=0)
