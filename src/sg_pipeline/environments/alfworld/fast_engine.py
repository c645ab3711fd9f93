"""The fast engine: plays what the stock engine plays, with all repeated work done once and shared.

    game file ──► compiled game (disk cache) ──► game in play (one per process) ──► episodes (one per engine)

A game in play holds one copy of fast-downward's library, whose state registry numbers the states, and a table of the
states visited so far with the commands possible in each and the transitions taken. An episode is a place in that table.
What is not in the table comes from the library (applicable operators, successor, goal) and from the grammar (texts), as
textworld's `PddlEnv` does at every step.

A state is the library's number *and* textworld's own set of facts: textworld adds all effects of an operator,
conditional ones too, so its facts are not a function of the planning state.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg_pipeline.environments.alfworld.compile import INTRO, compile_game
from sg_pipeline.environments.alfworld.compiled import CompiledGame
from sg_pipeline.environments.alfworld.fast_logic import GameLogic, Mapping
from sg_pipeline.environments.alfworld.gamefile import GameFile, loading
from sg_pipeline.environments.alfworld.library import give_back_library, take_library
from sg_pipeline.environments.alfworld.rulebook import NOTHING_HAPPENS, Answer

_MAX_STATES = 20_000  # States remembered per game; about 5 KB each.
_MAX_IDLE_GAMES = 16  # Games without an episode that stay loaded; one takes about 6 MB.


@dataclass(slots=True, eq=False)
class _Operator:
    """A grounded action: its arguments, and its effect on the facts (computed when first applied)."""

    number: int
    effects: int
    mapping: Mapping
    template: str
    feedback: str
    changes: tuple[int, int] | None = None


@dataclass(slots=True, eq=False)
class _State:
    """A visited state."""

    number: int
    facts: int
    won: bool
    commands: dict[str, _Operator]
    transitions: dict[int, tuple[str, "_State"]] = field(default_factory=dict)


class GameInPlay:
    """One loaded game with everything that its episodes in this process have computed."""

    def __init__(self, game: CompiledGame, path: Path) -> None:
        self.users = 0
        self._path = path
        self._game = game
        self._types = {name: kind for name, kind in game.variables}
        self._logic = GameLogic(game)
        self._operators: dict[int, _Operator] = {}
        self._texts: dict[tuple[int, str, int], str] = {}
        self._states: dict[tuple[int, int], _State] = {}
        self.intro = self._logic.derive(INTRO, {}, self._logic.initial)
        self._library = take_library()
        self._library.load_sas(game.sas)
        self.start = self._state(self._library.get_state_id(), self._logic.initial)

    def close(self) -> None:
        """Give the library back; the game is not used again."""
        give_back_library(self._library)

    def play(self, state: _State, command: str) -> tuple[str, _State] | None:
        """Return the feedback and the next state; None if the command is not possible."""
        operator = state.commands.get(command)
        if operator is None:
            return None
        transition = state.transitions.get(operator.number)
        if transition is None:
            with loading(self._path):
                transition = state.transitions[operator.number] = self._apply(state, operator)
        return transition

    def _apply(self, state: _State, operator: _Operator) -> tuple[str, _State]:
        self._library.set_state_id(state.number)
        if operator.changes is None:
            operator.changes = self._apply_and_read(operator)
        else:
            self._library.apply_operator(operator.number, None)
        cleared, added = operator.changes
        facts = (state.facts & ~cleared) | added
        following = self._state(self._library.get_state_id(), facts)
        return self._text(operator, operator.feedback, facts), following

    def _apply_and_read(self, operator: _Operator) -> tuple[int, int]:
        """Apply an operator and return the bits that it clears and adds, by the rules of `PddlState.apply`."""
        from textworld.envs.pddl.logic import Atom

        effects = (Atom * operator.effects)()
        self._library.apply_operator(operator.number, effects)
        cleared = added = 0
        for effect in effects:
            fact = effect.get_fact(self._types)
            bit, opposite = (
                self._logic.bit(item.name, tuple(self._logic.variable(var.name, var.type) for var in item.arguments))
                for item in (fact, fact.negate())
            )
            cleared, added = (cleared | opposite) & ~bit, (added & ~opposite) | bit
        return cleared, added

    def _state(self, number: int, facts: int) -> _State:
        state = self._states.get((number, facts))
        if state is None:
            if len(self._states) >= _MAX_STATES:
                for old in self._states.values():
                    old.transitions.clear()
                self._states.clear()
                self._texts.clear()
            self._library.set_state_id(number)
            state = _State(number, facts, self._library.check_goal(), self._commands(facts))
            self._states[number, facts] = state
        return state

    def _commands(self, facts: int) -> dict[str, _Operator]:
        """Return the commands of the library's current state; of two operators with one text the first counts."""
        from fast_downward import Operator

        found = (Operator * self._library.get_applicable_operators_count())()
        self._library.get_applicable_operators(found)
        commands: dict[str, _Operator] = {}
        for item in found:
            operator = self._operators.get(item.id)
            if operator is None:
                operator = self._operators[item.id] = self._ground(item)
            commands.setdefault(self._text(operator, operator.template, facts), operator)
        return commands

    def _ground(self, item: Any) -> _Operator:
        name, *arguments = item.name.split()
        action = self._game.actions.get(name)
        if action is None:
            raise LookupError(f"its grammar has no action '{name}'")
        mapping = {
            (placeholder, kind): self._logic.variable(argument, kind)
            for (placeholder, kind), argument in zip(action["parameters"], arguments, strict=True)
        }
        return _Operator(item.id, item.nb_effect_atoms, mapping, action["template"], action["feedback"])

    def _text(self, operator: _Operator, start: str, facts: int) -> str:
        key = (operator.number, start, facts & self._logic.relevant(start))
        text = self._texts.get(key)
        if text is None:
            text = self._logic.derive(start, operator.mapping, facts)
            if start is operator.template and "{" in text:
                text = text.format(**self._game.entities)
            self._texts[key] = text
        return text


_games: OrderedDict[str, GameInPlay] = OrderedDict()


class FastEngine:
    """Plays one game at a time, any number of them one after another, as `StockEngine` does. Not thread-safe."""

    def __init__(self, cache_dir: Path | None = None) -> None:
        self._cache_dir = cache_dir
        self._game: Any = None  # a GameInPlay, and a state of it, from `start` to `close`
        self._state: Any = None

    def start(self, game: GameFile) -> Answer:
        """Load `game` and start it from the beginning. Raises `DataError` if its PDDL or grammar does not load."""
        self.close()
        self._game = _acquire(game, self._cache_dir)
        self._state = self._game.start
        return Answer(self._game.intro, self._state.won, valid=True)

    def step(self, command: str) -> Answer:
        """Play one command. Outer spaces do not count; anything but an exact command changes nothing."""
        played = self._game.play(self._state, command.strip())
        if played is None:
            return Answer(NOTHING_HAPPENS, self._state.won, valid=False)
        feedback, self._state = played
        return Answer(feedback, self._state.won, valid=True)

    def admissible_commands(self) -> tuple[str, ...]:
        """Return every command that is possible now, sorted."""
        return tuple(sorted(self._state.commands))

    def close(self) -> None:
        """End the episode; the game stays loaded until others need its place."""
        if self._game is not None:
            self._game.users -= 1
            self._game = self._state = None


def _acquire(game: GameFile, cache_dir: Path | None) -> GameInPlay:
    """Return the process's only copy of a game, loaded if necessary, for one more episode."""
    loaded = _games.get(game.sha256)
    if loaded is None:
        compiled = compile_game(game, cache_dir)
        with loading(game.path):
            loaded = _games[game.sha256] = GameInPlay(compiled, game.path)
    _games.move_to_end(game.sha256)
    loaded.users += 1
    idle = [key for key, other in _games.items() if other.users == 0]
    for key in idle[:-_MAX_IDLE_GAMES]:
        _games.pop(key).close()
    return loaded
