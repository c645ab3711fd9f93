"""ScienceWorld behind the protocol: scores, endings, texts, bad input."""

import re
from dataclasses import replace

import pytest
from scienceworld_worlds import FIND_ANIMAL, SOLUTION, WANDERING, play

from sg_pipeline.agents.prompts import FORMS, load_prompts, warn_of_foreign_commands
from sg_pipeline.environments.scienceworld.environment import NOT_UNDERSTOOD, QUESTION, ScienceWorldEnvironment
from sg_pipeline.environments.scienceworld.jvm import World, shared_simulator
from sg_pipeline.environments.scienceworld.panel import make_task
from sg_pipeline.errors import DataError

PLAIN = {"show_actions": False, "show_objects": False}


@pytest.fixture
def environment():
    made = ScienceWorldEnvironment(**PLAIN)
    yield made
    made.close()


def test_a_solved_task_scores_one_and_its_rewards_sum_to_it(environment):
    results = play(environment, FIND_ANIMAL, SOLUTION)
    assert [result.done for result in results] == [False] * 5 + [True]
    assert results[-1].won
    assert results[-1].score == 1.0
    assert sum(result.reward for result in results) == pytest.approx(1.0)
    scores = [result.score for result in results]
    assert scores == sorted(scores)
    assert 0 < scores[2] < 1
    with pytest.raises(RuntimeError, match="call reset first"):
        environment.step("look around")


def test_environment_wrong_focus_loses_and_takes_back_rewards(environment):
    results = play(environment, FIND_ANIMAL, ["teleport to outside", "focus on axe", "look around"])
    assert len(results) == 3
    assert results[1].score > 0
    assert (results[-1].done, results[-1].won, results[-1].score) == (True, False, 0.0)
    assert sum(result.reward for result in results) == pytest.approx(0.0)


def test_the_first_observation_holds_task_room_actions_and_things():
    environment = ScienceWorldEnvironment()
    task, room, *_, actions, things = environment.reset(FIND_ANIMAL, 0).observation.split("\n")
    assert task.startswith("Your task is to find a(n) animal.")
    assert room.startswith("This room is called the hallway.")
    assert "focus on OBJ" in actions
    assert "teleport OBJ" in actions
    assert "reset" not in actions
    assert "door to kitchen" in things
    after = environment.step("teleport to outside").observation
    assert "This outside location is called the outside." in after
    assert "dove" in after.split("\n")[-1]
    assert environment.step("look at dove").observation.split("\n")[-1].startswith("Things here: agent, ")
    environment.close()


@pytest.mark.parametrize(
    ("name", "simplifications", "electrical", "teleports"),
    [("find-animal", "easy", False, True), ("power-component", "easy", True, True), ("find-animal", "", True, False)],
)
def test_forms_of_a_task_are_accepted_by_the_simulator(name, simplifications, electrical, teleports, caplog):
    environment = ScienceWorldEnvironment(simplifications=simplifications, **PLAIN)
    task = make_task(name, 0, "train")
    forms = environment.reset(task, 0).forms
    for form, listed in (("connect (thing) to (thing)", electrical), ("teleport (thing)", teleports)):
        assert (form in forms) == listed == environment.step(form.replace("(thing)", "agent")).valid
    # A focus may end the episode.
    for form in sorted(forms, key=lambda form: form.startswith("focus")):
        assert environment.step(form.replace("(thing)", "agent")).valid, form
    for method in ("self_guide", "react", "react_self_guide", "reflact", "reflexion"):
        prompts = load_prompts(method, "scienceworld")
        for system in filter(None, (prompts.guided, prompts.plain)):
            assert system.count(FORMS) == 1
            warn_of_foreign_commands(method, system, forms)
            for quoted in re.findall('as in "(.*?)" or "(.*?)"', system)[0]:
                assert any(re.fullmatch(re.escape(form).replace(r"\(thing\)", ".+"), quoted) for form in forms)
    assert caplog.messages == []
    environment.close()


def test_environment_question_is_answered_by_number_or_cancelled(environment):
    actions = ["teleport to kitchen", "open cupboard", "pick up cup", "1", "pick up cup", "nine", "wait1"]
    moved, opened, asked, answered, again, cancelled, after = play(environment, FIND_ANIMAL, actions)[1:]
    assert "In it, you see" in moved.observation
    assert opened.observation == "The cupboard is now open."  # the room is not shown again
    assert asked.observation.startswith(QUESTION)
    assert asked.valid
    assert answered.observation.startswith("You move the")
    assert again.observation.startswith(QUESTION)
    assert not cancelled.valid
    assert after.valid


@pytest.mark.parametrize(
    "action", ["dance", "", "Reset  Task", "pick up " * 1_250, "\x00\x1b[2J\x07", "\ud800", "漢字 😀 é"]
)
def test_step_invalid_action_changes_nothing(environment, action):
    environment.reset(FIND_ANIMAL, 0)
    result = environment.step(action)
    assert (result.valid, result.done, result.reward) == (False, False, 0.0)
    assert result.observation == NOT_UNDERSTOOD or result.observation.startswith("Unknown action")
    assert environment.step("teleport\tto \x00 kitchen\n").observation.startswith("You teleport to the kitchen.")


@pytest.mark.parametrize(
    ("changes", "simplifications", "said"),
    [
        ({"path": "find-unicorn/0"}, "easy", "Unknown task"),
        ({"path": "find-animal/300"}, "easy", "exceeds the total number of variations"),
        ({"path": "find-animal/-1"}, "easy", "NAME/NUMBER"),
        ({"sha256": "0" * 64}, "easy", "another ScienceWorld simulator"),
        ({}, "hard", "Unknown simplification label: hard"),
    ],
)
def test_environment_impossible_task_raises(changes, simplifications, said):
    environment = ScienceWorldEnvironment(simplifications=simplifications)
    with pytest.raises(DataError, match=said) as caught:
        environment.reset(replace(FIND_ANIMAL, **changes), 0)
    assert "\n" not in str(caught.value)
    environment.close()


def test_environments_of_one_process_do_not_affect_each_other():
    tasks = [FIND_ANIMAL, make_task("use-thermometer", 7, "train")]
    alone = ScienceWorldEnvironment()
    expected = [play(alone, task, WANDERING) for task in tasks]
    environments = [ScienceWorldEnvironment() for _ in tasks]
    seen = [[made.reset(task, 0)] for made, task in zip(environments, tasks, strict=True)]
    for action in WANDERING:
        for made, results in zip(environments, seen, strict=True):
            results.append(made.step(action))
    assert seen == expected
    for made in [alone, *environments]:
        made.close()


def test_visible_objects_draw_nothing_from_chance():
    world = World(shared_simulator())
    world.load("grow-plant", 0, "easy")
    world.act("teleport to kitchen")
    before = world.simulator.chance()
    assert "agent" in world.visible_objects()
    assert world.simulator.chance() == before
    world.close()
