"""The plain Python model of the rules gives exactly the texts of the unmodified engine, in every scene."""

import pytest
from alfworld_games import DOING_EVERYTHING, EVERYTHING, sampled

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
    assert [play(command) for command in walkthrough(scene)][-1].won
    model, play = twins(scene)
    assert [play(turn.action) for turn in demonstrate(scene, rng, noise=0.2).turns][-1].won
    for _ in range(16):  # The game goes on after it is won.
        play(odd_command(model, rng))


def test_states_of_items_play_alike(twins):
    model, play = twins(EVERYTHING)
    played = [play(command) for command in DOING_EVERYTHING]
    assert [answer.won for answer in played].index(True) == len(played) - 6
    model.reset()
    assert [model.step(command) for command in DOING_EVERYTHING] == played


def test_numbers_above_nine_keep_names_and_order(twins):
    scene = Scene(
        floor_plan=1,
        receptacles=(
            *(Receptacle(f"bathtubbasin {n}", "BathtubBasin") for n in (2, 1)),
            *(Receptacle(f"shelf {n}", "Shelf") for n in range(11, 0, -1)),
            Receptacle("sinkbasin 1", "SinkBasin"),
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
