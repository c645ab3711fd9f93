"""The plain Python model of the rules gives exactly the texts of the unmodified engine."""

import re

import pytest

from sg_pipeline.environments.alfworld.environment import StockEngine
from sg_pipeline.environments.alfworld.expert import demonstrate
from sg_pipeline.environments.alfworld.gamefile import GAME_FILE_NAME, read_game
from sg_pipeline.environments.alfworld.generation.floor_plans import floor_plans_of
from sg_pipeline.environments.alfworld.generation.problem import game_file
from sg_pipeline.environments.alfworld.generation.sampler import Difficulty, sample_scene
from sg_pipeline.environments.alfworld.generation.scene import Goal, Item, Receptacle, Scene
from sg_pipeline.environments.alfworld.rulebook import TASK_TYPES
from sg_pipeline.environments.alfworld.rules import RulesModel
from sg_pipeline.randomness import stream

BANNER = "-= Welcome to TextWorld, ALFRED! =-\n\n"
STEPS = 32
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


@pytest.fixture(scope="module")
def engine():
    engine = StockEngine(admissible=True)
    yield engine
    engine.close()


class Twins:
    """The real engine and the model, side by side."""

    def __init__(self, engine, scene, folder):
        path = folder / GAME_FILE_NAME
        path.write_bytes(game_file(scene))
        self.engine, self.model = engine, RulesModel(scene)
        frame = engine.start(read_game(path))
        assert BANNER + self.model.reset() == frame.observation
        assert self.model.admissible_commands() == frame.admissible

    def play(self, command):
        frame, answer = self.engine.step(command), self.model.step(command)
        expected = (frame.observation, frame.won, frame.valid)
        assert tuple(answer) == expected, command
        assert self.model.admissible_commands() == frame.admissible, command
        return answer


def odd_command(model, rng):
    """Return a command that is possible, or nearly so: wrong case, extra words, spaces, other places, other things."""
    commands = model.admissible_commands()
    # The many ways to go somewhere would crowd out everything else.
    local = [command for command in commands if not command.startswith(("go to", "help"))]
    command = local[int(rng.integers(len(local)))]
    if rng.random() < 0.3:
        command = commands[int(rng.integers(len(commands)))]
    items, receptacles = model.scene.items, model.scene.receptacles
    item, other = (items[int(rng.integers(len(items)))].name for _ in range(2))
    place = receptacles[int(rng.integers(len(receptacles)))].name
    odd = (
        f"  {command} ",
        command.upper(),
        command + " now",
        command.replace(" ", "  ", 1),
        f"take {item} from {place}",
        f"move {item} to {place}",
        f"clean {item} with {place}",
        f"heat {item} with {place}",
        f"cool {item} with {place}",
        f"slice {item} with {other}",
        f"examine {item}",
        f"use {item}",
        f"close {place}",
        "go to nowhere 1",
        "",
    )
    return odd[int(rng.integers(len(odd)))] if rng.random() < 0.4 else command


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_sampled_scenes_play_alike(engine, tmp_path, task_type):
    rng = stream(7, "rules", task_type)
    plans = floor_plans_of(task_type, False)
    scene = sample_scene(rng, plans[int(rng.integers(len(plans)))], task_type, Difficulty())
    twins = Twins(engine, scene, tmp_path)
    demonstration = demonstrate(scene, rng, noise=0.2)
    answers = [twins.play(turn.action) for turn in demonstration.turns]
    assert answers[-1].won
    for _ in range(max(STEPS - len(answers), 10)):  # The game goes on after it is won.
        twins.play(odd_command(twins.model, rng))


def test_states_of_items_play_alike(engine, tmp_path):
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
    twins = Twins(engine, scene, tmp_path)
    won = [twins.play(command).won for command in re.split(r"\s*[|\n]\s*", STATES.strip())]
    assert won.index(True) == len(won) - 6


def test_reset_starts_again():
    rng = stream(7, "copy")
    task_type = "pick_heat_then_place_in_recep"
    scene = sample_scene(rng, floor_plans_of(task_type, False)[0], task_type, Difficulty())
    model, commands = RulesModel(scene), [turn.action for turn in demonstrate(scene, rng).turns]
    played = [[model.reset(), *(model.step(command) for command in commands)] for _ in range(2)]
    assert played[0][-1].won
    assert played[0] == played[1]
