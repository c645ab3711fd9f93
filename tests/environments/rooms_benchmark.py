"""A whole benchmark for tests: the small game of `rooms`, graded, with tasks, an expert and words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field
from rooms import ROOMS, Rooms

from sg_pipeline.environments.base import Demonstration, DemoTurn, PanelTasks, StepResult
from sg_pipeline.environments.panels import prepared
from sg_pipeline.policies.vocabulary import PLAIN_ENGLISH, Vocabulary
from sg_pipeline.trajectories.types import Polarity, Task

SPEC = "rooms_benchmark:RoomsBenchmark"
MAX_TURNS = 12
SIZES = {"default": 4, "small": 2}


class GradedRooms(Rooms):
    """The key is worth a part of the score, the open chest all of it."""

    def __init__(self, data_root: Path, cache_dir: Path | None = None, key_worth: float = 0.5) -> None:
        super().__init__()
        assert Path(data_root).is_dir()
        self._key_worth = key_worth

    def step(self, action: str) -> StepResult:
        had_key = self._has_key
        result = super().step(action)
        before, score = (self._key_worth * has_key for has_key in (had_key, self._has_key))
        score = max(score, result.score)
        parts = (("key", float(self._has_key)), ("chest", float(result.won)))
        return replace(result, reward=score - before, score=score, parts=parts)

    def wanted(self) -> tuple[str, str]:
        """The expert's sub-goal, and the command that serves it."""
        target, goal, act = (
            (self._chest, "find the chest", "open chest") if self._has_key else (self._key, "find the key", "take key")
        )
        if self._here == target:
            return goal, act
        return goal, "left" if self._here > target else "right"


class RoomsTasks(PanelTasks):
    doors: int = Field(2, ge=1)


class RoomsDemonstrator:
    def __init__(self, folder: Path) -> None:
        self._game = GradedRooms(folder)

    def demonstrate(self, number: int, rng: Any, noise: float) -> Demonstration:
        result = self._game.reset(Task(f"demo-{number}", "rooms", "demo", "chest", "", ""), int(rng.integers(2**31)))
        turns, polarity = [], Polarity.NEUTRAL
        while len(turns) < MAX_TURNS and not result.done:
            goal, wanted = self._game.wanted()
            action = ("left", "right", "open chest")[int(rng.integers(3))] if rng.random() < noise else wanted
            turns.append(DemoTurn(result.observation, goal, polarity, action, action != wanted))
            result = self._game.step(action)
            polarity = Polarity.POSITIVE if action == wanted else Polarity.NEGATIVE
        return Demonstration(tuple(turns), result.won, result.observation, polarity)

    def close(self) -> None:
        self._game.close()


class RoomsBenchmark:
    name = "rooms"
    environment = "rooms_benchmark:GradedRooms"
    tasks_config = RoomsTasks

    def prepare(self, config: RoomsTasks, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
        (games / "rooms").mkdir(parents=True, exist_ok=True)
        kinds = ("near", "far") * SIZES.get(config.panel, 2)
        splits = {
            split: [Task(f"{split}-{index}", "rooms", split, kind, "", "0" * 64) for index, kind in enumerate(kinds)]
            for split in ("train", "dev", "test")
        }
        return prepared(splits, config.limit, sha256="0", source=f"rows of {len(ROOMS)} rooms", data_root="rooms")

    def inputs(self, config: RoomsTasks, root: Path) -> dict[str, Path]:
        return {"tasks.panel": root / config.panel}

    def demonstrator(self, config: RoomsTasks, games: Path, compiled: Path, root: Path) -> RoomsDemonstrator:
        (games / "rooms").mkdir(parents=True, exist_ok=True)
        return RoomsDemonstrator(games / "rooms")

    def vocabulary(self) -> Vocabulary:
        said = "find key and open chest left right take here in opens nothing happens positive neutral negative"
        return Vocabulary((), (), tuple(sorted({*said.split(), *ROOMS})), phrases=("take key",), rewrites=PLAIN_ENGLISH)


class Unfinished:
    """A benchmark without an expert."""

    name, environment, tasks_config = "unfinished", RoomsBenchmark.environment, RoomsTasks
    prepare, inputs = RoomsBenchmark.prepare, RoomsBenchmark.inputs
