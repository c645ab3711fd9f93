"""Generated games on the unmodified engine: names, places and order of the `Scene`, and they can be solved."""

import dataclasses
import json
from typing import Any

import pytest

from sg_pipeline.environments.alfworld.generation.floor_plans import floor_plans_of
from sg_pipeline.environments.alfworld.generation.problem import game_file, prove_all
from sg_pipeline.environments.alfworld.generation.sampler import Difficulty, sample_scene
from sg_pipeline.environments.alfworld.generation.scene import Goal, Item, Receptacle, Scene
from sg_pipeline.environments.alfworld.rulebook import TASK_TYPES
from sg_pipeline.errors import DataError
from sg_pipeline.randomness import stream


@pytest.fixture(scope="module")
def engine() -> Any:
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld.envs.pddl import PddlEnv

    return AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True)))


def _scene(task_type: str, difficulty: Difficulty, seed: int = 4) -> Scene:
    return sample_scene(stream(seed, task_type), floor_plans_of(task_type, unseen=False)[seed], task_type, difficulty)


def _listing(names: list[str]) -> str:
    things = [f"a {name}" for name in names]
    if not things:
        return "nothing"
    return things[0] if len(things) == 1 else ", ".join(things[:-1]) + f", and {things[-1]}"


def _check_every_place(engine: Any, scene: Scene) -> None:
    engine.load(json.loads(game_file(scene)))
    state = engine.reset()
    assert not state.won
    everything = _listing([receptacle.name for receptacle in scene.receptacles])
    assert f"you see {everything}.\n\nYour task is to: {scene.task_text}" in state.feedback
    for receptacle in scene.receptacles:
        inside = _listing([item.name for item in scene.items if item.receptacle == receptacle.name])
        state, _, _ = engine.step(f"go to {receptacle.name}")
        if receptacle.openable:
            assert state.feedback == f"You arrive at {receptacle.name}. The {receptacle.name} is closed."
            state, _, _ = engine.step(f"open {receptacle.name}")
            assert state.feedback.endswith(f"The {receptacle.name} is open. In it, you see {inside}.")
        else:
            assert state.feedback == f"You arrive at {receptacle.name}. On the {receptacle.name}, you see {inside}."
        takeable = {command for command in state.admissible_commands if command.startswith("take ")}
        assert takeable == {
            f"take {item.name} from {receptacle.name}"
            for item in scene.items
            if item.receptacle == receptacle.name and item.portable
        }


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_walkthrough_solves_on_the_engine(task_type: str) -> None:
    prove_all({"game": _scene(task_type, Difficulty())}, workers=1)


@pytest.mark.parametrize("task_type", ["pick_clean_then_place_in_recep", "look_at_obj_in_light"])
def test_engine_shows_what_the_scene_says(engine: Any, task_type: str) -> None:
    _check_every_place(engine, _scene(task_type, Difficulty(), seed=5))


def test_numbers_above_nine_keep_names_and_order(engine: Any) -> None:
    scene = Scene(
        floor_plan=1,
        receptacles=(
            *(Receptacle(f"bathtubbasin {n}", "BathtubBasin", openable=False) for n in (2, 1)),
            *(Receptacle(f"shelf {n}", "Shelf", openable=False) for n in range(11, 0, -1)),
            Receptacle("sinkbasin 1", "SinkBasin", openable=False),
        ),
        items=(
            *(Item(f"cloth {n}", "Cloth", f"shelf {1 + n // 6}") for n in range(12, 0, -1)),
            *(Item(f"pen {n}", "Pen", "shelf 10") for n in (2, 1)),
            Item("pencil 1", "Pencil", "shelf 10"),
        ),
        goal=Goal("pick_and_place_simple", "Cloth", "BathtubBasin"),
        task_text="put a cloth in bathtubbasin.",
    )
    _check_every_place(engine, scene)
    prove_all({"game": scene}, workers=1)


def test_prove_scene_in_another_order_raises() -> None:
    scene = _scene("pick_and_place_simple", Difficulty())
    turned = dataclasses.replace(scene, receptacles=scene.receptacles[::-1])
    with pytest.raises(DataError, match=r"The generated game train-0001 .* has the intro"):
        prove_all({"train-0000": scene, "train-0001": turned}, workers=1)


def test_prove_scene_that_starts_solved_raises() -> None:
    scene = _scene("pick_two_obj_and_place", Difficulty())
    target = next(receptacle.name for receptacle in scene.receptacles if receptacle.kind == scene.goal.target_kind)
    items = tuple(
        dataclasses.replace(item, receptacle=target) if item.kind == scene.goal.item_kind else item
        for item in scene.items
    )
    with pytest.raises(ValueError, match="to bring but"):
        prove_all({"game": dataclasses.replace(scene, items=items)}, workers=1)
