"""What identifies a state: turns that share it are compared, so it must not depend on how the state was reached."""

from sg_pipeline.environments.alfworld.benchmark import AlfworldBenchmark
from sg_pipeline.environments.base import Benchmark
from sg_pipeline.environments.scienceworld.benchmark import ScienceWorldBenchmark
from sg_pipeline.environments.webshop.benchmark import WebshopBenchmark
from sg_pipeline.trajectories.types import Polarity

ROOM = (
    "You are in the middle of a room. Looking quickly around you, you see a shelf 1, and a sinkbasin 1.\n\n"
    "Your task is to: put a clean mug in shelf."
)
SHELF = "You arrive at shelf 1. On the shelf 1, you see a mug 1, and a pen 1."
SINK = "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing."
TAKEN = "You pick up the mug 1 from the shelf 1."
NOTHING = "Nothing happens."


def test_a_benchmark_that_says_nothing_compares_observations():
    assert Benchmark().anchors(["a", "b", "a"], ["x", "y", "z"]) == ["a", "b", "a"]


def test_alfworld_an_impossible_command_changes_no_state():
    seen = AlfworldBenchmark().anchors(
        [ROOM, NOTHING, NOTHING, SHELF, NOTHING], ["take mug 1", "look", "go to shelf 1", "x", "y"]
    )
    assert seen[0] == seen[1] == seen[2]
    assert seen[3] == seen[4] != seen[0]


def test_alfworld_the_same_place_with_another_thing_in_the_hand_is_another_state():
    empty = AlfworldBenchmark().anchors([ROOM, SHELF, SINK], ["go to shelf 1", "go to sinkbasin 1", ""])
    held = AlfworldBenchmark().anchors(
        [ROOM, SHELF, TAKEN, SINK], ["go to shelf 1", "take mug 1 from shelf 1", "go to sinkbasin 1", ""]
    )
    straight = AlfworldBenchmark().anchors([ROOM, SINK], ["go to sinkbasin 1", ""])
    assert empty[2] == straight[1]  # having looked elsewhere does not matter
    assert held[3] != empty[2]


def test_alfworld_the_judge_sees_milestones_and_waste():
    verdicts = AlfworldBenchmark().verdicts(
        [ROOM, NOTHING, SHELF, TAKEN, SHELF],
        ["fly", "go to shelf 1", "take mug 1 from shelf 1", "go to shelf 1", ""],
        won=False,
    )
    assert verdicts == [Polarity.NEGATIVE, Polarity.POSITIVE, Polarity.POSITIVE, Polarity.NEGATIVE, Polarity.NEUTRAL]
    assert AlfworldBenchmark().verdicts([ROOM], ["x"], won=True) == [Polarity.POSITIVE]


def test_webshop_selected_options_are_part_of_the_state_until_the_next_search():
    page = "a lamp [button] red [button_]"
    seen = WebshopBenchmark().anchors(
        ["search", "results", page, page, page, "results"],
        ["search[lamp]", "click[b01]", "click[red]", "click[ghost", "search[lamp]", ""],
    )
    assert seen[3] != seen[2]
    assert seen[4] == seen[3]  # not understood
    assert seen[5] == seen[1]


def test_scienceworld_the_answer_is_no_part_of_the_state_but_a_question_is():
    first = "Your task is to boil water.\nThis room is called the hallway. In it, you see:\na door\nThings here: door."
    kitchen = (
        "You move to the kitchen.\nThis room is called the kitchen. In it, you see:\na pot\nThings here: pot, door."
    )
    seen = ScienceWorldBenchmark().anchors(
        [
            first,
            kitchen,
            "The pot is now open.\nThings here: pot, door.",
            "Ambiguous request: pot 0 or 1?\nThings here: pot, door.",
        ],
        ["go to kitchen", "open pot", "pick up pot", ""],
    )
    assert seen[1] == seen[2]
    assert len({seen[0], seen[1], seen[3]}) == 3
