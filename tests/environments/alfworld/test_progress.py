"""Verdicts on single actions, in one kitchen and one bedroom written by hand."""

from dataclasses import replace

import pytest

from sg_pipeline.environments.alfworld.generation.scene import Item, Receptacle, Scene
from sg_pipeline.environments.alfworld.memory import Memory
from sg_pipeline.environments.alfworld.progress import Progress
from sg_pipeline.environments.alfworld.rulebook import Goal
from sg_pipeline.environments.alfworld.rules import RulesModel
from sg_pipeline.errors import DataError

KITCHEN = Scene(
    floor_plan=1,
    receptacles=(
        Receptacle("cabinet 1", "Cabinet", True),
        Receptacle("countertop 1", "CounterTop", False),
        Receptacle("shelf 2", "Shelf", False),
        Receptacle("shelf 1", "Shelf", False),
        Receptacle("sinkbasin 1", "SinkBasin", False),
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
BEDROOM = Scene(
    floor_plan=301,
    receptacles=(Receptacle("bed 1", "Bed", False), Receptacle("desk 1", "Desk", False)),
    items=(Item("book 1", "Book", "bed 1"), Item("desklamp 1", "DeskLamp", "desk 1", portable=False)),
    goal=Goal("look_at_obj_in_light", "Book", "DeskLamp"),
    task_text="examine the book with the desklamp.",
)


def verdicts(scene, script):
    """Play "command: expected verdict" lines and return (command, verdict, expected) of those that differ."""
    model = RulesModel(scene)
    progress = Progress(model.reset())
    wrong = []
    for line in script.strip().splitlines():
        command, expected = (part.strip() for part in line.split(":"))
        answer = model.step(command)
        verdict = progress.judge(command, answer.observation, answer.won)
        if verdict != expected:
            wrong.append((command, str(verdict), expected))
    return wrong


def test_a_clean_mug_comes_to_the_shelf_by_detours():
    script = """
        go to shelf 1: neutral
        go to shelf 1: negative
        look: negative
        take mug 1 from shelf 1: negative
        go to countertop 1: neutral
        go to shelf 1: negative
        go to cabinet 1: neutral
        open cabinet 1: positive
        close cabinet 1: negative
        open cabinet 1: positive
        go to countertop 1: negative
        take apple 1 from countertop 1: negative
        move apple 1 to countertop 1: neutral
        go to cabinet 1: neutral
        take mug 2 from cabinet 1: positive
        go to shelf 2: negative
        move mug 2 to shelf 2: negative
        take mug 2 from shelf 2: positive
        go to sinkbasin 1: neutral
        clean mug 2 with sinkbasin 1: positive
        clean mug 2 with sinkbasin 1: negative
        inventory: negative
        go to shelf 2: neutral
        move mug 2 to shelf 2: positive
        """
    assert verdicts(KITCHEN, script) == []


def test_opening_the_target_is_no_milestone():
    script = """
        go to sinkbasin 1: positive
        take mug 1 from sinkbasin 1: positive
        go to countertop 1: negative
        go to cabinet 1: neutral
        open cabinet 1: neutral
        move mug 1 to cabinet 1: positive
        """
    goal = Goal("pick_and_place_simple", "Mug", "Cabinet")
    items = KITCHEN.items[:1] + KITCHEN.items[2:]
    assert verdicts(replace(KITCHEN, goal=goal, items=items, task_text="put a mug in cabinet."), script) == []


def test_two_mugs_belong_on_one_shelf():
    script = """
        go to sinkbasin 1: positive
        take mug 1 from sinkbasin 1: positive
        go to shelf 1: neutral
        move mug 1 to shelf 1: positive
        go to cabinet 1: neutral
        open cabinet 1: positive
        take mug 2 from cabinet 1: positive
        go to shelf 2: neutral
        move mug 2 to shelf 2: negative
        take mug 2 from shelf 2: positive
        go to shelf 1: neutral
        take mug 1 from shelf 1: negative
        move mug 2 to shelf 1: positive
        """
    assert verdicts(TWO_MUGS, script) == []


def test_the_lamp_counts_when_found_and_when_lit():
    script = """
        go to desk 1: positive
        use desklamp 1: positive
        use desklamp 1: negative
        go to bed 1: positive
        take book 1 from bed 1: positive
        go to desk 1: positive
        """
    assert verdicts(BEDROOM, script) == []


def test_memory_unknown_task_sentence_raises():
    with pytest.raises(DataError, match="'Warm up some coffee'"):
        Memory("You are in the middle of a room.\n\nYour task is to: Warm up some coffee")


def test_memory_holds_what_was_read():
    memory = Memory(RulesModel(KITCHEN).reset())
    assert memory.receptacles == ("cabinet 1", "countertop 1", "shelf 2", "shelf 1", "sinkbasin 1")
    memory.read("go to cabinet 1", "You arrive at cabinet 1. The cabinet 1 is closed.")
    assert (memory.at, memory.closed, memory.searched) == ("cabinet 1", {"cabinet 1"}, set())
    memory.read("open cabinet 1", "You open the cabinet 1. The cabinet 1 is open. In it, you see a mug 2, and a mug 1.")
    assert (memory.where, memory.closed) == ({"mug 2": "cabinet 1", "mug 1": "cabinet 1"}, set())
    memory.read("take mug 2 from cabinet 1", "You pick up the mug 2 from the cabinet 1.")
    assert (memory.held, memory.where) == ("mug 2", {"mug 1": "cabinet 1"})
