"""TextArena's games behind the environment protocol."""

import io
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from sg_pipeline.environments.base import StepResult
from sg_pipeline.environments.panels import digest_of
from sg_pipeline.environments.textarena.games import FORMS, FULL_REWARD, family
from sg_pipeline.errors import DataError
from sg_pipeline.trajectories.types import Task

MAX_ACTION_CHARACTERS = 500
"""Longer than any command; the library converts numbers of any length."""

_LATE = "Minesweeper"
"""Draws its mines at the first move."""

_UNSOLVED = ("Invalid Move", "No moves left")
"""Begin the reasons of games of 2048 that are lost, although their progress may pay 1."""


class TextArenaEnvironment:
    """Plays TextArena's single-player games (see `environments.base.Environment`).

    An episode ends where the library ends it: solved, lost, at the game's turn limit, or at the second invalid action
    in a row. The reward of this last step, which is also the score, is the library's: 1 for a solved game, a fraction
    for progress in a lost one; negative rewards count as 0. An episode that the rollout cuts off has earned nothing.

    An observation has the messages since the last action; the first one has the rules.
    """

    def __init__(self, data_root: Path | str = "", cache_dir: Path | None = None, graded: bool = True) -> None:
        """Prepare an environment without starting a game.

        Args:
            data_root, cache_dir: not used, the library contains its games.
            graded: reward progress in a lost game, as the library does; False: only a solved game has a reward.
        """
        self._graded = graded
        self._family, self._game, self._random = "", None, random.getstate()

    def reset(self, task: Task, seed: int) -> StepResult:
        """Start an episode of `task`.

        Args:
            task: `task.path` is "GAME/SEED"; a non-empty `task.sha256` must be the digest of the game's start.
            seed: not used: what chance does belongs to the task, and is the same for all episodes of a group.

        Raises:
            DataError: the installed library starts the game in another way.
        """
        game, _, number = task.path.rpartition("/")
        observation, sha256 = self.start(game, int(number))
        if task.sha256 and sha256 != task.sha256:
            raise DataError(
                f"Task {task.task_id} starts differently in the installed textarena than when the tasks were prepared: "
                "install the version of constraints.txt, or start another run."
            )
        return StepResult(observation, forms=FORMS[self._family])

    def start(self, game: str, seed: int) -> tuple[str, str]:
        """Start a game; return the first observation, and a digest of it and of what it does not show."""
        import textarena

        self._family, self._random = family(game), random.Random(seed).getstate()
        with self._own_randomness():  # some games draw before the library sets the seed
            started: Any = textarena.make(game)
            started.reset(num_players=1, seed=seed)
        self._game = started
        observation = self._messages()
        hidden = json.dumps(started.state.game_state, default=lambda value: type(value).__name__, skipkeys=True)
        return observation, digest_of([observation, hidden, seed if self._family == _LATE else None])

    def step(self, action: str) -> StepResult:
        """Play one action; a character that is not ASCII counts as "?". Raises `RuntimeError` without an episode."""
        if self._game is None:
            raise RuntimeError("TextArenaEnvironment.step was called without an episode: call reset first.")
        state = self._game.state
        with self._own_randomness():
            done, _ = self._game.step(action.encode("ascii", "replace").decode()[:MAX_ACTION_CHARACTERS])
        observation = self._messages()
        if not done:
            return StepResult(observation, valid=state.error_count == 0)
        self._game, outcome = None, state.game_info[0]
        score = min(1.0, max(0.0, state.rewards[0] / FULL_REWARD.get(self._family, 1.0)))
        won = score == 1.0 and not outcome["reason"].startswith(_UNSOLVED)
        score = score if won or self._graded else 0.0
        text = f"{observation}\n{outcome['reason']}".strip()
        return StepResult(text, score, done=True, won=won, score=score, valid=not outcome["invalid_move"])

    def close(self) -> None:
        """Release the episode."""
        self._game = None

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Give the library, which draws from the module `random`, this episode's state of it; drop what it prints."""
        outside = random.getstate()
        random.setstate(self._random)
        try:
            with redirect_stdout(io.StringIO()):
                yield
        finally:
            self._random = random.getstate()
            random.setstate(outside)

    def _messages(self) -> str:
        """Return the messages since the last call, without actions; rules lose their indentation."""
        from textarena import ObservationType

        texts = []
        for _, text, kind in self._game.state.get_current_player_observation():  # type: ignore[attr-defined]
            if kind == ObservationType.PROMPT:
                texts.append("\n".join(line.strip() for line in text.strip().splitlines()))
            elif kind != ObservationType.PLAYER_ACTION:
                texts.append(text.strip("\n").rstrip())
        return "\n".join(texts)
