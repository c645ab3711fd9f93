"""TextArena's tasks: seeds that start differently, in splits that share no start."""

import sys

import pytest
from pydantic import ValidationError

from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.environments.textarena.benchmark import TextArenaTasks
from sg_pipeline.environments.textarena.games import FORMS, check_game, family
from sg_pipeline.errors import ConfigurationError

pytest.importorskip("textarena")

SEEDS = {"train": 8, "valid_seen": 4, "valid_unseen": 4, "validation": 2}


def prepare(tmp_path, games, **more):
    config = TextArenaTasks(games=games, **{"seeds": SEEDS, **more})
    return load_benchmark("textarena").prepare(config, tmp_path, tmp_path, tmp_path)


def test_prepare_shares_no_start_between_tasks(tmp_path):
    panel = prepare(tmp_path, ["FrozenLake-v0", "GuessTheNumber-v0"])
    tasks = [task for split in panel["splits"].values() for task in split]
    assert {split: len(tasks) for split, tasks in panel["splits"].items()} == {
        split: 2 * count for split, count in SEEDS.items()
    }
    for key in ("task_id", "path", "sha256"):
        assert len({task[key] for task in tasks}) == len(tasks)
    assert [task["task_type"] for task in panel["splits"]["train"][:3]] == [
        "FrozenLake-v0", "GuessTheNumber-v0", "FrozenLake-v0",
    ]  # fmt: skip
    assert panel["splits"]["train"][0]["path"] == "FrozenLake-v0/0"
    assert prepare(tmp_path, ["FrozenLake-v0", "GuessTheNumber-v0"]) == panel
    assert not list(tmp_path.iterdir())


def test_prepare_limit_keeps_the_first_tasks_of_every_game(tmp_path):
    games = ["FrozenLake-v0", "LightsOut-v0"]
    whole, part = prepare(tmp_path, games), prepare(tmp_path, games, limit=2)
    for split, tasks in part["splits"].items():
        assert tasks == whole["splits"][split][:2]
        assert [task["task_type"] for task in tasks] == games


def test_prepare_unseen_games_are_played_in_valid_unseen_alone(tmp_path):
    panel = prepare(tmp_path, ["FrozenLake-v0"], unseen_games="FrozenLake-v0-hardcore+LightsOut-v0")
    played = {split: {task["task_type"] for task in tasks} for split, tasks in panel["splits"].items()}
    assert played.pop("valid_unseen") == {"FrozenLake-v0-hardcore", "LightsOut-v0"}
    assert set(map(tuple, played.values())) == {("FrozenLake-v0",)}


def test_prepare_more_tasks_than_starts_raises(tmp_path):
    with pytest.raises(ConfigurationError, match=r"more tasks of GuessTheNumber-v0 than the 20 different starts"):
        prepare(tmp_path, ["GuessTheNumber-v0"], seeds={**SEEDS, "train": 11})
    assert prepare(tmp_path, ["GuessTheNumber-v0"], seeds={**SEEDS, "train": 10})


@pytest.mark.parametrize(
    ("game", "message"),
    [
        ("FrozenLak-v0", "textarena has no game 'FrozenLak-v0', did you mean 'FrozenLake-v0'?"),
        ("sokoban", "did you mean 'Sokoban-v0'?"),
        ("TicTacToe-v0", "'TicTacToe-v0' is not a game for one player; those are 2048, Bandit, Blackjack,"),
        ("Wordle-v0", "'Wordle-v0' cannot be played here, because it downloads word lists"),
        ("TwentyQuestions-v0", "because a language model of OpenRouter answers"),
        ("TowerOfHanoi-v0-hard", "because it starts the same way for every seed"),
        ("FifteenPuzzle-v0", "because textarena 0.7.4 raises an error when it is solved"),
    ],
)
def test_game_that_cannot_be_played_raises(tmp_path, game, message):
    with pytest.raises(ConfigurationError) as caught:
        prepare(tmp_path, [game])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_variant_of_a_playable_family_can_be_named():
    from textarena.envs.registration import ENV_REGISTRY

    variants = [name for name in ENV_REGISTRY if family(name) in FORMS]
    assert {family(name) for name in variants} == set(FORMS)
    for name in variants:
        check_game(name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"games": []}, "at least 1 item"),
        ({"games": "FrozenLake-v0+FrozenLake-v0"}, "name each game once"),
        ({"games": ["Set-v0"], "unseen_games": ["Set-v0"]}, "name each game once"),
        ({"games": ["Set-v0"], "seeds": {"train": 0}}, "greater than or equal to 1"),
        ({"games": ["Set-v0"], "seeds": {"dev": 3}}, "valid_unseen"),
    ],
)
def test_tasks_bad_values_raise(values, message):
    with pytest.raises(ValidationError, match=message):
        TextArenaTasks.model_validate({"seeds": SEEDS, **values})


def test_missing_extra_is_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "textarena", None)
    with pytest.raises(ConfigurationError, match=r"textarena is missing; install the extra 'textarena'"):
        prepare(tmp_path, ["FrozenLake-v0"])


def test_anchors_are_boards_or_what_happened_since():
    board = "Current Board:\n\n|  P  |     |"
    seen = load_benchmark("textarena").anchors(
        [f"Rules\n{board}", f"You moved up.\n{board}", "You attempted an invalid move."], ["[up]", "[fly]", "[up]"]
    )
    assert seen[0] == seen[1] == board
    assert seen[2] != board
    hints = ["Rules", "The target number is lower."]
    five, six = (load_benchmark("textarena").anchors(hints, [guess, ""]) for guess in ("[5]", "[6]"))
    assert five[0] == six[0]
    assert five[1] != six[1]
