"""ALFWorld as a benchmark: its games, its expert on generated rooms, its words."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sg_pipeline.environments.alfworld.generation.sampler import Difficulty
from sg_pipeline.environments.alfworld.tasks import TasksConfig, data_folder, panel_file, prepare_tasks
from sg_pipeline.environments.demonstration import Demonstration
from sg_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sg_pipeline.policies.vocabulary import Vocabulary

MAX_TURNS = 30
"""A demonstration that has not won by then ends there."""


class AlfworldBenchmark:
    """ALFWorld's household tasks as text (see `benchmark.Benchmark`)."""

    name = "alfworld"
    environment = "sg_pipeline.environments.alfworld.adapter:AlfworldEnvironment"
    tasks_config = TasksConfig

    def prepare(self, config: TasksConfig, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
        """Write, check and compile the panel's games; see `tasks.prepare_tasks`."""
        return prepare_tasks(config, games, compiled, root)

    def inputs(self, config: TasksConfig, root: Path) -> Mapping[str, Path | Mapping[str, Path]]:
        """Return the panel's file, in which the games are hashed, or the files of the official games."""
        if config.source == "official":
            from sg_pipeline.environments.alfworld.official import official_files

            return {"tasks.data": official_files(data_folder(config, root))}
        return {"tasks.panel": panel_file(config, root)} if config.source == "panel" else {}

    def demonstrator(
        self, config: TasksConfig, games: Path, compiled: Path, root: Path
    ) -> "GeneratedRoomsDemonstrator":
        """Return the expert on rooms as difficult as the panel's; nothing is written for it.

        Raises:
            ConfigurationError: the tasks are official ones, whose rooms cannot be drawn.
        """
        from sg_pipeline.environments.alfworld.generation.panel import make_panel, panel_scenes, read_panel, signature

        if config.source == "official":
            raise ConfigurationError(
                "base_model.source 'warm_start' demonstrates on generated games: set tasks.source to 'panel' or "
                "'generate'"
            )
        if config.source == "generate":
            panel = make_panel(config.seed, config.panel_sizes(), config.difficulty)
        else:
            panel = read_panel(panel_file(config, root))
        evaluation = [split for split in panel.splits if split != "train"]
        reserved = {signature(scene) for split in evaluation for scene in panel_scenes(panel, split)}
        return GeneratedRoomsDemonstrator(panel.difficulty, reserved)

    def vocabulary(self) -> "Vocabulary":
        """Return the words of the games and of their demonstrations."""
        from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
        from sg_pipeline.environments.alfworld.words import demo_vocabulary

        return alfworld_vocabulary(demo_vocabulary())


class GeneratedRoomsDemonstrator:
    """Plays fresh rooms of the training floor plans, never one of the panel's evaluation games."""

    def __init__(self, difficulty: Difficulty, reserved: set[str]) -> None:
        """Take what the rooms are drawn with.

        Args:
            difficulty: of the panel.
            reserved: signatures of its evaluation games.
        """
        self._difficulty = difficulty
        self._reserved = reserved

    def demonstrate(self, number: int, rng: np.random.Generator, noise: float) -> Demonstration:
        """Draw a room and play it; see `benchmark.Demonstrator`."""
        from sg_pipeline.environments.alfworld.demonstrations import demonstrate
        from sg_pipeline.environments.alfworld.generation.goals import floor_plans_of
        from sg_pipeline.environments.alfworld.generation.panel import signature
        from sg_pipeline.environments.alfworld.generation.sampler import sample_scene
        from sg_pipeline.environments.alfworld.generation.scene import TASK_TYPES

        task_type = TASK_TYPES[number % len(TASK_TYPES)]
        plans = floor_plans_of(task_type, unseen=False)
        while True:
            scene = sample_scene(rng, plans[int(rng.integers(len(plans)))], task_type, self._difficulty)
            if signature(scene) not in self._reserved:
                return demonstrate(scene, rng, noise=noise, max_turns=MAX_TURNS)

    def close(self) -> None:
        """Nothing is held."""
