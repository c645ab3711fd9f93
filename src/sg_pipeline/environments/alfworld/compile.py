"""Compiling games: textworld's own parsers and translator, run once per game instead of at every step.

What `PddlEnv.load` and `reset` derive from a game file is collected here into a `CompiledGame`: the planning task (one
translation; textworld makes a second one for its planner, which is not used here), the facts, the parsed grammar and
queries, and the names that alfworld's demangler gives to the objects.
"""

import gc
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sg_pipeline.environments.alfworld.compiled import CompiledGame, Symbol, load_cached, store_cached
from sg_pipeline.environments.alfworld.gamefile import GameFile, loading, read_game
from sg_pipeline.environments.alfworld.grammar import ParsedGrammar, nested, parse_symbols, read_grammar
from sg_pipeline.environments.alfworld.library import give_back_library, take_library
from sg_pipeline.errors import DataError, EnvironmentFailure
from sg_pipeline.progress_bar import ProgressBar

INTRO = "#intro#"

_SAS_VALUE = re.compile(r"^(?:Negated)?Atom .*$", re.MULTILINE)

# (name, arguments as (id, type)): a proposition of textworld without its class.
_Fact = tuple[str, tuple[tuple[str, str], ...]]


def compile_games(games: Mapping[str, Path], cache_dir: Path, workers: int = 1) -> int:
    """Compile games into the disk cache of the fast engine, so that no rollout waits for a translation.

    Games in the cache are left alone, damaged entries are replaced. What is written depends on the game's bytes and the
    library versions only, not on `workers`.

    Args:
        games: digest -> game file.
        cache_dir: created if missing.
        workers: processes to use; 1 works in this one.

    Returns:
        How many games were translated.

    Raises:
        DataError: a game does not load; the others are compiled all the same, and the first bad one is named.
        EnvironmentFailure: a worker process died.
    """
    todo = sorted((path, sha256, cache_dir) for sha256, path in games.items())
    translated, failures = 0, []
    with ProgressBar("compiling ALFWorld games, once for all runs", len(todo), "games") as bar:
        for outcome in in_processes(_compile_one, todo, workers):
            translated += outcome is True
            if isinstance(outcome, str):
                failures.append(outcome)
            bar.update()
    if failures:
        raise DataError(failures[0] if len(failures) == 1 else f"{failures[0][:-1]} ({len(failures)} games in all).")
    return translated


def in_processes(function: Callable[[Any], Any], items: Sequence[Any], workers: int) -> Iterator[Any]:
    """Yield the result for each item, from new processes unless one is enough. `EnvironmentFailure` if one dies."""
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(function, items, chunksize=4)
        except BrokenProcessPool as error:
            raise EnvironmentFailure(
                f"A process died while it worked on {len(items)} ALFWorld games; run it again, with fewer workers if "
                "memory is short."
            ) from error


def _compile_one(item: tuple[Path, str, Path]) -> bool | str:
    """Compile one game; return whether it was translated, or what is wrong with it."""
    path, sha256, cache_dir = item
    try:
        if load_cached(cache_dir, sha256) is not None:
            return False
        compile_game(read_game(path, sha256), cache_dir)
    except DataError as error:
        return str(error)
    return True


def compile_game(game: GameFile, cache_dir: Path | None) -> CompiledGame:
    """Return the compiled game, from the disk cache if possible. Errors as `translate` and `store_cached`."""
    compiled = load_cached(cache_dir, game.sha256) if cache_dir else None
    if compiled is None:
        compiled = translate(game)
        if cache_dir:
            store_cached(cache_dir, game.sha256, compiled)
    return compiled


def translate(game: GameFile) -> CompiledGame:
    """Translate and parse a game; 0.1 to 0.6 CPU seconds.

    Raises:
        DataError: the PDDL or the grammar does not load, or the goal can never be reached.
    """
    grammar = read_grammar(game)
    gc.disable()  # The translator makes millions of small objects that stay alive: collecting costs a fifth.
    try:
        with loading(game.path):
            import fast_downward

            task, sas = fast_downward.pddl2sas(game.data["pddl_domain"], game.data["pddl_problem"])
            if "Atom dummy(val1)" in sas:  # What the translator writes for a task without a solution.
                raise DataError(f"The game file {game.path} is not playable: its goal can never be reached.")
            return _compile(task, sas, grammar)
    finally:
        gc.enable()


def _compile(task: Any, sas: str, grammar: ParsedGrammar) -> CompiledGame:
    from textworld.envs.pddl.logic import Atom

    types = {item.name: item.type_name for item in task.objects}
    initial = set(_initial_facts(task, sas, types))
    possible = set(initial)
    values = sorted(set(_SAS_VALUE.findall(sas)))
    for value, atom in zip(values, (Atom * len(values))(), strict=True):
        atom._name = value.encode("cp1252")
        proposition = atom.get_fact(types)
        # An effect adds the one of the two and removes the other.
        possible |= {_as_fact(proposition), _as_fact(proposition.negate())}
    facts = sorted(possible)  # As textworld's propositions compare: by name, then by the arguments' (id, type).

    logic_actions, rules = grammar
    actions = {
        action.name: {
            # Those after the external ones were added by the translator; operators' names leave them out.
            "parameters": [
                [parameter.name.strip("?"), parameter.type_name]
                for parameter in action.parameters[: action.num_external_parameters]
            ],
            "template": logic_actions[action.name][0],
            "feedback": logic_actions[action.name][1],
        }
        for action in task.actions
        if action.name in logic_actions
    }
    texts: set[Any] = {INTRO, *(action[key] for action in actions.values() for key in ("template", "feedback"))}
    starts = {text: parse_symbols(text) for text in texts}
    variables = sorted({variable for _, arguments in facts for variable in arguments})
    index = {variable: number for number, variable in enumerate(variables)}
    signatures = {(name, tuple(kind for _, kind in arguments)) for name, arguments in facts}
    position = {fact: number for number, fact in enumerate(facts)}
    return CompiledGame(
        sas=sas.encode(),
        variables=[list(variable) for variable in variables],
        entities=_display_names(initial),
        actions=actions,
        facts=[[name, *(index[variable] for variable in arguments)] for name, arguments in facts],
        initial=sorted(position[fact] for fact in initial),
        rules=rules,
        starts=starts,
        queries=_queries(task, rules, starts, signatures),
    )


def _as_fact(proposition: Any) -> _Fact:
    return proposition.name, tuple((argument.name, argument.type) for argument in proposition.arguments)


def _initial_facts(task: Any, sas: str, types: dict[str, str]) -> Iterator[_Fact]:
    """Yield the facts at the start: the problem's `:init`, by the rules of `PddlState`, and derived ones."""
    from fast_downward.translate.pddl.conditions import Atom
    from fast_downward.translate.pddl.f_expression import Assign
    from textworld.envs.pddl.logic import Atom as Value

    for item in task.init:
        if isinstance(item, Atom) and item.predicate != "=":
            yield item.predicate, tuple((argument, types[argument]) for argument in item.args)
        elif isinstance(item, Assign) and item.fluent.symbol != "total-cost":
            name = str(item.expression.value)
            if not name.isdigit():  # Whole numbers are distances, which textworld leaves out.
                yield name, tuple((argument, types[argument]) for argument in item.fluent.args)
    library = take_library()  # It evaluates the axioms.
    library.load_sas(sas.encode())
    values = (Value * library.get_state_size())()
    library.get_state(values)
    propositions = [value.get_fact(types) for value in values]
    give_back_library(library)
    yield from (_as_fact(proposition) for proposition in propositions if not proposition.is_negation)


def _display_names(facts: Iterable[_Fact]) -> dict[str, str]:
    """Return the name that alfworld's demangler gives to each object that appears in a fact."""
    from alfworld.agents.utils.misc import Demangler
    from textworld.generator.game import EntityInfo

    infos = {name: EntityInfo(name, kind) for _, arguments in facts for name, kind in arguments}
    demangler = Demangler(game_infos=infos, shuffle=False)
    return {name: demangler.demangle_alfred_name(name) for name in infos}


def _queries(
    task: Any, rules: dict[str, list[list[Any]]], starts: dict[str, list[Symbol]], signatures: set[tuple[str, tuple]]
) -> dict[str, list[list[Any]]]:
    """Parse every query of the grammar and look up which kinds of facts each of its predicates can match."""
    from textworld.logic import Type, TypeHierarchy

    hierarchy = TypeHierarchy()
    for kind in task.types:
        with suppress(ValueError):  # A type that is declared twice counts once, as in `PddlState`.
            hierarchy.add(Type(kind.name, kind.supertype_names))
    texts = {condition for alternatives in rules.values() for condition, _ in alternatives if condition}
    for symbols in [*starts.values(), *(rhs for alternatives in rules.values() for _, rhs in alternatives)]:
        texts |= {symbol[2] for symbol in nested(symbols) if symbol[0] == "each" and symbol[2]}
    parsed: dict[str, list[list[Any]]] = {text: [] for text in texts}
    for text, predicates in parsed.items():
        for name, placeholders in _parse_query(text):
            wanted = [hierarchy.get(kind) for _, kind in placeholders]
            matches = [[kind.name for kind in kinds] for kinds in hierarchy.multi_subtypes(wanted)]
            kept = [kinds for kinds in matches if (name, tuple(kinds)) in signatures]
            predicates.append([name, placeholders, kept])
    return parsed


@lru_cache(maxsize=4096)
def _parse_query(text: str) -> list[tuple[str, list[list[str]]]]:
    from textworld.logic import Rule

    rule = Rule.parse_conjunctive_query(text)
    return [
        (predicate.name, [[placeholder.name, placeholder.type] for placeholder in predicate.parameters])
        for predicate in rule.preconditions
    ]
