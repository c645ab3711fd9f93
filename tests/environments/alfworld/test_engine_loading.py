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

ENGINES = ("fast", "stock")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return generated_task(tmp_path, "pick_and_place_simple")


def _changed(root: Path, task: Task, **fields: Any) -> Task:
    """Write the game again with other fields (None drops one)."""
    game = {**json.loads((root / task.path).read_bytes()), **fields}
    content = json.dumps({key: value for key, value in game.items() if value is not None}).encode()
    return write_task(root, "changed", task.task_type, content)


def _refused(root: Path, task: Task, engine: str = "fast") -> str:
    environment = AlfworldEnvironment(root, engine=engine)  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        environment.reset(task, seed=0)
    message = str(caught.value)
    assert str(root / task.path) in message
    assert "\n" not in message
    assert message.endswith(".")
    with pytest.raises(RuntimeError):
        environment.step("look")
    environment.close()
    return message


def test_reset_missing_file_raises(tmp_path: Path, task: Task) -> None:
    assert "No such file" in _refused(tmp_path, replace(task, path="nowhere/game.tw-pddl"))


def test_reset_other_file_than_the_panels_raises(tmp_path: Path, task: Task) -> None:
    message = _refused(tmp_path, replace(task, sha256="0" * 64))
    assert task.sha256 in message
    assert "0" * 64 in message


def test_reset_without_digest_does_not_check_it(tmp_path: Path, task: Task) -> None:
    assert AlfworldEnvironment(tmp_path).reset(replace(task, sha256=""), seed=0).observation


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_reset_file_without_json_object_raises(tmp_path: Path, content: bytes) -> None:
    message = _refused(tmp_path, write_task(tmp_path, "broken", "", content))
    assert "JSON" in message


def test_reset_truncated_file_raises(tmp_path: Path, task: Task) -> None:
    content = (tmp_path / task.path).read_bytes()
    assert "truncated" in _refused(tmp_path, write_task(tmp_path, "cut", "", content[: len(content) // 2]))


@pytest.mark.parametrize("field", ["pddl_domain", "grammar", "pddl_problem", "solvable"])
def test_reset_missing_field_raises(tmp_path: Path, task: Task, field: str) -> None:
    assert f"'{field}'" in _refused(tmp_path, _changed(tmp_path, task, **{field: None}))


def test_reset_unsolvable_game_raises(tmp_path: Path, task: Task) -> None:
    assert "'solvable' is False" in _refused(tmp_path, _changed(tmp_path, task, solvable=False))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("field", ["pddl_domain", "grammar", "pddl_problem"])
def test_reset_field_that_does_not_load_raises(tmp_path: Path, task: Task, engine: str, field: str) -> None:
    text = json.loads((tmp_path / task.path).read_bytes())[field]
    assert "does not load" in _refused(tmp_path, _changed(tmp_path, task, **{field: text[: len(text) // 2]}), engine)


def test_reset_goal_out_of_reach_raises(tmp_path: Path, task: Task) -> None:
    problem = json.loads((tmp_path / task.path).read_bytes())["pddl_problem"]
    start, goal = problem.split("(:goal")
    empty = re.sub(r"\(inReceptacle [^()]*\)", "", start)
    assert empty != start
    message = _refused(tmp_path, _changed(tmp_path, task, pddl_problem=f"{empty}(:goal{goal}"))
    assert "can never be reached" in message


def test_step_grammar_without_rule_raises(tmp_path: Path, task: Task) -> None:
    """The rule is missed when it is needed: in the middle of the episode."""
    grammar = json.loads((tmp_path / task.path).read_bytes())["grammar"]
    changed = _changed(tmp_path, task, grammar=grammar.replace('"GotoLocation.feedback"', '"Renamed.feedback"'))
    environment = AlfworldEnvironment(tmp_path, admissible=True)
    shown = environment.reset(changed, seed=0)
    command = next(command for command in shown.admissible or () if command.startswith("go to"))
    with pytest.raises(DataError, match=re.escape("GotoLocation.feedback")):
        environment.step(command)


@pytest.mark.parametrize("engine", ENGINES)
def test_first_observation_has_room_and_task_only(tmp_path: Path, task: Task, engine: str) -> None:
    environment = AlfworldEnvironment(tmp_path, engine=engine)  # type: ignore[arg-type]
    shown = environment.reset(task, seed=0)
    assert shown.observation.startswith("You are in the middle of a room. Looking quickly around you, you see ")
    assert "\n\nYour task is to: " in shown.observation
    assert (shown.reward, shown.done, shown.won, shown.valid) == (0.0, False, False, True)


@pytest.mark.parametrize("engine", ENGINES)
def test_step_without_episode_raises(tmp_path: Path, task: Task, engine: str) -> None:
    environment = AlfworldEnvironment(tmp_path, engine=engine)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError):
        environment.step("look")
    environment.reset(task, seed=0)
    shown = [environment.step(command) for command in walkthrough(tmp_path, task)]
    assert shown[-1].won
    with pytest.raises(RuntimeError):
        environment.step("look")
    assert not environment.reset(task, seed=0).won


@pytest.mark.parametrize("engine", ENGINES)
def test_loading_leaves_the_process_as_it_was(
    tmp_path: Path, task: Task, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, output = ["program", "--option"], io.StringIO()
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(sys, "stdout", output)
    AlfworldEnvironment(tmp_path, engine=engine).reset(task, seed=0)  # type: ignore[arg-type]
    assert sys.argv is arguments
    assert arguments == ["program", "--option"]
    assert sys.stdout is output
    assert output.getvalue() == ""


def test_environment_unknown_engine_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'fast' or 'stock', found 'slow'"):
        AlfworldEnvironment(tmp_path, engine="slow")  # type: ignore[arg-type]


def test_data_version_is_read_from_the_commands() -> None:
    action = 'action PutObject {{\n    template :: "{}";\n    feedback :: "#PutObject.feedback#";\n}}'
    assert data_version(action.format("put {o} in/on {r}")) == "2.1.1"
    assert data_version(action.format("move {o} to {r}")) == "2.1.2"
    assert data_version(action.format("place {o}")) == "unknown"
    assert data_version("") == "unknown"
