"""Verdicts on single actions, in one kitchen and one bedroom written by hand."""

import re
from dataclasses import replace

import pytest
from alfworld_games import EVERYTHING

from sg_pipeline.environments.alfworld.generation.scene import Item, Receptacle, Scene
from sg_pipeline.environments.alfworld.memory import Memory
from sg_pipeline.environments.alfworld.progress import Progress
from sg_pipeline.environments.alfworld.rulebook import Goal
from sg_pipeline.environments.alfworld.rules import RulesModel
from sg_pipeline.errors import DataError

KITCHEN = Scene(
    floor_plan=1,
    receptacles=(
        Receptacle("cabinet 1", "Cabinet"),
        Receptacle("countertop 1", "CounterTop"),
        Receptacle("shelf 2", "Shelf"),
        Receptacle("shelf 1", "Shelf"),
        Receptacle("sinkbasin 1", "SinkBasin"),
    ),
    items=(
        Item("apple 1", "Apple", "countertop 1"),
        Item("mug 2", "Mug", "cabinet 1"),
        Item("mug 1", "Mug", "sinkbasin 1"),
    ),
    goal=Goal("pick_clean_then_place_in_recep", "Mug", "Shelf"),
    task_text="clean some mug and put it in shelf.",
)
TWO_MUGS = replace(
    KITCHEN, goal=Goal("pick_two_obj_and_place", "Mug", "Shelf"), task_text="find two mug and put them in shelf."
)
ONE_MUG = replace(
    KITCHEN,
    items=KITCHEN.items[:1] + KITCHEN.items[2:],
    goal=Goal("pick_and_place_simple", "Mug", "Cabinet"),
    task_text="put a mug in cabinet.",
)
COLD_APPLE = replace(
    EVERYTHING,
    goal=Goal("pick_cool_then_place_in_recep", "Apple", "CounterTop"),
    task_text="put a cool apple in countertop.",
)
BEDROOM = Scene(
    floor_plan=301,
    receptacles=(Receptacle("bed 1", "Bed"), Receptacle("desk 1", "Desk")),
    items=(Item("book 1", "Book", "bed 1"), Item("desklamp 1", "DeskLamp", "desk 1")),
    goal=Goal("look_at_obj_in_light", "Book", "DeskLamp"),
    task_text="examine the book with the desklamp.",
)


BY_DETOURS = """
    go to shelf 1: neutral | go to shelf 1: negative | look: negative | take mug 1 from shelf 1: negative
    go to countertop 1: neutral | go to shelf 1: negative | go to cabinet 1: neutral | open cabinet 1: positive
    close cabinet 1: negative | open cabinet 1: positive | go to countertop 1: negative
    take apple 1 from countertop 1: negative | move apple 1 to countertop 1: neutral | go to cabinet 1: neutral
    take mug 2 from cabinet 1: positive | go to shelf 2: negative | move mug 2 to shelf 2: negative
    take mug 2 from shelf 2: positive | go to sinkbasin 1: neutral | clean mug 2 with sinkbasin 1: positive
    clean mug 2 with sinkbasin 1: negative | inventory: negative | go to shelf 2: neutral
    move mug 2 to shelf 2: positive
"""
OPENING_THE_TARGET_IS_NO_MILESTONE = """
    go to sinkbasin 1: positive | take mug 1 from sinkbasin 1: positive | go to countertop 1: negative
    go to cabinet 1: neutral | open cabinet 1: neutral | move mug 1 to cabinet 1: positive
"""
TWO_BELONG_ON_ONE_SHELF = """
    go to sinkbasin 1: positive | take mug 1 from sinkbasin 1: positive | go to shelf 1: neutral
    move mug 1 to shelf 1: positive | go to cabinet 1: neutral | open cabinet 1: positive
    take mug 2 from cabinet 1: positive | go to shelf 2: neutral | move mug 2 to shelf 2: negative
    take mug 2 from shelf 2: positive | go to shelf 1: neutral | take mug 1 from shelf 1: negative
    move mug 2 to shelf 1: positive
"""
A_LAMP_COUNTS_WHEN_FOUND_AND_WHEN_LIT = """
    go to desk 1: positive | use desklamp 1: positive | use desklamp 1: negative | go to bed 1: positive
    take book 1 from bed 1: positive | go to desk 1: positive
"""


WARMING_WHAT_WAS_COOLED_SETS_BACK = """
    go to countertop 1: positive | take apple 1 from countertop 1: positive | go to fridge 1: neutral
    cool apple 1 with fridge 1: positive | go to microwave 1: negative | heat apple 1 with microwave 1: negative
    go to fridge 1: neutral | cool apple 1 with fridge 1: positive | go to countertop 1: neutral
    move apple 1 to countertop 1: positive
"""


@pytest.mark.parametrize(
    ("scene", "script"),
    [
        (KITCHEN, BY_DETOURS),
        (ONE_MUG, OPENING_THE_TARGET_IS_NO_MILESTONE),
        (TWO_MUGS, TWO_BELONG_ON_ONE_SHELF),
        (COLD_APPLE, WARMING_WHAT_WAS_COOLED_SETS_BACK),
        (BEDROOM, A_LAMP_COUNTS_WHEN_FOUND_AND_WHEN_LIT),
    ],
)
def test_every_action_gets_its_verdict(scene, script):
    expected = [line.split(": ") for line in re.split(r"\s*[|\n]\s*", script.strip())]
    model = RulesModel(scene)
    progress = Progress(model.reset())
    answers = [(command, model.step(command)) for command, _ in expected]
    verdicts = [[command, progress.judge(command, answer.observation, answer.won)] for command, answer in answers]
    assert verdicts == expected
    assert model.won()


def test_memory_unknown_task_sentence_raises():
    with pytest.raises(DataError, match="'Warm up some coffee'"):
        Memory("You are in the middle of a room.\n\nYour task is to: Warm up some coffee")
