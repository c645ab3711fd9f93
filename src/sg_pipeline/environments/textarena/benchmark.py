"""TextArena as a benchmark: its tasks are seeds of single-player games."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sg_pipeline.environments.base import Benchmark, PanelTasks, requires_extra
from sg_pipeline.environments.panels import digest_of, prepared
from sg_pipeline.environments.textarena.environment import TextArenaEnvironment
from sg_pipeline.environments.textarena.games import check_game
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.trajectories.types import Task

Split = Literal["train", "valid_seen", "valid_unseen", "validation"]

PATIENCE = 200
"""After so many seeds without a new start, a game has no more."""

_BOARD = re.compile(
    r"^(?:Current Board:|Game Board:|=== BOARD ===|Current grid state|Score: \d|(?:[.A-Z] ){5}[.A-Z]$).*",
    re.MULTILINE | re.DOTALL,
)
"""A message that shows the whole board; RushHour's begins with its first row."""


class TextArenaTasks(PanelTasks):
    """See `PanelTasks`; `panel` has no effect.

    Attributes:
        games: names of the library, such as "FrozenLake-v0"; on the command line joined by "+".
        unseen_games: the games of the split valid_unseen; empty: `games`, as in the other splits.
        seeds: tasks of each game in each split; each starts differently.
    """

    games: tuple[str, ...] = Field(min_length=1)
    unseen_games: tuple[str, ...] = ()
    seeds: dict[Split, Annotated[int, Field(ge=1)]]

    @field_validator("games", "unseen_games", mode="before")
    @classmethod
    def _joined(cls, games: Any) -> Any:
        return tuple(games.split("+")) if isinstance(games, str) else games

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        named = [*self.games, *self.unseen_games]
        if len(set(named)) < len(named):
            raise ValueError(f"games and unseen_games must name each game once, found {', '.join(named)}")
        return self

    def unused(self) -> tuple[str, ...]:
        """Return the fields without effect."""
        return ("panel",)

    def played(self, split: Split) -> tuple[str, ...]:
        """Return the games of a split."""
        return self.unseen_games if self.unseen_games and split == "valid_unseen" else self.games


class TextArenaBenchmark(Benchmark):
    """TextArena's single-player games, for language models: no expert, and no words for a tiny policy."""

    name = "textarena"
    environment = "sg_pipeline.environments.textarena.environment:TextArenaEnvironment"
    tasks_config = TextArenaTasks

    def prepare(self, config: TextArenaTasks, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
        """Check the games and choose seeds; see `Benchmark`. Nothing is written."""
        with requires_extra("textarena"):
            import textarena  # noqa: F401
        starts = {}
        for game in (*config.games, *config.unseen_games):
            check_game(game)
            starts[game] = _starts(game)
        # A game's tasks alternate with those of the others, so that `limit` keeps all games.
        splits: dict[str, list[Task]] = {
            split: [
                Task(f"{game}-{seed:05d}", self.name, split, game, f"{game}/{seed}", sha256)
                for _ in range(count)
                for game in config.played(split)
                for seed, sha256 in [next(starts[game])]
            ]
            for split, count in config.seeds.items()
        }
        sha256 = digest_of([asdict(task) for tasks in splits.values() for task in tasks])
        return prepared(splits, config.limit, sha256=sha256, source=", ".join(starts), data_root=self.name)

    def anchors(self, observations: Sequence[str], actions: Sequence[str]) -> list[str]:
        """Return the last board and all that was said and done since; without boards that is the episode so far."""
        found, state = [], ""
        for turn, observation in enumerate(observations):
            board = _BOARD.search(observation)
            state = board[0] if board else f"{state}|{actions[turn - 1] if turn else ''}|{observation}"
            found.append(state)
        return found


@cache
def _start(game: str, seed: int) -> str:
    return TextArenaEnvironment().start(game, seed)[1]


def _starts(game: str) -> Iterator[tuple[int, str]]:
    """Yield seeds whose games start differently, with the digest of the start.

    Neighbouring seeds of Sokoban can make the same room, and FrozenLake has a few hundred lakes.
    """
    found: dict[str, int] = {}
    for seed in itertools.count():
        sha256 = _start(game, seed)
        if sha256 not in found:
            found[sha256] = seed
            yield seed, sha256
        elif seed - max(found.values()) > PATIENCE:
            raise ConfigurationError(
                f"tasks.seeds asks for more tasks of {game} than the {len(found)} different starts it has: lower them"
            )
