"""Queries over facts and derivation of texts: textworld's rules over bit sets.

The facts that hold are one integer: bit i stands for fact i of the compiled game. Facts are numbered in the order
in which textworld sorts propositions, so walking through the bits gives its answers in its order.

A derivation expands the symbols that textworld parsed:

    ["text", words]            as it is
    ["rule", name]             the first alternative of a rule whose condition holds
    ["eval", expression]       a Python expression over the entities bound so far, "o.name"
    ["each", symbol, query]    the symbol once per answer of the query (once without a query)
    ["list", each]             the same with separators; a separate rule if it is empty
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

from sg_pipeline.environments.alfworld.compiled import CompiledGame, Symbol

Placeholder = tuple[str, str]
Mapping = dict[Placeholder, int]
"""Placeholder (name, type) -> number of the variable bound to it."""

_SEPARATORS = ("list_empty", "list_separator", "list_last_separator")


class _Predicate:
    """The facts of one predicate: the number of each, and those with certain arguments as bits."""

    def __init__(self, game: CompiledGame, members: range) -> None:
        self.numbers: dict[tuple[int, ...], int] = {}
        of_types: dict[tuple[str, ...], list[int]] = defaultdict(list)
        with_argument: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number in members:
            arguments = tuple(game.facts[number][1:])
            self.numbers[arguments] = number
            of_types[tuple([game.variables[argument][1] for argument in arguments])].append(number)
            for place in enumerate(arguments):
                with_argument[place].append(number)
        self.of_types = {types: _bits(numbers) for types, numbers in of_types.items()}
        self.with_argument = {place: _bits(numbers) for place, numbers in with_argument.items()}


class GameLogic:
    """Facts, queries and texts of one game: textworld's `PddlState` and grammar without their copies."""

    def __init__(self, game: CompiledGame) -> None:
        from textworld.generator.game import EntityInfo

        self._game = game
        self._infos: dict[str, Any] = {}
        for name, shown in game.entities.items():
            info = self._infos[name] = EntityInfo(name, "")
            info.name, info.definite, info.indefinite = shown, "the", "a"
        self._variables = {(name, kind): number for number, (name, kind) in enumerate(game.variables)}
        self._entities = [self._infos[name] for name, _ in game.variables]
        self._ranges: dict[str, range] = {}
        start = 0
        for name, count in Counter(fact[0] for fact in game.facts).items():
            self._ranges[name] = range(start, start + count)
            start += count
        self._predicates: dict[str, _Predicate] = {}  # Made when first asked for: most never are.
        self._queries = {
            text: [(name, [*map(tuple, placeholders)], [*map(tuple, matches)]) for name, placeholders, matches in parts]
            for text, parts in game.queries.items()
        }
        self._relevant: dict[str, int] = {}
        self.initial = _bits(game.initial)

    def variable(self, name: str, kind: str) -> int:
        """Return the number of an object seen as of a type; a new one where no fact has it so."""
        number = self._variables.setdefault((name, kind), len(self._entities))
        if number == len(self._entities):
            self._entities.append(self._infos[name])
        return number

    def bit(self, name: str, arguments: tuple[int, ...]) -> int:
        """Return the bit of a fact; 0 where no state can have it."""
        number = self._predicate(name).numbers.get(arguments)
        return 0 if number is None else 1 << number

    def relevant(self, start: str) -> int:
        """Return the bits of all facts on which the text derived from `start` can depend."""
        bits = self._relevant.get(start)
        if bits is None:
            bits = self._relevant[start] = self._facts_behind(self._game.starts[start], set())
        return bits

    def derive(self, start: str, mapping: Mapping, facts: int) -> str:
        """Return the text of `start`. Raises `LookupError` if a rule is missing or has no alternative that applies."""
        stack = [(symbol, mapping) for symbol in reversed(self._game.starts[start])]
        words: list[str] = []
        while stack:
            (kind, what, *query), mapping = stack.pop()
            if kind == "text":
                words.append(what)
            elif kind == "eval":
                entities = {name: self._entities[number] for (name, _), number in mapping.items()}
                words.append(str(eval(_code(what), {"__builtins__": {}}, entities)))
            elif kind == "rule":
                stack += [(part, mapping) for part in reversed(self._alternative(what, mapping, facts))]
            elif kind == "each":
                stack += [(what, answer) for answer in reversed(self._each(query[0], mapping, facts))]
            else:
                items = [(what[1], answer) for answer in self._each(what[2], mapping, facts)]
                stack += reversed(_separated(items, mapping))
        return "".join(words)

    def _alternative(self, name: str, mapping: Mapping, facts: int) -> list[Symbol]:
        for condition, symbols in self._game.rules.get(name, ()):
            if not condition or any(True for _ in self._answers(condition, mapping, facts)):
                return symbols
        raise LookupError(f"its grammar has no rule '#{name}#' that applies")

    def _each(self, query: str, mapping: Mapping, facts: int) -> list[Mapping]:
        return list(self._answers(query, mapping, facts)) if query else [mapping]

    def _facts_behind(self, symbols: list[Symbol], seen: set[str]) -> int:
        bits = 0
        for symbol in symbols:
            if symbol[0] == "each":
                bits |= self._facts_asked(symbol[2]) | self._facts_behind([symbol[1]], seen)
            elif symbol[0] == "list":
                bits |= self._facts_behind([symbol[1], *(["rule", name] for name in _SEPARATORS)], seen)
            elif symbol[0] == "rule" and symbol[1] not in seen:
                seen.add(symbol[1])
                for condition, alternative in self._game.rules.get(symbol[1], ()):
                    bits |= self._facts_asked(condition) | self._facts_behind(alternative, seen)
        return bits

    def _facts_asked(self, query: str) -> int:
        bits = 0
        for name, _, _ in self._queries[query] if query else ():
            members = self._ranges.get(name, range(0))
            bits |= (1 << members.stop) - (1 << members.start)
        return bits

    def _answers(self, query: str, mapping: Mapping, facts: int) -> Iterator[Mapping]:
        """Yield the mappings that extend `mapping` and make every predicate of a query hold, in textworld's order."""
        return self._extend(self._queries[query], 0, mapping, facts)

    def _extend(self, predicates: list[Any], depth: int, mapping: Mapping, facts: int) -> Iterator[Mapping]:
        if depth == len(predicates):
            yield mapping
            return
        name, placeholders, matches = predicates[depth]
        predicate = self._predicate(name)
        for types in matches:
            candidates = facts & predicate.of_types[types]
            for position, placeholder in enumerate(placeholders):
                bound = mapping.get(placeholder)
                if bound is not None:
                    candidates &= predicate.with_argument.get((position, bound), 0)
            while candidates:
                lowest = candidates & -candidates
                candidates ^= lowest
                extended = _bind(placeholders, self._game.facts[lowest.bit_length() - 1][1:], mapping)
                if extended is not None:
                    yield from self._extend(predicates, depth + 1, extended, facts)

    def _predicate(self, name: str) -> _Predicate:
        predicate = self._predicates.get(name)
        if predicate is None:
            predicate = self._predicates[name] = _Predicate(self._game, self._ranges.get(name, range(0)))
        return predicate


def _bits(numbers: list[int]) -> int:
    """Return the integer whose set bits are these, which are ascending."""
    bits, base = 0, numbers[0] if numbers else 0
    for number in numbers:
        bits |= 1 << (number - base)
    return bits << base


def _bind(placeholders: list[Placeholder], arguments: list[int], mapping: Mapping) -> Mapping | None:
    """Return `mapping` with the free placeholders bound; None where two of them would share a variable."""
    extended = dict(mapping)
    for placeholder, argument in zip(placeholders, arguments, strict=True):
        bound = extended.get(placeholder)
        if bound is None:
            if argument in extended.values():
                return None
            extended[placeholder] = argument
        elif bound != argument:
            return None
    return extended


def _separated(items: list[Any], mapping: Mapping) -> list[Any]:
    """Return list items with the grammar's separators between them (textworld's `display_list`)."""
    if not items:
        return [(["rule", "list_empty"], mapping)]
    joined = items[:1]
    for position, item in enumerate(items[1:], start=2):
        name = "list_last_separator" if position == len(items) else "list_separator"
        joined += [(["rule", name], mapping), item]
    return joined


@lru_cache(maxsize=1024)
def _code(expression: str) -> CodeType:
    return compile(expression.lstrip(" \t"), "<grammar>", "eval")
