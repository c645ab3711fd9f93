"""The fast engine shows what the stock engine shows, text for text."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alfworld_games import expert_walk, generated_task, official_tasks, walkthrough

from sg_pipeline.environments.alfworld.environment import AlfworldEnvironment
from sg_pipeline.environments.base import StepResult
from sg_pipeline.trajectories.types import Task

pytestmark = pytest.mark.slow

NONSENSE = ["", "xyzzy", "GO TO SHELF 1", "Look", "take mug 1 from moon 1", "go to loc 1", "look around", "help"]


@pytest.fixture(scope="module")
def stock() -> Iterator[AlfworldEnvironment]:
    environment = AlfworldEnvironment(Path("/"), engine="stock", admissible=True)
    yield environment
    environment.close()


def _absolute(root: Path, task: Task) -> Task:
    """The stock fixture serves all folders: it starts from `/`."""
    return replace(task, path=str(root / task.path))


def _random_walk(stock: AlfworldEnvironment, task: Task, steps: int) -> tuple[list[str], list[StepResult]]:
    """Play possible and impossible commands, preferring those that change the world."""
    rng = random.Random(task.sha256)
    shown = [stock.reset(task, seed=0)]
    actions: list[str] = []
    while len(actions) < steps and not shown[-1].done:
        possible = list(shown[-1].admissible or ())
        changing = [command for command in possible if not command.startswith(("go to", "look", "inv", "examine"))]
        chance = rng.random()
        if chance < 0.1:
            action = rng.choice([*NONSENSE, rng.choice(possible).upper(), rng.choice(possible)[:-1]])
        elif chance < 0.2:
            action = f"  {rng.choice(possible)}\t\n"
        else:
            action = rng.choice(changing if changing and chance < 0.7 else possible)
        actions.append(action)
        shown.append(stock.step(action))
    return actions, shown


def _replay(environment: AlfworldEnvironment, task: Task, actions: list[str]) -> list[StepResult]:
    return [environment.reset(task, seed=1), *(environment.step(action) for action in actions)]


def _check_alike(stock: AlfworldEnvironment, root: Path, task: Task, winning: list[str]) -> None:
    fast = AlfworldEnvironment(root, cache_dir=root / "cache", admissible=True)
    actions, shown = _random_walk(stock, _absolute(root, task), steps=40)
    assert _replay(fast, task, actions) == shown
    assert {step.valid for step in shown} == {True, False}
    shown = _replay(stock, _absolute(root, task), winning)
    assert _replay(fast, task, winning) == shown
    assert [step.reward for step in shown] == [0.0] * len(winning) + [1.0]
    assert [step.won for step in shown] == [step.done for step in shown] == [False] * len(winning) + [True]


@pytest.mark.parametrize(
    "task_type", ["pick_two_obj_and_place", "look_at_obj_in_light", "pick_heat_then_place_in_recep"]
)
def test_generated_games_random_walk_and_win(stock: AlfworldEnvironment, tmp_path: Path, task_type: str) -> None:
    task = generated_task(tmp_path, task_type)
    _check_alike(stock, tmp_path, task, walkthrough(tmp_path, task))


@pytest.mark.parametrize(
    "name",
    [
        "pick_and_place_simple-Book-None-SideTable-329/",
        "pick_clean_then_place_in_recep-",
        "look_at_obj_in_light-CD-None-DeskLamp-",
    ],
)
def test_official_games_random_walk_and_win(stock: AlfworldEnvironment, tmp_path: Path, name: str) -> None:
    task = official_tasks(tmp_path, name)[0]
    winning, shown = expert_walk(AlfworldEnvironment(tmp_path), task)
    assert all(step.valid for step in shown)
    _check_alike(stock, tmp_path, task, winning)


def test_episodes_of_one_game_do_not_affect_each_other(stock: AlfworldEnvironment, tmp_path: Path) -> None:
    first, second = (generated_task(tmp_path, kind) for kind in ("pick_and_place_simple", "pick_two_obj_and_place"))
    tasks = [first, first, second, first, second]
    scripts = []
    for number, task in enumerate(tasks):
        commands = walkthrough(tmp_path, task)
        scripts.append(["look"] * number + commands[: len(commands) - number] + ["inventory"] * number)
    environments = [AlfworldEnvironment(tmp_path, admissible=True) for _ in tasks]
    shown = [[environment.reset(task, seed=0)] for environment, task in zip(environments, tasks, strict=True)]
    for turn in range(max(map(len, scripts))):
        for environment, script, steps in zip(environments, scripts, shown, strict=True):
            if turn < len(script):
                steps.append(environment.step(script[turn]))
    for task, script, steps in zip(tasks, scripts, shown, strict=True):
        assert steps == _replay(stock, _absolute(tmp_path, task), script)
