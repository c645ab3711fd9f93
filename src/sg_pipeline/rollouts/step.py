"""A co-evolution step's rollout: its tasks, and with DAPO's dynamic sampling others in place of those without signal.

Source: DAPO (arXiv 2503.14476), section 3.2: a group whose episodes all succeed or all fail has no advantage, so the
batch that is trained on shrinks as the policy improves; other tasks are sampled until it is full. There the replacement
continues without a limit; here for `RolloutConfig.dynamic_sampling` rounds, each as large as what is still missing, so
that no round plays more than can be used. Groups without signal stay on record and are counted; `rewards.aggregate`
keeps them from the gradient.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.randomness import stream
from sg_pipeline.rollouts.collect import Attempt, attempts_at
from sg_pipeline.rollouts.result import RolloutResult, in_sequence
from sg_pipeline.trajectories.types import Task, Trajectory

_FLAT = 1e-9
"""Returns of R_env that differ by less are the same."""


def play_step(
    play: Callable[[list[Attempt]], RolloutResult], panel: Sequence[Task], config: RolloutConfig, seed: int, step: int
) -> RolloutResult:
    """Play the tasks of a co-evolution step, chosen from `panel` by seed and step, those of later rounds too.

    `play` plays one round (`Player.play`).

    Returns:
        All episodes of all rounds; groups are numbered consecutively. Timings and counters are sums, with the further
        counters "sampling_rounds" and "flat_groups" (groups without variance in R_env).
    """
    tasks = choose_tasks(panel, seed, step, config.tasks_per_step)
    others = sorted(set(panel) - set(tasks), key=lambda task: task.task_id)
    spare = [others[index] for index in stream(seed, "choose_tasks", "spare", step).permutation(len(others))]
    result = play(attempts_at(tasks, config.group_size))
    rounds, groups = 1, len(tasks)
    while rounds <= config.dynamic_sampling:
        missing = config.tasks_per_step - (groups - flat_groups(result.trajectories))
        tasks, spare = spare[:missing], spare[missing:]
        if missing <= 0 or not tasks:
            break
        result = in_sequence([result, play(attempts_at(tasks, config.group_size, first_group=groups))])
        rounds, groups = rounds + 1, groups + len(tasks)
    counters = {"sampling_rounds": rounds, "flat_groups": flat_groups(result.trajectories)}
    return replace(result, counters={**result.counters, **counters})


def choose_tasks(panel: Sequence[Task], seed: int, step: int, tasks_per_step: int) -> list[Task]:
    """Return the distinct tasks of `step`: the next ones of a shuffled panel, which is reshuffled in every epoch.

    No task comes twice in an epoch of `len(panel) // tasks_per_step` steps; the remainder, other tasks each time, is
    left out of that epoch. The result depends only on the arguments, and not on the order of `panel`.

    Raises:
        ConfigurationError: the panel has fewer tasks than a step needs.
    """
    if not 1 <= tasks_per_step <= len(panel):
        raise ConfigurationError(
            f"tasks_per_step is {tasks_per_step}, but the panel has {len(panel)} tasks: "
            "take a number between 1 and that, or a larger panel"
        )
    epoch, place = divmod(step, len(panel) // tasks_per_step)
    order = stream(seed, "choose_tasks", epoch).permutation(len(panel))
    tasks = sorted(panel, key=lambda task: task.task_id)
    return [tasks[index] for index in order[place * tasks_per_step : (place + 1) * tasks_per_step]]


def flat_groups(trajectories: Sequence[Trajectory]) -> int:
    """Count the groups whose episodes all have the same R_env."""
    returns: defaultdict[int, list[float]] = defaultdict(list)
    for trajectory in trajectories:
        returns[trajectory.group].append(sum(turn.reward for turn in trajectory.turns))
    return sum(max(values) - min(values) <= _FLAT for values in returns.values())
