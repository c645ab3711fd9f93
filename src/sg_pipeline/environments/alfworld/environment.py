"""ALFWorld behind the environment protocol, and the two engines that play its games.

`stock` is what alfworld's `AlfredTWEnv` builds: textworld's PddlEnv under alfworld's wrappers, untouched; it is the
reference. `fast` (`fast_engine.py`) does the same without the repeated work. Both show the same texts for the same
commands.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from sg_pipeline.environments.alfworld.fast_engine import FastEngine
from sg_pipeline.environments.alfworld.gamefile import GameFile, loading, read_game
from sg_pipeline.environments.alfworld.grammar import command_forms, read_grammar
from sg_pipeline.environments.base import StepResult
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.trajectories.types import Task

_BANNER = "-= Welcome to TextWorld, ALFRED! =-"

# Stock environments that no engine uses now. One holds a 34 MB copy of fast-downward's library for good: unloading
# it (`fast_downward.close_lib`) can crash the process at exit, so environments are reused instead.
_idle_environments: list[Any] = []


class AlfworldEnvironment:
    """Plays ALFWorld games (see `environments.base.Environment`).

    An action is valid iff it is exactly one of the commands that the engine holds possible, outer spaces aside;
    anything else leaves the world as it is, reads "Nothing happens." and costs the step. No verb is known here:
    game data 2.1.1 says "put X in/on Y" where 2.1.2 says "move X to Y". The reward is 1.0 on the step that
    reaches the goal and 0.0 otherwise; the engine has no step limit, and an episode cannot be lost.
    """

    def __init__(
        self,
        data_root: Path,
        engine: Literal["fast", "stock"] = "fast",
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
        if engine not in ("fast", "stock"):
            raise ConfigurationError(f"The ALFWorld engine must be 'fast' or 'stock', found {engine!r}.")
        self._engine = FastEngine(admissible, cache_dir) if engine == "fast" else StockEngine(admissible)
        self._playing = False

    def reset(self, task: Task, seed: int) -> StepResult:
        """Start an episode of `task`.

        Args:
            task: `task.path` is relative to the data folder; a non-empty `task.sha256` must be the file's.
            seed: not used: nothing is random in an ALFWorld game.

        Returns:
            The room and the task, without the engine's banner, and the forms of the game's own commands.

        Raises:
            DataError: the game is missing, not the expected one, broken, unsolvable, its PDDL does not load, or its
                grammar contains code.
        """
        self._playing = False
        game = read_game(self._data_root / task.path, task.sha256)
        forms = command_forms(game)
        result = self._engine.start(game)
        self._playing = True
        return replace(result, observation=result.observation.removeprefix(_BANNER).strip(), forms=forms)

    def step(self, action: str) -> StepResult:
        """Play one action, exactly as the policy wrote it.

        Raises:
            RuntimeError: there is no episode, or it has ended.
        """
        if not self._playing:
            raise RuntimeError("AlfworldEnvironment.step was called without an episode: call reset first.")
        result = self._engine.step(action)
        self._playing = not result.done
        return result

    def close(self) -> None:
        """Release the game; what it loaded serves the next environment in this process."""
        self._playing = False
        self._engine.close()


class StockEngine:
    """The reference: exactly the environment that alfworld's `AlfredTWEnv` builds for a game; used as `FastEngine`."""

    def __init__(self, admissible: bool = False) -> None:
        self._admissible = admissible
        self._env: Any = None
        self._commands: frozenset[str] = frozenset()

    def start(self, game: GameFile) -> StepResult:
        """See `FastEngine.start`."""
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos

        read_grammar(game)  # refuses code: textworld evaluates the grammar's expressions
        if self._env is None and _idle_environments:
            self._env = _idle_environments.pop()
        with loading(game.path):
            if self._env is None:
                infos = textworld.EnvInfos(won=True, admissible_commands=True, extras=["gamefile"])
                wrappers = [AlfredDemangler(shuffle=False), AlfredInfos]
                self._env = textworld.start(str(game.path), infos, wrappers)
            else:
                self._env.load(str(game.path))
            state = self._env.reset()
        return self._result(state, score=float(state["won"]), done=bool(state["won"]), valid=True)

    def step(self, command: str) -> StepResult:
        """See `FastEngine.step`."""
        valid = command.strip() in self._commands
        state, score, done = self._env.step(command)
        return self._result(state, score=float(score), done=bool(done), valid=valid)

    def close(self) -> None:
        """See `FastEngine.close`."""
        if self._env is not None:
            _idle_environments.append(self._env)
            self._env = None

    def _result(self, state: Any, score: float, done: bool, valid: bool) -> StepResult:
        commands = tuple(state["admissible_commands"])
        self._commands = frozenset(commands)
        return StepResult(
            observation=state["feedback"],
            reward=float(state["won"]),
            done=done,
            won=bool(state["won"]),
            score=score,
            valid=valid,
            admissible=commands if self._admissible else None,
        )
