"""A game file whose grammar contains code is refused before any of it runs."""

import json
import re
import tarfile
from pathlib import Path

import pytest
from alfworld_games import EVERYTHING, official_archive, worded, write_task

from sg_pipeline.environments.alfworld.compile import compile_games
from sg_pipeline.environments.alfworld.environment import AlfworldEnvironment
from sg_pipeline.environments.alfworld.gamefile import GameFile, read_game
from sg_pipeline.environments.alfworld.generation.problem import game_file
from sg_pipeline.environments.alfworld.grammar import command_forms, read_grammar
from sg_pipeline.errors import DataError


def test_every_official_grammar_is_harmless_and_has_the_same_commands(tmp_path: Path) -> None:
    ours = command_forms(read_game(tmp_path / worded(tmp_path, "2.1.1").path))
    with tarfile.open(official_archive()) as archive:
        for member in archive:
            if member.name.endswith("game.tw-pddl"):
                content = archive.extractfile(member)
                assert content is not None
                forms = command_forms(GameFile(Path(member.name), "", json.load(content)))
                assert set(forms) == set(ours) - {"help"}


PDDL = {"pddl_domain": "", "pddl_problem": ""}
HOSTILE = (
    *("__import__('os').system('true')", "exec('1')", "().__class__.__mro__", "o.__class__", "o.name.__class__"),
    *("o.synonyms", "self", "context", "json", "os.name", "open", "lambda: 0", "f'a'", "o.name * 9", "(o := o.name)"),
    *(
        "o.name if o else o",
        "o.name or exit()",
        r"'\\x7bo.__class__\\x7d'",
        "o.name +",
        "1",
        "not o",
        "o.name and open",
    ),
)


@pytest.mark.parametrize("expression", HOSTILE)
def test_grammar_expression_beyond_names_of_the_game_raises(expression: str) -> None:
    def game(text: str) -> GameFile:
        rules = f'{{"intro": [{{"condition": "holds(a:agent, o:object)", "rhs": "{{{text}}}"}}]}}'
        return GameFile(Path("x/game.tw-pddl"), "", {**PDDL, "grammar": f'grammar :: """{rules}""";'})

    assert read_grammar(game("o.indefinite + ' ' + o.name or o.id")).rules["intro"]
    with pytest.raises(DataError, match=r"file x/game\.tw-pddl does not load: .* holds the expression \{") as caught:
        read_grammar(game(expression))
    assert expression.replace("\\\\", "\\") in str(caught.value)


@pytest.mark.parametrize(
    ("place", "hostile"),
    [
        ('"rhs": "TODO"', '"rhs": "TODO {CODE}"'),
        ('"rhs": "Your task is to: ', '"rhs": "{CODE} Your task is to: '),
        ('"rhs": "You open the {r.name}.', '"rhs": "You open the [{CODE | openable(r:receptacle)}].'),
        ('"rhs": ", and "', '"rhs": "{CODE}"'),
        ('template :: "open {r}"', 'template :: "open {r}{CODE}"'),
        ('template :: "open {r}"', 'template :: "open [{CODE | openable(r:receptacle)}]"'),
        ('feedback :: "#OpenObject.feedback#"', 'feedback :: "{CODE}#OpenObject.feedback#"'),
        ('"rhs": "You sliced the {co.name}', '"rhs": "You sliced the {CODE}'),
    ],
)
def test_game_file_with_code_raises_before_it_runs(tmp_path: Path, place: str, hostile: str) -> None:
    marker = tmp_path / "executed"
    game = json.loads(game_file(EVERYTHING))
    assert place in game["grammar"]
    code = f"open('{marker}', 'w').close()"
    game["grammar"] = game["grammar"].replace(place, hostile.replace("CODE", code), 1)
    task = write_task(tmp_path, "hostile", "", json.dumps(game).encode())
    said = rf"{task.path} does not load: .* \{{{re.escape(code[:20])}"
    for engine in ("fast", "stock"):
        with pytest.raises(DataError, match=said):
            AlfworldEnvironment(tmp_path, engine=engine).reset(task, 0)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=said):
        compile_games({task.sha256: tmp_path / task.path}, tmp_path / "cache")
    assert not marker.exists()


def test_object_name_that_a_command_would_evaluate_raises(tmp_path: Path) -> None:
    game = json.loads(game_file(EVERYTHING))
    game["pddl_problem"] = game["pddl_problem"].replace("Apple_bar_", "Apple{agent1.__class__}_bar_")
    task = write_task(tmp_path, "hostile", "", json.dumps(game).encode())
    for engine in ("fast", "stock"):
        with pytest.raises(DataError, match=r"hostile/game\.tw-pddl does not load: .*'pddl_problem' holds a brace"):
            AlfworldEnvironment(tmp_path, engine=engine).reset(task, 0)  # type: ignore[arg-type]
