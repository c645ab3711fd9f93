"""The fast engine: stock's states, texts and order, each worked out once.

A game in play is shared by all its episodes in this process: one copy of fast-downward's library, whose state
registry numbers the states, and a table of the states visited so far with the commands possible in each and
the transitions taken. An episode is a place in that table. What the table lacks is asked from the library
(applicable operators, successor, goal) and from the grammar (texts), as textworld's `PddlEnv` does at every step.

A state is the library's number *and* textworld's own set of facts: textworld adds all effects of an
operator, conditional ones too, so its facts are not a function of the planning state.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg_pipeline.environments.alfworld.compiled import CompiledGame, load_cached, store_cached
from sg_pipeline.environments.alfworld.engine import Frame, loading
from sg_pipeline.environments.alfworld.fast_logic import FactIndex, Grammar, IncompleteGrammarError, Mapping
from sg_pipeline.environments.alfworld.gamefile import GameFile
from sg_pipeline.environments.alfworld.library import give_back_library, take_library
from sg_pipeline.environments.alfworld.translation import INTRO, translate
from sg_pipeline.errors import ConfigurationError

NOTHING_HAPPENS = "Nothing happens."

_MAX_IDLE_GAMES = 16  # Games without an episode that stay loaded; one takes about 10 MB.
_MAX_STATES = 20_000  # States remembered per game; about 5 KB each.

_games: "OrderedDict[str, GameInPlay]" = OrderedDict()


@dataclass(slots=True, eq=False)
class _Operator:
    """A grounded action: its arguments, and what it does to the facts (worked out when first applied)."""

    number: int
    name: str
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
    """One loaded game with everything its episodes in this process have learnt of it."""

    def __init__(self, game: CompiledGame) -> None:
        from textworld.generator.game import EntityInfo

        self.users = 0
        entities = {}
        for name, shown in game.entities.items():
            info = EntityInfo(name, "")
            info.name, info.definite, info.indefinite = shown, "the", "a"
            entities[name] = info
        self._names = game.entities
        self._actions = game.actions
        self._types = {name: kind for name, kind in game.variables}
        self._index = FactIndex(game)
        self._grammar = Grammar(game, self._index, entities)
        self._operators: dict[int, _Operator] = {}
        self._texts: dict[tuple[int, str, int], str] = {}
        self._states: dict[tuple[int, int], _State] = {}
        self.intro = self._grammar.derive(INTRO, {}, self._index.initial)
        self._library = take_library()
        self._library.load_sas(game.sas)
        try:
            self.start = self._state(self._library.get_state_id(), self._index.initial)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the library back; the game is not used again."""
        give_back_library(self._library)

    def play(self, state: _State, command: str) -> tuple[str, _State] | None:
        """Return the feedback and the next state; None where the command is not possible."""
        operator = state.commands.get(command)
        if operator is None:
            return None
        transition = state.transitions.get(operator.number)
        if transition is None:
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
        try:
            return self._text(operator, operator.feedback, facts), following
        except ValueError:  # `PddlEnv.step` takes a ValueError of the grammar for an impossible command.
            return NOTHING_HAPPENS, following

    def _apply_and_read(self, operator: _Operator) -> tuple[int, int]:
        """Apply an operator and return the bits that it clears and adds, by the rules of `PddlState.apply`."""
        from textworld.envs.pddl.logic import Atom

        effects = (Atom * operator.effects)()
        self._library.apply_operator(operator.number, effects)
        cleared = added = 0
        for effect in effects:
            fact = effect.get_fact(self._types)
            bit, opposite = (
                self._index.bit(item.name, tuple(self._index.variable(var.name, var.type) for var in item.arguments))
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
            won = bool(self._library.check_goal())
            state = _State(number, facts, won, self._commands(facts))
            self._states[number, facts] = state
        return state

    def _commands(self, facts: int) -> dict[str, _Operator]:
        """Return what can be done in the library's current state; of two operators with one text the first counts."""
        from fast_downward import Operator

        count = self._library.get_applicable_operators_count()
        found = (Operator * count)()
        self._library.get_applicable_operators(found)
        commands: dict[str, _Operator] = {}
        for item in found:
            operator = self._operators.get(item.id)
            if operator is None:
                operator = self._operators[item.id] = self._ground(item)
            command = self._text(operator, operator.template, facts)
            commands.setdefault(command, operator)
        return commands

    def _ground(self, item: Any) -> _Operator:
        name, *arguments = item.name.split()
        action = self._actions.get(name)
        if action is None:
            raise IncompleteGrammarError(f"its grammar has no action '{name}'")
        mapping = {
            (placeholder, kind): self._index.variable(argument, kind)
            for (placeholder, kind), argument in zip(action["parameters"], arguments, strict=True)
        }
        return _Operator(item.id, item.name, item.nb_effect_atoms, mapping, action["template"], action["feedback"])

    def _text(self, operator: _Operator, start: str, facts: int) -> str:
        key = (operator.number, start, facts & self._grammar.relevant(start))
        text = self._texts.get(key)
        if text is None:
            text = self._grammar.derive(start, operator.mapping, facts)
            if start is operator.template and "{" in text:
                text = text.format(**self._names)
            self._texts[key] = text
        return text


class FastEngine:
    """Plays games as `StockEngine` does, frame for frame, at a fraction of its cost."""

    def __init__(self, admissible: bool = False, cache_dir: Path | None = None) -> None:
        self._admissible = admissible
        self._cache_dir = cache_dir
        self._game: GameInPlay | None = None
        self._state: _State | None = None
        self._path = Path()

    def start(self, game: GameFile) -> Frame:
        """See `Engine.start`."""
        self.close()
        self._path = game.path
        self._game = acquire(game, self._cache_dir)
        self._state = self._game.start
        return self._frame(self._game.intro, self._state, valid=True, started=True)

    def step(self, command: str) -> Frame:
        """See `Engine.step`."""
        if self._game is None or self._state is None:
            raise RuntimeError("FastEngine.step was called before start.")
        with loading(self._path):
            played = self._game.play(self._state, command.strip())
        if played is None:
            return self._frame(NOTHING_HAPPENS, self._state, valid=False)
        feedback, self._state = played
        return self._frame(feedback, self._state, valid=True)

    def close(self) -> None:
        """See `Engine.close`."""
        if self._game is not None:
            release(self._game)
            self._game = self._state = None

    def _frame(self, feedback: str, state: _State, valid: bool, started: bool = False) -> Frame:
        return Frame(
            feedback=feedback,
            won=state.won,
            done=state.won,
            score=0 if started else int(state.won),
            valid=valid,
            admissible=tuple(sorted(state.commands)) if self._admissible else None,
        )


def compile_game(game: GameFile, cache_dir: Path | None) -> tuple[CompiledGame, bool]:
    """Return the compiled game, from the disk cache where it is there, and whether it had to be translated.

    Raises:
        DataError: the game does not load.
        ConfigurationError: the cache folder cannot be written.
    """
    if cache_dir is not None:
        cached = load_cached(cache_dir, game.sha256)
        if cached is not None:
            return cached, False
    compiled = translate(game)
    if cache_dir is not None:
        try:
            store_cached(cache_dir, game.sha256, compiled)
        except OSError as error:
            raise ConfigurationError(
                f"The folder for compiled ALFWorld games, {cache_dir}, cannot be written: {error.strerror}."
            ) from error
    return compiled, True


def acquire(game: GameFile, cache_dir: Path | None) -> GameInPlay:
    """Return the process's one copy of a game, loaded where need be; `release` it when the episode is over."""
    loaded = _games.get(game.sha256)
    if loaded is None:
        compiled, _ = compile_game(game, cache_dir)
        with loading(game.path):
            loaded = _games[game.sha256] = GameInPlay(compiled)
    _games.move_to_end(game.sha256)
    loaded.users += 1
    idle = [key for key, other in _games.items() if other.users == 0]
    for key in idle[: max(0, len(idle) - _MAX_IDLE_GAMES)]:
        _games.pop(key).close()
    return loaded


def release(game: GameInPlay) -> None:
    """Say that an episode of `game` is over; the game stays loaded until others need its place."""
    game.users -= 1
