"""ALFWorld as a benchmark: its games, its expert on generated rooms, its words."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeInt

from sg_pipeline.environments.alfworld.generation.sampler import Difficulty
from sg_pipeline.environments.base import Benchmark, Demonstrator
from sg_pipeline.environments.panels import SourcedTasks, find_panel, prepared
from sg_pipeline.trajectories.types import Polarity

if TYPE_CHECKING:
    from sg_pipeline.environments.alfworld.generation.panel import Panel
    from sg_pipeline.policies.vocabulary import Vocabulary

Split = Literal["train", "valid_seen", "valid_unseen"]


class TasksConfig(SourcedTasks):
    """See `SourcedTasks`.

    Attributes:
        seed, sizes, difficulty: recipe of a new panel.
        compile_workers: processes that compile games ahead; does not change results.
    """

    DATA_VARIABLE = "ALFWORLD_DATA"
    RECIPE = ("seed", "sizes", "difficulty")

    seed: int = Field(0, ge=0)
    sizes: dict[Split, NonNegativeInt] = Field({"train": 256, "valid_seen": 200, "valid_unseen": 200})
    difficulty: Difficulty = Difficulty()
    compile_workers: int = Field(2, ge=1)


class AlfworldBenchmark(Benchmark):
    """ALFWorld's household tasks as text (see `base.Benchmark`)."""

    name = "alfworld"
    environment = "sg_pipeline.environments.alfworld.environment:AlfworldEnvironment"
    tasks_config = TasksConfig
    judges = True

    def prepare(self, config: TasksConfig, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
        """Write, check and compile the panel's games, or find and compile the official ones; see `base.Benchmark`."""
        from sg_pipeline.environments.alfworld.compile import compile_games

        if config.source == "official":
            from sg_pipeline.environments.alfworld.official import find_official_games

            folder = config.data_folder(root)
            splits = find_official_games(folder)
            listing = {split: [[task.task_id, task.sha256] for task in tasks] for split, tasks in splits.items()}
            sha256 = hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()
            data_root, source = str(folder), "official data"
        else:
            from sg_pipeline.environments.alfworld.generation.panel import write_panel_games

            panel = _panel(config, root)
            splits, sha256, data_root = panel.tasks(), panel.sha256, f"alfworld-{panel.sha256[:12]}"
            source = f"generated games, panel {config.panel}" if config.source == "panel" else "newly generated games"
            write_panel_games(panel, games / data_root)
        result = prepared(splits, config.limit, sha256=sha256, source=source, data_root=data_root)
        folder = games / data_root
        files = {task["sha256"]: folder / task["path"] for tasks in result["splits"].values() for task in tasks}
        compile_games(files, compiled, config.compile_workers)
        return result

    def inputs(self, config: TasksConfig, root: Path) -> Mapping[str, Path | Mapping[str, Path]]:
        """Return the panel's file, in which the games are hashed, or the files of the official games."""
        if config.source == "official":
            from sg_pipeline.environments.alfworld.official import official_files

            return {"tasks.data": official_files(config.data_folder(root))}
        return {"tasks.panel": _panel_file(config, root)} if config.source == "panel" else {}

    def anchors(self, observations: Sequence[str], actions: Sequence[str]) -> list[str]:
        """Return the last answer to a possible command, what is held, and what the player has moved and treated.

        Impossible commands change nothing, so the state after them is the one before.
        """
        from sg_pipeline.environments.alfworld.memory import Memory
        from sg_pipeline.environments.alfworld.rulebook import NOTHING_HAPPENS

        memory, answer, moved = Memory(observations[0]), observations[0], set[str]()
        found = []
        for turn, observation in enumerate(observations):
            if turn and not observation.startswith(NOTHING_HAPPENS):
                memory.read(actions[turn - 1], observation)
                answer = observation
            if memory.held is not None:
                moved.add(memory.held)
            places = sorted((item, memory.where.get(item)) for item in moved)
            treated = sorted((verb, *sorted(items)) for verb, items in memory.state.items())
            found.append(f"{answer}|{memory.at}|{memory.held}|{places}|{treated}")
        return found

    def verdicts(self, observations: Sequence[str], actions: Sequence[str], *, won: bool) -> list[Polarity]:
        """Return the verdicts of `progress.Progress`: milestones, as far as the player can know."""
        from sg_pipeline.environments.alfworld.progress import Progress

        progress = Progress(observations[0])
        verdicts = [progress.judge(*turn) for turn in zip(actions[:-1], observations[1:], strict=True)]
        # What the last action of a lost episode did is not known: its answer is in no table.
        return [*verdicts, Polarity.POSITIVE if won else Polarity.NEUTRAL]

    def demonstrator(self, config: TasksConfig, games: Path, compiled: Path, root: Path) -> Demonstrator:
        """Return the expert on rooms as difficult as the panel's; nothing is written for it.

        Raises:
            ConfigurationError: the tasks are official ones, whose rooms cannot be drawn.
        """
        from sg_pipeline.environments.alfworld.expert import GeneratedRoomsDemonstrator

        config.require_generated()
        return GeneratedRoomsDemonstrator(_panel(config, root))

    def vocabulary(self) -> "Vocabulary":
        """Return the words of the games and of their demonstrations."""
        from sg_pipeline.environments.alfworld.vocabulary import FILLER_WORDS, alfworld_vocabulary

        return alfworld_vocabulary(FILLER_WORDS.split())


def _panel(config: TasksConfig, root: Path) -> "Panel":
    """Return the panel that `config` names, or a new one of its recipe."""
    from sg_pipeline.environments.alfworld.generation.panel import Panel, make_panel

    if config.source == "generate":
        return make_panel(config.seed, {str(split): size for split, size in config.sizes.items()}, config.difficulty)
    return Panel.read(_panel_file(config, root))


def _panel_file(config: TasksConfig, root: Path) -> Path:
    return find_panel(config.panel, Path(__file__).parent / "panels", root)
