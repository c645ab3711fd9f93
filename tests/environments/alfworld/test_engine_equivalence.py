"""The fast engine shows what the stock engine shows, text for text."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from alfworld_games import extract_official, generated_task, walkthrough

from sg_pipeline.environments.alfworld.environment import AlfworldEnvironment
from sg_pipeline.environments.alfworld.official import find_official_games
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
    return Task(task.task_id, "alfworld", task.split, task.task_type, str(root / task.path), task.sha256)


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


@pytest.mark.parametrize(
    "task_type", ["pick_two_obj_and_place", "look_at_obj_in_light", "pick_heat_then_place_in_recep"]
)
def test_generated_games_random_walk_and_win(stock: AlfworldEnvironment, tmp_path: Path, task_type: str) -> None:
    task = generated_task(tmp_path, task_type)
    fast = AlfworldEnvironment(tmp_path, cache_dir=tmp_path / "cache", admissible=True)
    actions, shown = _random_walk(stock, _absolute(tmp_path, task), steps=40)
    assert _replay(fast, task, actions) == shown
    assert {step.valid for step in shown} == {True, False}

    winning = walkthrough(tmp_path, task)
    shown = _replay(stock, _absolute(tmp_path, task), winning)
    assert _replay(fast, task, winning) == shown
    assert [step.reward for step in shown] == [0.0] * len(winning) + [1.0]
    assert [step.won for step in shown] == [step.done for step in shown] == [False] * len(winning) + [True]


@pytest.fixture(scope="module")
def official_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("official")
    names = (
        "valid_seen/pick_and_place_simple-Book-None-SideTable-329/",
        "valid_seen/pick_clean_then_place_in_recep-",
        "valid_seen/look_at_obj_in_light-CD-None-DeskLamp-",
    )
    extract_official(root, lambda name: any(part in name for part in names))
    return root


def _smallest(root: Path, task_type: str) -> Task:
    tasks = [task for task in find_official_games(root)["valid_seen"] if task.task_type == task_type]
    return min(tasks, key=lambda task: ((root / task.path).stat().st_size, task.path))


def _search_and_win(stock: AlfworldEnvironment, task: Task, item: str, verbs: list[str]) -> list[str]:
    """Win by looking everywhere for an `item`, then doing what starts with each of `verbs`, wherever it is possible."""
    shown = stock.reset(task, seed=0)
    places = [command for command in shown.admissible or () if command.startswith("go to ")]
    actions: list[str] = []
    for beginning in [f"take {item} ", *verbs]:
        for place in places:
            for action in [place, place.replace("go to", "open"), beginning]:
                wanted = [command for command in shown.admissible or () if command.startswith(action)]
                if wanted:
                    actions.append(wanted[0])
                    shown = stock.step(wanted[0])
                if shown.done or (wanted and action == beginning):
                    break
            else:
                continue
            break
    assert shown.won, f"the test's own search lost {task.task_id}"
    return actions


def test_official_random_walk(stock: AlfworldEnvironment, official_root: Path, tmp_path: Path) -> None:
    fast = AlfworldEnvironment(official_root, cache_dir=tmp_path, admissible=True)
    for task_type in ["pick_and_place_simple", "pick_clean_then_place_in_recep"]:
        task = _smallest(official_root, task_type)
        actions, shown = _random_walk(stock, _absolute(official_root, task), steps=30)
        assert _replay(fast, task, actions) == shown


def test_official_win(stock: AlfworldEnvironment, official_root: Path, tmp_path: Path) -> None:
    task = _smallest(official_root, "look_at_obj_in_light")
    actions = _search_and_win(stock, _absolute(official_root, task), "cd", ["use desklamp 1"])
    shown = _replay(stock, _absolute(official_root, task), actions)
    assert shown[-1].reward == 1.0
    assert _replay(AlfworldEnvironment(official_root, cache_dir=tmp_path, admissible=True), task, actions) == shown


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


def test_admissible_only_when_asked_for(tmp_path: Path) -> None:
    task = generated_task(tmp_path, "pick_and_place_simple")
    for engine in ("fast", "stock"):
        silent = AlfworldEnvironment(tmp_path, engine=engine, admissible=False)
        shown = [silent.reset(task, seed=0), silent.step("look"), silent.step("LOOK"), silent.step(" inventory ")]
        assert [step.admissible for step in shown] == [None] * 4
        assert [step.valid for step in shown] == [True, True, False, True]
        silent.close()
