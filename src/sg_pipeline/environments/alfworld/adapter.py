"""ALFWorld behind the environment protocol."""

from dataclasses import replace
from pathlib import Path

from sg_pipeline.environments.alfworld.engine import Engine, EngineName, Frame, StockEngine
from sg_pipeline.environments.alfworld.fast_engine import FastEngine
from sg_pipeline.environments.alfworld.gamefile import read_game
from sg_pipeline.environments.alfworld.grammar import command_forms
from sg_pipeline.environments.base import StepResult
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.trajectories.types import Task

_BANNER = "-= Welcome to TextWorld, ALFRED! =-"


class AlfworldEnvironment:
    """Plays ALFWorld games (see `environments.base.Environment`).

    An action is valid iff it is exactly one of the commands that the engine holds possible, outer spaces aside;
    anything else leaves the world as it is, reads "Nothing happens." and costs the step. No verb is known here:
    game data 2.1.1 says "put X in/on Y" where 2.1.2 says "move X to Y". The reward is 1.0 on the step that
    reaches the goal and 0.0 otherwise; the engine has no step limit of its own and nobody can lose.
    """

    def __init__(
        self,
        data_root: Path,
        engine: EngineName = "fast",
        cache_dir: Path | None = None,
        admissible: bool = False,
    ) -> None:
        """Prepare an environment without loading anything.

        Args:
            data_root: the folder that the panel's paths start from.
            engine: "fast", or "stock" for the untouched reference.
            cache_dir: where the fast engine keeps compiled games; None keeps them in the process only.
            admissible: put the possible commands into every `StepResult`.

        Raises:
            ConfigurationError: `engine` is neither of the two.
        """
        self._data_root = Path(data_root)
        self._engine = make_engine(engine, cache_dir, admissible)
        self._playing = False

    def reset(self, task: Task, seed: int) -> StepResult:
        """Start an episode of `task`.

        Args:
            task: `task.path` is relative to the data folder; a non-empty `task.sha256` must be the file's.
            seed: not used: an ALFWorld game has no chance of its own.

        Returns:
            The room and the task, without the engine's banner, and the forms of the game's own commands.

        Raises:
            DataError: the game is missing, not the expected one, broken, unsolvable, its PDDL does not load, or its
                grammar holds code.
        """
        self._playing = False
        game = read_game(self._data_root / task.path, task.sha256)
        forms = command_forms(game)
        frame = self._engine.start(game)
        self._playing = True
        return replace(_result(frame, observation=frame.feedback.removeprefix(_BANNER).strip()), forms=forms)

    def step(self, action: str) -> StepResult:
        """Play one action, exactly as the policy wrote it.

        Raises:
            RuntimeError: there is no episode, or it has ended.
        """
        if not self._playing:
            raise RuntimeError("AlfworldEnvironment.step was called without an episode: call reset first.")
        frame = self._engine.step(action)
        self._playing = not frame.done
        return _result(frame, observation=frame.feedback)

    def close(self) -> None:
        """Let go of the game; what it loaded serves the next environment in this process."""
        self._playing = False
        self._engine.close()


def make_engine(engine: EngineName, cache_dir: Path | None = None, admissible: bool = False) -> Engine:
    """Return a new engine by its name; see `AlfworldEnvironment` for the arguments."""
    if engine == "fast":
        return FastEngine(admissible, cache_dir)
    if engine == "stock":
        return StockEngine(admissible)
    raise ConfigurationError(f"The ALFWorld engine must be 'fast' or 'stock', found {engine!r}.")


def _result(frame: Frame, observation: str) -> StepResult:
    return StepResult(
        observation=observation,
        reward=1.0 if frame.won else 0.0,
        done=frame.done,
        won=frame.won,
        score=float(frame.won),
        valid=frame.valid,
        admissible=frame.admissible,
    )
