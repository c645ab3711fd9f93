"""A game's grammar: its rules, the forms of its commands, and the check that it contains no code.

textworld evaluates the expressions of a grammar (`{o.indefinite + ' ' + o.name}`) as Python, so a game file from an
unknown source is a program. Official grammars only name things of the game; anything beyond that is refused before
anything of the file is evaluated.
"""

import ast
import builtins
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from sg_pipeline.environments.alfworld.compiled import Symbol
from sg_pipeline.environments.alfworld.gamefile import GameFile, loading

# The one rule of the grammar that differs from game to game.
_TASK_RULE = re.compile(r'("task"\s*:\s*\[\s*\{\s*"rhs"\s*:\s*)("(?:[^"\\\n]|\\.)*")')

# Everything that official expressions consist of: "r.name", "o", "o.indefinite + ' ' + o.name", "r.name or r.id".
_NODES = (ast.Expression, ast.Name, ast.Attribute, ast.Load, ast.Constant, ast.BinOp, ast.Add, ast.BoolOp, ast.Or)
_ATTRIBUTES = ("name", "id", "indefinite", "definite")

_PLACEHOLDER = re.compile(r"(\w+)\s*:")
# In a template: `{o}`, or `[{r.name | receptacleatlocation(r:receptacle, lend:location)}]`.
_SLOT = re.compile(r"\[?\{\s*(\w+)[^{}]*\}\]?")
_COMMENT = re.compile(r";[^\n]*")
_ACTION = re.compile(r"\(\s*:action\s+([^\s()]+)(?:\s*:parameters\s*\(([^()]*)\))?")
_TYPED = re.compile(r"((?:\?\S+\s+)+)-\s+(\S+)")  # "?a ?b - object"


class ParsedGrammar(NamedTuple):
    """A parsed grammar."""

    actions: dict[str, tuple[str, str]]
    """Per action, in lower case, its command's template and its feedback rule."""
    rules: dict[str, list[list[Any]]]
    """Per name its alternatives as [condition, symbols]; see `fast_logic` for symbols."""


def read_grammar(game: GameFile) -> ParsedGrammar:
    """Parse the grammar of a game, evaluating nothing.

    Raises:
        DataError: it does not parse, or an expression of it, or a name in the PDDL, does more than name things.
    """
    with loading(game.path):
        for field in ("pddl_domain", "pddl_problem"):
            if "{" in game.data[field]:
                raise ValueError(f"its field '{field}' holds a brace, which would be evaluated in commands")
        return _parse(game.data["grammar"])


def command_forms(game: GameFile) -> tuple[str, ...]:
    """Return the forms of a game's commands, "take (object) from (receptacle)", in the order of its grammar.

    The words are the grammar's; a slot is named after its type in the PDDL domain. An action that is not in the domain
    has no form. Raises `DataError` as `read_grammar` does.
    """
    domain = _domain_actions(game.data["pddl_domain"])
    actions = read_grammar(game).actions.items()
    return tuple(dict.fromkeys(_form(template, domain[name]) for name, (template, _) in actions if name in domain))


def nested(symbols: Iterable[Symbol]) -> Iterator[Symbol]:
    """Yield symbols and the symbols inside them."""
    for symbol in symbols:
        yield symbol
        if symbol[0] in ("list", "each"):
            yield from nested([symbol[1]])


@lru_cache(maxsize=4096)
def parse_symbols(text: str) -> list[Symbol]:
    """Return the symbols of a grammar text, parsed by textworld; see `fast_logic` for their kinds."""
    from textworld.envs.pddl import textgen

    return [_plain(symbol) for symbol in textgen._parse_and_convert(text, rule_name="symbols")]


def _parse(text: str) -> ParsedGrammar:
    """Parse and check a grammar.

    Parsing takes 0.1 s and the games of a panel differ in one rule only, so the rest is parsed once per process.
    """
    found = _TASK_RULE.findall(text)
    if len(found) != 1:
        return _parse_whole(text)[0]
    grammar, own = _parse_whole(_TASK_RULE.sub(r'\1"UNKNOWN GOAL"', text))
    task = parse_symbols(json.loads(found[0][1]))
    _check(task, own)
    return grammar._replace(rules={**grammar.rules, "task": [["", task]]})


@lru_cache(maxsize=8)
def _parse_whole(text: str) -> tuple[ParsedGrammar, frozenset[str]]:
    """Return a checked grammar and the names of its placeholders."""
    from textworld.envs.pddl.logic import GameLogic

    logic = GameLogic(domain="", grammar=text)
    actions = {name: (action.template, action.feedback_rule) for name, action in logic.actions.items()}
    rules = {
        name: [[rule.condition, [_plain(symbol) for symbol in rule.rhs]] for rule in alternatives]
        for name, alternatives in logic.grammar._rules.items()
    }
    alternatives = [alternative for found in rules.values() for alternative in found]
    templates = [symbol for template, _ in actions.values() for symbol in nested(parse_symbols(template))]
    symbols = [symbol for _, feedback in actions.values() for symbol in nested(parse_symbols(feedback))]
    symbols += [*templates, *nested(symbol for _, ruled in alternatives for symbol in ruled)]
    queries = [*(condition for condition, _ in alternatives), *(symbol[2] for symbol in symbols if symbol[0] == "each")]
    own = {name for query in queries for name in _PLACEHOLDER.findall(query)}
    # A template's own slots, `{o}`, are the action's parameters.
    own |= {symbol[1].strip() for symbol in templates if symbol[0] == "eval"} - set(dir(builtins))
    _check(symbols, frozenset(own))
    return ParsedGrammar(actions, rules), frozenset(own)


def _plain(symbol: Any) -> Symbol:
    """Return a textworld symbol as a list."""
    from textworld.envs.pddl import textgen

    if isinstance(symbol, textgen.ListSymbol):
        return ["list", _plain(symbol.symbol)]
    if isinstance(symbol, textgen.ConditionalSymbol):
        return ["each", _plain(symbol.expression), symbol.given or ""]
    if isinstance(symbol, textgen.EvalSymbol):
        return ["eval", symbol.expression]
    if isinstance(symbol, textgen.NonterminalSymbol):
        return ["rule", symbol.symbol]
    return ["text", symbol.symbol]


def _check(symbols: Iterable[Symbol], own: frozenset[str]) -> None:
    """Refuse expressions other than names of `own` placeholders, their texts, and texts between them."""
    for symbol in nested(symbols):
        if symbol[0] == "eval" and not _is_harmless(symbol[1], own):
            raise ValueError(
                f"its grammar holds the expression {{{symbol[1][:80]}}}, but may only name things of the game, "
                "as in {o.name}"
            )


def _is_harmless(expression: str, own: frozenset[str]) -> bool:
    try:
        tree = ast.parse(expression.lstrip(" \t"), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            harmless = node.id in own
        elif isinstance(node, ast.Attribute):
            harmless = isinstance(node.value, ast.Name) and node.attr in _ATTRIBUTES
        elif isinstance(node, ast.Constant):
            # A command goes through `str.format` once more: braces would be evaluated there.
            harmless = isinstance(node.value, str) and not set("{}") & set(node.value)
        else:
            harmless = isinstance(node, _NODES)
        if not harmless:
            return False
    return True


@lru_cache(maxsize=8)
def _domain_actions(domain: str) -> dict[str, dict[str, str]]:
    """Return the types of the parameters, by name, of each action of a PDDL domain; all in lower case."""
    return {
        name: {word[1:]: kind for words, kind in _TYPED.findall(parameters) for word in words.split()}
        for name, parameters in _ACTION.findall(_COMMENT.sub("", domain).lower())
    }


def _form(template: str, types: dict[str, str]) -> str:
    def slot(found: re.Match[str]) -> str:
        name = found[1]
        declared = re.search(rf"\b{name}\s*:\s*(\w+)", found[0])
        return f"({types.get(name) or (declared[1] if declared else name)})"

    return _SLOT.sub(slot, template)
