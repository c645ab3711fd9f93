"""ALFWorld behind the environment protocol, and the two engines that play its games.

`stock` is what alfworld's `AlfredTWEnv` plays: textworld's PddlEnv under alfworld's names, untouched; it is the
reference. `fast` (`fast_engine.py`) does the same without the repeated work. Both show the same texts for the same
commands.
"""

from pathlib import Path
from typing import Any, Literal

from sg_pipeline.environments.alfworld.fast_engine import FastEngine
from sg_pipeline.environments.alfworld.gamefile import GameFile, loading, read_game
from sg_pipeline.environments.alfworld.grammar import command_forms, read_grammar
from sg_pipeline.environments.alfworld.rulebook import Answer
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

    Args:
        data_root: the folder that the panel's paths start from.
        engine: "fast", or "stock" for the untouched reference.
        cache_dir: where the fast engine keeps compiled games; None keeps them in the process only.
        admissible: put the possible commands into every `StepResult`.
    """

    def __init__(
        self,
        data_root: Path,
        engine: Literal["fast", "stock"] = "fast",
        cache_dir: Path | None = None,
        admissible: bool = False,
    ) -> None:
        if engine not in ("fast", "stock"):
            raise ConfigurationError(f"The ALFWorld engine must be 'fast' or 'stock', found {engine!r}.")
        self._data_root = Path(data_root)
        self._engine = FastEngine(cache_dir) if engine == "fast" else StockEngine()
        self._admissible = admissible
        self._playing = False

    def reset(self, task: Task, seed: int) -> StepResult:
        """Start an episode of `task`; nothing is random in it. The observation comes without the engine's banner.

        Raises:
            DataError: the game is missing, not the expected one, broken, unsolvable, its PDDL does not load, or its
                grammar contains code.
        """
        self._playing = False
        game = read_game(self._data_root / task.path, task.sha256)
        forms = command_forms(game)
        observation, won, _ = self._engine.start(game)
        return self._result(Answer(observation.removeprefix(_BANNER).strip(), won, valid=True), forms)

    def step(self, action: str) -> StepResult:
        """Play one action, exactly as the policy wrote it.

        Raises:
            RuntimeError: there is no episode, or it has ended.
        """
        if not self._playing:
            raise RuntimeError("AlfworldEnvironment.step was called without an episode: call reset first.")
        return self._result(self._engine.step(action))

    def close(self) -> None:
        """Release the game; what it loaded serves the next environment in this process."""
        self._playing = False
        self._engine.close()

    def _result(self, answer: Answer, forms: tuple[str, ...] = ()) -> StepResult:
        self._playing = not answer.won
        return StepResult(
            answer.observation,
            reward=float(answer.won),
            done=answer.won,
            won=answer.won,
            score=float(answer.won),
            valid=answer.valid,
            admissible=self._engine.admissible_commands() if self._admissible else None,
            forms=forms,
        )


class StockEngine:
    """The reference: textworld's engine and alfworld's names, as `AlfredTWEnv` builds them; used as `FastEngine`."""

    def __init__(self) -> None:
        self._env: Any = None
        self._state: Any = None

    def start(self, game: GameFile) -> Answer:
        """See `FastEngine.start`."""
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from textworld.envs.pddl import PddlEnv

        read_grammar(game)  # refuses code: textworld evaluates the grammar's expressions
        if self._env is None:
            infos = textworld.EnvInfos(won=True, admissible_commands=True)
            self._env = _idle_environments.pop() if _idle_environments else AlfredDemangler(PddlEnv(infos))
        with loading(game.path):
            self._env.load(game.data)
            self._state = self._env.reset()
        return Answer(self._state["feedback"], self._state["won"], valid=True)

    def step(self, command: str) -> Answer:
        """See `FastEngine.step`."""
        valid = command.strip() in self.admissible_commands()
        self._state, _, won = self._env.step(command)
        return Answer(self._state["feedback"], won, valid)

    def admissible_commands(self) -> tuple[str, ...]:
        """See `FastEngine.admissible_commands`."""
        return tuple(self._state["admissible_commands"])

    def close(self) -> None:
        """See `FastEngine.close`."""
        if self._env is not None:
            _idle_environments.append(self._env)
            self._env = None
