"""The two interchangeable engines that play a game, and the frame that both show.

`stock` is what `AlfredTWEnv` builds: textworld's PddlEnv under alfworld's wrappers, untouched; it is the
reference. `fast` (`fast_engine.py`) plays the same classes without their repeated work. Both show the same
frames for the same commands.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sg_pipeline.environments.alfworld.gamefile import GameFile, loading
from sg_pipeline.environments.alfworld.grammar import read_grammar

EngineName = Literal["fast", "stock"]

# Stock environments that no engine uses now. One holds a 34 MB copy of fast-downward's library for good: unloading
# it (`fast_downward.close_lib`) can crash the process at exit, so environments are used again instead.
_idle_environments: list[Any] = []


@dataclass(frozen=True, slots=True)
class Frame:
    """What an engine shows after a reset or a command.

    Attributes:
        feedback: the text, as the engine wrote it.
        won: the goal is reached now.
        done: the engine calls the game over (ALFWorld ends a game only when it is won).
        score: the engine's own score, 0 or 1.
        valid: the command was one of those possible before it (True after a reset).
        admissible: the commands possible now, sorted; None unless asked for.
    """

    feedback: str
    won: bool
    done: bool
    score: int
    valid: bool
    admissible: tuple[str, ...] | None


class Engine(Protocol):
    """Plays one game at a time, any number of them one after another. Not thread-safe, not picklable."""

    def start(self, game: GameFile) -> Frame:
        """Load `game` and start it from the beginning. Raises `DataError` where its PDDL or grammar does not load."""
        ...

    def step(self, command: str) -> Frame:
        """Play one command. Outer spaces do not count; anything but an exact command changes nothing."""
        ...

    def close(self) -> None:
        """Let go of what the engine holds; it is not used again."""
        ...


class StockEngine:
    """The reference: exactly the environment that alfworld's `AlfredTWEnv` builds for one game."""

    def __init__(self, admissible: bool = False) -> None:
        self._admissible = admissible
        self._env: Any = None
        self._commands: frozenset[str] = frozenset()

    def start(self, game: GameFile) -> Frame:
        """See `Engine.start`."""
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos

        read_grammar(game)  # textworld evaluates whatever stands there
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
        return self._frame(state, score=0, done=bool(state["won"]), valid=True)

    def step(self, command: str) -> Frame:
        """See `Engine.step`."""
        valid = command.strip() in self._commands
        state, score, done = self._env.step(command)
        return self._frame(state, score=int(score), done=bool(done), valid=valid)

    def close(self) -> None:
        """See `Engine.close`."""
        if self._env is not None:
            _idle_environments.append(self._env)
            self._env = None

    def _frame(self, state: Any, score: int, done: bool, valid: bool) -> Frame:
        commands = tuple(state["admissible_commands"])
        self._commands = frozenset(commands)
        return Frame(
            feedback=state["feedback"],
            won=bool(state["won"]),
            done=done,
            score=score,
            valid=valid,
            admissible=commands if self._admissible else None,
        )
