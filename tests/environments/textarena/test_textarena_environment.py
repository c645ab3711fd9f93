"""TextArena's games behind the protocol: rules and rewards are the library's, and every game can be replayed."""

import os
import random
import signal

import pytest

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.environments.textarena.environment import TextArenaEnvironment
from sg_pipeline.environments.textarena.games import FORMS
from sg_pipeline.errors import DataError
from sg_pipeline.trajectories.types import Task

pytest.importorskip("textarena")

LAKE = "FrozenLake-v0/0"  # holes at the end of the second row and in the middle of the last one
WAY = ["[down]", "[down]", "[right]", "[right]", "[right]", "[down]"]
PLAYED = {
    "2048-v0/1": ["[up]", "[left]", "[down]", "[right]"],
    "Bandit-v0/1": ["[red]", "[blue]", "[red]"],
    "Blackjack-v0/1": ["[hit]", "[stand]", "[hit]", "[stand]"],
    "Crosswords-v0/1": ["[0 0 a]", "[1 1 b]"],
    "FrozenLake-v0/1": ["[right]", "[down]", "[fly]", "[down]"],
    "GuessTheNumber-v0/1": ["[10]", "[3]", "[17]"],
    "LightsOut-v0/1": ["[0 0]", "[2 3]", "[9 9]"],
    "LogicPuzzle-v0/1": ["[alice home X]", "[bob park O]"],
    "Mastermind-v0/1": ["[1 2 3 4]", "[4 3 2 1]"],
    "Minesweeper-v0/1": ["[3 3]", "[0 0]", "[7 7]"],
    "RushHour-v0/1": ["[A+]", "[B-]", "[X+]"],
    "Secretary-v0/1": ["[continue]", "[continue]", "[accept]"],
    "Set-v0/1": ["[1, 2, 3]", "[4, 5, 6]"],
    "Sokoban-v0/1": ["[up]", "[left]", "[down]", "[right]"],
    "Sudoku-v0/1": ["[1 1 1]", "[5 5 5]"],
}


def task(path, sha256=""):
    return Task(path, "textarena", "train", path.partition("/")[0], path, sha256)


def play(path, actions, **arguments):
    """Play actions until the episode ends; return all answers."""
    environment = TextArenaEnvironment(**arguments)
    answers = [environment.reset(task(path), 0)]
    for action in actions:
        answers.append(environment.step(action))
        if answers[-1].done:
            break
    return answers


def test_reset_shows_the_rules_and_the_forms_of_the_commands():
    (start,) = play(LAKE, [])
    assert start.observation.startswith("Welcome to Frozen Lake!\n\nYou are represented by 'P' on the grid.")
    assert "\nCurrent Board:\n\n+-----+-----+-----+-----+\n|  P  |" in start.observation
    assert start.forms == ("[up]", "[down]", "[left]", "[right]")


def test_step_shows_only_what_is_new():
    start, second = play(LAKE, ["[down]"])
    assert second.observation.startswith("You moved down to position (1, 0).\nCurrent Board:")
    assert "Welcome" not in second.observation
    assert "[Player]" not in second.observation
    assert start.observation.count("Current Board") == second.observation.count("Current Board") == 1


def test_solved_game_has_the_full_reward():
    answers = play(LAKE, WAY)
    last = answers[-1]
    assert [answer.done for answer in answers] == [False] * 6 + [True]
    assert (last.reward, last.score, last.won, last.valid) == (1.0, 1.0, True, True)
    assert last.observation.endswith("Congratulations! You reached the goal!")
    assert sum(answer.reward for answer in answers) == 1.0
    assert play(LAKE, WAY, graded=False)[-1] == last


def test_lost_game_is_rewarded_for_progress_unless_graded_is_false():
    hole = ["down", *WAY[1:2], "[right]", "[down]"]  # a command without brackets is understood, as in the library
    lost = play(LAKE, hole)[-1]
    assert (lost.done, lost.won, lost.valid) == (True, False, True)
    assert lost.reward == lost.score == pytest.approx(4 / 6)
    assert "fell into a hole" in lost.observation
    assert play(LAKE, hole, graded=False)[-1].score == 0


def test_second_invalid_action_in_a_row_ends_the_game():
    answers = play(LAKE, ["[fly]", "[down]", "[left]", "nothing at all"])
    assert [answer.valid for answer in answers] == [True, False, True, False, False]
    assert "You attempted an invalid move. Reason: You tried to move left but hit a wall!" in answers[3].observation
    assert (answers[-1].done, answers[-1].won) == (True, False)


def test_step_without_an_episode_raises():
    environment = TextArenaEnvironment()
    with pytest.raises(RuntimeError, match="call reset first"):
        environment.step("[up]")
    environment.reset(task(LAKE), 0)
    for action in WAY:
        environment.step(action)
    with pytest.raises(RuntimeError, match="call reset first"):
        environment.step("[up]")


def test_full_progress_of_2048_is_not_a_solved_game():
    rng = random.Random(2)
    moves = [(rng.choice("abcd"), rng.choice(FORMS["2048"]))[1] for _ in range(100)]
    last = play("2048-v0-mega-easy/2", moves)[-1]
    assert (last.done, last.score, last.won, last.valid) == (True, 1.0, False, False)


@pytest.mark.parametrize("path", PLAYED)
@pytest.mark.parametrize("action", ["", "[²]", "[²,²,²]", "\ud800", "[" + "9" * 10_000 + "]", "[" * 5000, "[\x00]"])
def test_nonsense_is_an_invalid_action(path, action):
    answers = play(path, [action, action])
    assert [answer.valid for answer in answers] == [True, False, False]
    assert answers[-1].done


def test_every_playable_game_is_tested_here():
    assert {path.partition("-v")[0] for path in PLAYED} == set(FORMS)


@pytest.mark.parametrize("path", PLAYED)
def test_same_actions_give_the_same_answers_whatever_else_is_played(path):
    """Other episodes of the process, and draws from the module `random`, change nothing, and nothing there changes."""
    random.seed(1)
    alone = play(path, PLAYED[path])
    assert random.random() == random.Random(1).random()
    other, again = TextArenaEnvironment(), TextArenaEnvironment()
    other.reset(task("2048-v0/7"), 0)
    answers = [again.reset(task(path), 99)]
    for action, move in zip(PLAYED[path], ["[up]", "[left]", "[down]", "[right]"], strict=False):
        other.step(move)
        random.random()
        answers.append(again.step(action))
        if answers[-1].done:
            break
    assert answers == alone


def test_reset_checks_the_start_of_the_game():
    _, sha256 = TextArenaEnvironment().start("FrozenLake-v0", 0)
    TextArenaEnvironment().reset(task(LAKE, sha256), 0)
    with pytest.raises(DataError, match=r"starts differently in the installed textarena"):
        TextArenaEnvironment().reset(task("FrozenLake-v0/1", sha256), 0)


@pytest.mark.slow
def test_worker_that_dies_is_replaced_and_its_episodes_are_replayed():
    paths = ["2048-v0/1", "Blackjack-v0/1", "Bandit-v0/1", "Sokoban-v0/1", "Minesweeper-v0/1"]
    expected = [play(path, PLAYED[path]) for path in paths]
    with EnvironmentPool(EnvironmentSpec("textarena"), PoolConfig(workers=1)) as pool:
        answers = [[answer] for answer in pool.reset([task(path) for path in paths], range(5))]
        for turn in range(3):
            if turn == 2:
                os.kill(pool.pids()[0], signal.SIGKILL)
            rows = [row for row in range(5) if not answers[row][-1].done and turn < len(PLAYED[paths[row]])]
            actions = [PLAYED[paths[row]][turn] for row in rows]
            for row, answer in zip(rows, pool.step(rows, actions), strict=True):
                answers[row].append(answer)
        assert pool.counters.restarts == 1
        assert pool.counters.replays > 0
    assert answers == [whole[: len(seen)] for whole, seen in zip(expected, answers, strict=True)]
