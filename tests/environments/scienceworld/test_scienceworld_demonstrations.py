"""Demonstrations: solved in the simulator, judged by it, recorded once, and readable by the tiny policy."""

from pathlib import Path

import pytest
from demonstrated import insistence
from scienceworld_worlds import FIND_ANIMAL

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.prompts import load_prompts
from sg_pipeline.environments.base import PanelTasks
from sg_pipeline.environments.scienceworld import demonstrations
from sg_pipeline.environments.scienceworld.benchmark import WORDS, ScienceWorldBenchmark, read_solutions
from sg_pipeline.environments.scienceworld.demonstrations import (
    Move,
    demonstrate,
    make_environment,
    make_plan,
    subgoal,
)
from sg_pipeline.environments.scienceworld.java import simulator_jar
from sg_pipeline.environments.scienceworld.make import SHORT_TASKS, solve, words_of_jar
from sg_pipeline.environments.scienceworld.panel import make_task, parse_path, read_panel
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.randomness import stream
from sg_pipeline.training.demonstrations import encode_demonstration
from sg_pipeline.trajectories.types import Polarity

MAX_TOKENS = 2048


@pytest.fixture(scope="module")
def environment():
    made = make_environment()
    yield made
    made.close()


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(ScienceWorldBenchmark().vocabulary())


@pytest.fixture
def demonstrator(tmp_path):
    made = ScienceWorldBenchmark().demonstrator(PanelTasks(panel="small"), tmp_path, tmp_path, tmp_path)
    yield made
    made.close()


def test_solutions_are_of_the_training_tasks_and_made_by_solve():
    solutions = read_solutions()
    assert set(solutions) == {task.path for task in read_panel("default", Path()).tasks()["train"]}
    assert solve("find-plant", 0) == solutions["find-plant/0"]


@pytest.mark.parametrize("task_type", SHORT_TASKS)
def test_every_kind_of_task_is_demonstrated_to_its_end(environment, tokenizer, task_type):
    paths = read_solutions()
    key = max(key for key in paths if key.startswith(f"{task_type}/"))
    task = make_task(*parse_path(key, key), "train")
    shown = demonstrate(environment, task, paths[key], stream(0, key), noise=0.0)
    assert shown.won
    assert shown.last_polarity is Polarity.POSITIVE
    assert not any(turn.is_noise for turn in shown.turns)
    format = AgentFormat(tokenizer, load_prompts("tiny"), guidance=True)
    assert len(encode_demonstration(shown, format, lambda _: 0).input_ids) < MAX_TOKENS / 4
    for turn in shown.turns:
        for text in (turn.observation, turn.guidance_text, turn.action):
            assert tokenizer.unk_token_id not in tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = tokenizer(turn.action, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == turn.action


def test_demonstrate_mistakes_are_judged_and_corrected(environment):
    solution = read_solutions()["find-animal/0"]
    shown = demonstrate(environment, FIND_ANIMAL, solution, stream(2, "noisy"), noise=0.5)
    assert shown.won
    mistakes = [number for number, turn in enumerate(shown.turns) if turn.is_noise]
    assert len(mistakes) >= 2
    verdicts = [*(turn.polarity for turn in shown.turns[1:]), shown.last_polarity]
    assert Polarity.NEGATIVE in [verdicts[number] for number in mistakes]
    assert Polarity.NEGATIVE not in [verdict for number, verdict in enumerate(verdicts) if number not in mistakes]
    assert insistence([shown]) < 0.1


def test_a_plan_knows_where_each_step_is_made():
    plan = make_plan(["teleport to outside", "focus on dove", "teleport to kitchen", "move dove to red box"], "hallway")
    assert plan == [Move("outside", "focus on dove"), Move("kitchen", "move dove to red box")]
    assert subgoal(plan, "hallway") == "search outside"
    assert subgoal(plan[1:], "outside") == "bring it to kitchen"
    assert subgoal(plan[1:], "kitchen") == "put dove in red box"


def test_demonstrator_reads_its_recordings(demonstrator, tmp_path, monkeypatch):
    played = [demonstrator.demonstrate(number, stream(3, number), 0.35 * (number % 2)) for number in range(4)]
    assert all(shown.won for shown in played)
    assert len({shown.turns[0].observation for shown in played}) > 1
    again = ScienceWorldBenchmark().demonstrator(PanelTasks(panel="small"), tmp_path, tmp_path, tmp_path)
    monkeypatch.setattr(demonstrations, "demonstrate", None)  # from here on, playing would fail
    # In another order: a demonstration depends on its arguments alone.
    for number in (3, 0, 2, 1):
        assert again.demonstrate(number, stream(3, number), 0.35 * (number % 2)) == played[number]
    again.close()


def test_demonstrate_damaged_recording_raises(demonstrator, tmp_path):
    demonstrator.demonstrate(0, stream(3, 0), 0.0)
    demonstrator._recordings.execute("UPDATE played SET demonstration = substr(demonstration, 1, 40)")
    with pytest.raises(DataError, match=r"cannot be read or written .*remove the file"):
        demonstrator.demonstrate(0, stream(3, 0), 0.0)


def test_demonstrator_panel_without_solutions_raises(tmp_path):
    with pytest.raises(ConfigurationError, match=r"'official' has no solved tasks"):
        ScienceWorldBenchmark().demonstrator(PanelTasks(panel="official"), tmp_path, tmp_path, tmp_path)


def test_the_committed_words_are_the_simulators():
    words = words_of_jar(simulator_jar())
    assert words == WORDS.read_text(encoding="utf-8").split()
