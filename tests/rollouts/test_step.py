"""The tasks of a step, and dynamic sampling: groups without variance are replaced, reproducibly and within bounds."""

from collections.abc import Sequence

import pytest

from sg_pipeline.config.loader import section
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.rollouts.collect import Attempt
from sg_pipeline.rollouts.result import RolloutResult
from sg_pipeline.rollouts.step import choose_tasks, flat_groups, play_step
from sg_pipeline.trajectories.types import Segment, Task, Trajectory, Turn

PANEL = [Task(f"task-{i:02d}", "alfworld", "train", "pick", f"{i}", "0") for i in range(20)]


def episode(task: Task, group: int, item: int, reward: float) -> Trajectory:
    turn = Turn("you see", [1], [2], [-0.1], [int(Segment.ACTION)], None, None, False, "look", True, True, reward, True)
    return Trajectory(task, group, item, 0, (turn,), won=reward > 0, truncated=False, score=reward)


class Player:
    """Plays groups of two: one success and one failure, or two failures where the task is flat."""

    def __init__(self, flat: Sequence[str]) -> None:
        self.flat = set(flat)
        self.rounds: list[tuple[list[str], list[int]]] = []

    def __call__(self, attempts: list[Attempt]) -> RolloutResult:
        groups = {attempt.group: attempt.task.task_id for attempt in attempts}
        assert [(a.group, a.item) for a in attempts] == [(group, item) for group in groups for item in range(2)]
        self.rounds.append((list(groups.values()), list(groups)))
        episodes = [
            episode(a.task, a.group, a.item, float(a.item == 0 and a.task.task_id not in self.flat)) for a in attempts
        ]
        return RolloutResult(episodes, {"total_s": 1.0}, {"turns": len(episodes)})


def config(rounds: int) -> RolloutConfig:
    return section("rollout", tasks_per_step=4, group_size=2, dynamic_sampling=rounds)


def first_tasks() -> list[str]:
    return [task.task_id for task in choose_tasks(PANEL, 5, 0, 4)]


def test_play_step_without_dynamic_sampling_plays_once() -> None:
    player = Player(flat=first_tasks())
    result = play_step(player, PANEL, config(0), 5, 0)
    assert player.rounds == [(first_tasks(), [0, 1, 2, 3])]
    assert result.counters == {"turns": 8, "sampling_rounds": 1, "flat_groups": 4}


def test_play_step_flat_groups_are_replaced() -> None:
    flat = first_tasks()[1:3]
    player = Player(flat)
    result = play_step(player, PANEL, config(2), 5, 0)
    (_, _), (others, groups) = player.rounds
    assert groups == [4, 5]
    assert not set(others) & set(first_tasks())
    assert result.counters == {"turns": 12, "sampling_rounds": 2, "flat_groups": 2}
    assert result.timings == {"total_s": 2.0}
    # Flat groups stay on record.
    assert {t.task.task_id for t in result.trajectories} == {*first_tasks(), *others}


def test_play_step_ends_after_its_rounds_or_with_the_panel() -> None:
    everything = [task.task_id for task in PANEL]
    player = Player(everything)
    assert play_step(player, PANEL, config(2), 5, 0).counters["sampling_rounds"] == 3
    player = Player(everything)
    play_step(player, PANEL[:6], config(9), 5, 0)
    assert [len(tasks) for tasks, _ in player.rounds] == [4, 2]
    played = [task for tasks, _ in player.rounds for task in tasks]
    assert len(set(played)) == len(played)


def test_play_step_later_rounds_depend_only_on_seed_and_step() -> None:
    def others(seed: int, step: int, panel: list[Task] = PANEL) -> list[str]:
        player = Player([task.task_id for task in PANEL])
        play_step(player, panel, config(1), seed, step)
        return player.rounds[1][0]

    assert others(5, 0) == others(5, 0, PANEL[::-1])
    assert others(5, 0) != others(6, 0)
    assert others(5, 0) != others(5, 1)


@pytest.mark.parametrize(("rewards", "flat"), [([1, 1], 1), ([0, 0], 1), ([0, 1], 0), ([0.25, 0.5], 0)])
def test_flat_groups_have_equal_returns(rewards, flat) -> None:
    assert flat_groups([episode(PANEL[0], 3, item, reward) for item, reward in enumerate(rewards)]) == flat


def test_choose_tasks_epoch_has_no_task_twice_and_epochs_differ() -> None:
    epochs = [[t for step in range(6) for t in choose_tasks(PANEL, 5, 6 * epoch + step, 3)] for epoch in range(8)]
    assert all(len(set(epoch)) == 18 for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert {task for epoch in epochs for task in epoch} == set(PANEL)


def test_choose_tasks_depends_only_on_its_arguments() -> None:
    assert choose_tasks(PANEL, 5, 7, 4) == choose_tasks(PANEL[::-1], 5, 7, 4)
    assert choose_tasks(PANEL, 5, 7, 4) != choose_tasks(PANEL, 6, 7, 4)
    assert len(choose_tasks(PANEL, 5, 7, 20)) == 20


@pytest.mark.parametrize("number", [0, 21])
def test_choose_tasks_panel_too_small_raises(number: int) -> None:
    with pytest.raises(ConfigurationError, match=f"tasks_per_step is {number}, but the panel has 20"):
        choose_tasks(PANEL, 5, 0, number)
