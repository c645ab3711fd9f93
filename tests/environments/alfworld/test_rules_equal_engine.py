"""The plain Python model of the rules gives exactly the texts of the unmodified engine, in every scene."""

import re

import pytest
from alfworld_games import sampled

from sg_pipeline.environments.alfworld.environment import StockEngine
from sg_pipeline.environments.alfworld.expert import demonstrate
from sg_pipeline.environments.alfworld.gamefile import GAME_FILE_NAME, read_game
from sg_pipeline.environments.alfworld.generation.problem import game_file, walkthrough
from sg_pipeline.environments.alfworld.generation.sampler import pick
from sg_pipeline.environments.alfworld.generation.scene import Item, Receptacle, Scene
from sg_pipeline.environments.alfworld.rulebook import TASK_TYPES, Goal
from sg_pipeline.environments.alfworld.rules import RulesModel
from sg_pipeline.randomness import stream

BANNER = "-= Welcome to TextWorld, ALFRED! =-\n\n"
# Everything that an item's description can say, doors that stay shut, and what fits nowhere.
STATES = """
look | examine apple 1 | go to countertop 1 | look | use desklamp 1 | use desklamp 1 | examine desklamp 1
take desklamp 1 from countertop 1 | take butterknife 1 from countertop 1 | slice mug 1 with butterknife 1
go to fridge 1 | slice apple 2 with butterknife 1 | inventory | examine butterknife 1 | cool butterknife 1 with fridge 1
go to sinkbasin 1 | clean butterknife 1 with sinkbasin 1 | examine butterknife 1 | go to toaster 1
move butterknife 1 to toaster 1 | go to countertop 1 | move butterknife 1 to countertop 1
take apple 1 from countertop 1 | examine apple 1 | go to fridge 1 | cool apple 1 with fridge 1 | examine apple 1
move apple 1 to fridge 1 | go to microwave 1 | heat apple 1 with microwave 1 | examine apple 1
go to sinkbasin 1 | clean apple 1 with sinkbasin 1 | examine apple 1 | go to fridge 1 | cool apple 1 with fridge 1
examine apple 1 | go to microwave 1 | move apple 1 to microwave 1 | open microwave 1 | open microwave 1
move apple 1 to microwave 1 | examine microwave 1 | close microwave 1 | close microwave 1 | inventory | go to fridge 1
take apple 2 from fridge 1 | open fridge 1 | take apple 2 from fridge 1 | examine apple 2
cool apple 2 with fridge 1 | examine apple 2 | go to sinkbasin 1 | clean apple 2 with sinkbasin 1 | examine apple 2
go to microwave 1 | heat apple 2 with microwave 1 | examine apple 2 | open microwave 1 | move apple 2 to microwave 1
go to sinkbasin 1 | take mug 1 from sinkbasin 1 | clean mug 1 with sinkbasin 1 | examine mug 1 | go to sinkbasin 1
"""


@pytest.fixture
def twins(tmp_path):
    """Return what starts a scene on the real engine and on the model, side by side."""
    engine = StockEngine()

    def start(scene):
        path = tmp_path / GAME_FILE_NAME
        path.write_bytes(game_file(scene))
        model = RulesModel(scene)
        assert engine.start(read_game(path)).observation == BANNER + model.reset()
        assert engine.admissible_commands() == model.admissible_commands()

        def play(command):
            answer = engine.step(command)
            assert model.step(command) == answer, command
            assert model.admissible_commands() == engine.admissible_commands(), command
            return answer

        return model, play

    yield start
    engine.close()


def odd_command(model, rng):
    """Return a command that is possible, or nearly so: wrong case, extra words, spaces, other places, other things."""
    commands = model.admissible_commands()
    # The many ways to go somewhere would crowd out everything else.
    local = [command for command in commands if not command.startswith(("go to", "help"))]
    command = pick(rng, commands if rng.random() < 0.3 else local)
    item, other = (pick(rng, model.scene.items).name for _ in range(2))
    place = pick(rng, model.scene.receptacles).name
    odd = (
        *(f"  {command} ", command.upper(), command + " now", command.replace(" ", "  ", 1), "go to nowhere 1", ""),
        *(f"take {item} from {place}", f"move {item} to {place}", f"slice {item} with {other}", f"use {item}"),
        *(f"{verb} {item} with {place}" for verb in ("clean", "heat", "cool")),
        *(f"examine {item}", f"close {place}"),
    )
    return pick(rng, odd) if rng.random() < 0.4 else command


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_sampled_scenes_play_alike(twins, task_type):
    rng, scene = stream(7, "rules", task_type), sampled(task_type, 7)
    _, play = twins(scene)
    won = [play(command).won for command in walkthrough(scene)]
    assert won == [False] * (len(won) - 1) + [True]
    model, play = twins(scene)
    assert [play(turn.action) for turn in demonstrate(scene, rng, noise=0.2).turns][-1].won
    for _ in range(16):  # The game goes on after it is won.
        play(odd_command(model, rng))


def test_states_of_items_play_alike(twins):
    scene = Scene(
        floor_plan=1,
        receptacles=(
            Receptacle("countertop 1", "CounterTop", False),
            Receptacle("fridge 1", "Fridge", True),
            Receptacle("microwave 1", "Microwave", True),
            Receptacle("sinkbasin 1", "SinkBasin", False),
            Receptacle("toaster 1", "Toaster", False),
        ),
        items=(
            Item("apple 2", "Apple", "fridge 1"),
            Item("apple 1", "Apple", "countertop 1"),
            Item("butterknife 1", "ButterKnife", "countertop 1"),
            Item("desklamp 1", "DeskLamp", "countertop 1", portable=False),
            Item("mug 1", "Mug", "sinkbasin 1"),
        ),
        goal=Goal("pick_two_obj_and_place", "Apple", "Microwave"),
        task_text="put two apple in microwave.",
    )
    model, play = twins(scene)
    commands = re.split(r"\s*[|\n]\s*", STATES.strip())
    played = [play(command) for command in commands]
    assert [answer.won for answer in played].index(True) == len(played) - 6
    model.reset()
    assert [model.step(command) for command in commands] == played


def test_numbers_above_nine_keep_names_and_order(twins):
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
    _, play = twins(scene)
    for name in ("shelf 1", "shelf 2", "shelf 3", "shelf 10", "sinkbasin 1", "bathtubbasin 2"):
        play(f"go to {name}")
    for command in walkthrough(scene):
        answer = play(command)
    assert answer.won
