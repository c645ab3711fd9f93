"""Errors for games that cannot be played; texts and state of the process stay clean."""

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alfworld_games import generated_task, walkthrough, write_task

from sg_pipeline.environments.alfworld.environment import AlfworldEnvironment
from sg_pipeline.environments.alfworld.gamefile import data_version
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.trajectories.types import Task


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return generated_task(tmp_path, "pick_and_place_simple")


@pytest.fixture(params=["fast", "stock"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    environment = AlfworldEnvironment(tmp_path, engine=request.param)
    yield environment
    environment.close()


def _changed(root: Path, task: Task, **fields: Any) -> Task:
    """Write the game again with other fields (None drops one)."""
    game = {**json.loads((root / task.path).read_bytes()), **fields}
    content = json.dumps({key: value for key, value in game.items() if value is not None}).encode()
    return write_task(root, "changed", task.task_type, content)


def _check_refused(environment: AlfworldEnvironment, task: Task, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        environment.reset(task, seed=0)
    assert task.path in str(caught.value)
    assert re.fullmatch(r"[^\n]*\.", str(caught.value))
    with pytest.raises(RuntimeError):
        environment.step("look")


def test_reset_other_file_than_the_panels_raises(tmp_path: Path, task: Task) -> None:
    environment = AlfworldEnvironment(tmp_path)
    assert environment.reset(replace(task, sha256=""), seed=0).observation
    _check_refused(environment, replace(task, path="nowhere/game.tw-pddl"), "No such file")
    _check_refused(environment, replace(task, sha256="0" * 64), f"{task.sha256}.*{'0' * 64}")


@pytest.mark.parametrize("content", [b"", b'{"pddl_domain"', b"\xff\xfe", b"[]", b"null"])
def test_reset_file_without_json_object_raises(tmp_path: Path, content: bytes) -> None:
    _check_refused(AlfworldEnvironment(tmp_path), write_task(tmp_path, "broken", "", content), "JSON")


def test_reset_game_that_is_not_playable_raises(tmp_path: Path, task: Task) -> None:
    environment = AlfworldEnvironment(tmp_path)
    for field in ("pddl_domain", "grammar", "pddl_problem", "solvable"):
        _check_refused(environment, _changed(tmp_path, task, **{field: None}), f"'{field}'")
    _check_refused(environment, _changed(tmp_path, task, solvable=False), "'solvable' is False")
    problem = json.loads((tmp_path / task.path).read_bytes())["pddl_problem"]
    start, goal = problem.split("(:goal")
    empty = re.sub(r"\(inReceptacle [^()]*\)", "", start)
    _check_refused(environment, _changed(tmp_path, task, pddl_problem=f"{empty}(:goal{goal}"), "can never be reached")


@pytest.mark.parametrize("field", ["pddl_domain", "grammar", "pddl_problem"])
def test_reset_field_that_does_not_load_raises(
    environment: AlfworldEnvironment, tmp_path: Path, task: Task, field: str
) -> None:
    text = json.loads((tmp_path / task.path).read_bytes())[field]
    _check_refused(environment, _changed(tmp_path, task, **{field: text[: len(text) // 2]}), "does not load")


def test_step_grammar_without_rule_raises(tmp_path: Path, task: Task) -> None:
    """The rule is missed when it is needed: in the middle of the episode."""
    grammar = json.loads((tmp_path / task.path).read_bytes())["grammar"]
    changed = _changed(tmp_path, task, grammar=grammar.replace('"GotoLocation.feedback"', '"Renamed.feedback"'))
    environment = AlfworldEnvironment(tmp_path)
    environment.reset(changed, seed=0)
    with pytest.raises(DataError, match=r"changed/game\.tw-pddl.*GotoLocation\.feedback"):
        environment.step(walkthrough(tmp_path, task)[0])


def test_episode_from_reset_to_goal(environment: AlfworldEnvironment, tmp_path: Path, task: Task) -> None:
    with pytest.raises(RuntimeError):
        environment.step("look")
    shown = environment.reset(task, seed=0)
    assert shown.observation.startswith("You are in the middle of a room. Looking quickly around you, you see ")
    assert "\n\nYour task is to: " in shown.observation
    assert (shown.reward, shown.done, shown.won, shown.valid, shown.admissible) == (0.0, False, False, True, None)
    for command in walkthrough(tmp_path, task):
        shown = environment.step(command)
    assert (shown.reward, shown.done, shown.won, shown.valid, shown.admissible) == (1.0, True, True, True, None)
    with pytest.raises(RuntimeError):
        environment.step("look")
    assert not environment.reset(task, seed=0).won


def test_loading_leaves_the_process_as_it_was(
    environment: AlfworldEnvironment, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, output = ["program", "--option"], io.StringIO()
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(sys, "stdout", output)
    environment.reset(task, seed=0)
    assert sys.argv is arguments
    assert arguments == ["program", "--option"]
    assert sys.stdout is output
    assert output.getvalue() == ""


def test_environment_unknown_engine_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'fast' or 'stock', found 'slow'"):
        AlfworldEnvironment(tmp_path, engine="slow")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "version"), [("put {o} in/on {r}", "2.1.1"), ("move {o} to {r}", "2.1.2"), ("place {o}", "unknown")]
)
def test_data_version_is_read_from_the_commands(form: str, version: str) -> None:
    assert data_version(f'action PutObject {{\n    template :: "{form}";\n    feedback :: "#f#";\n}}') == version
