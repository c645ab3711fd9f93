"""A step's rollout: its groups, and with DAPO's dynamic sampling others in place of those that teach nothing.

Source: DAPO (arXiv 2503.14476), section 3.2: a group whose episodes all win or all lose has no advantage, so the batch
that is trained on shrinks as the policy improves; other tasks are sampled until it is full. There the replacement
goes on without end; here for `RolloutConfig.dynamic_sampling` rounds, each as large as what is still missing, so that
no round plays more than can be used. What was played in vain stays on record and is counted: `rewards.aggregate`
keeps it from the gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.randomness import stream
from sg_pipeline.rollouts.choose import choose_tasks
from sg_pipeline.rollouts.collect import RolloutResult
from sg_pipeline.rollouts.waves import together
from sg_pipeline.trajectories.types import Task, Trajectory

Play = Callable[[list[Task], Sequence[int]], RolloutResult]
"""(tasks, index of each one's group) -> their episodes."""

_FLAT = 1e-9
"""Returns of R_env that differ by less are the same."""


def play_step(play: Play, panel: Sequence[Task], config: RolloutConfig, seed: int, step: int) -> RolloutResult:
    """Play the tasks of a co-evolution step.

    Args:
        play: plays one batch of groups.
        panel: the tasks to choose from.
        config: groups in a step, and how many rounds of replacement there may be.
        seed: the run's seed.
        step: the step's index; with the seed it names the tasks, those of later rounds too.

    Returns:
        All episodes of all rounds; groups are numbered through. Timings and counters are sums, with the further
        counters "sampling_rounds" and "flat_groups" (groups without variance in R_env).
    """
    tasks = choose_tasks(panel, seed, step, config.tasks_per_step)
    spare = _others(panel, tasks, seed, step)
    result = play(tasks, range(len(tasks)))
    rounds, groups = 1, len(tasks)
    while rounds <= config.dynamic_sampling:
        missing = config.tasks_per_step - (groups - flat_groups(result.trajectories))
        tasks, spare = spare[:missing], spare[missing:]
        if missing <= 0 or not tasks:
            break
        result = together([result, play(tasks, range(groups, groups + len(tasks)))])
        rounds, groups = rounds + 1, groups + len(tasks)
    counters = {"sampling_rounds": rounds, "flat_groups": flat_groups(result.trajectories)}
    return replace(result, counters={**result.counters, **counters})


def flat_groups(trajectories: Sequence[Trajectory]) -> int:
    """Count the groups whose episodes all have the same R_env."""
    returns: dict[int, list[float]] = {}
    for trajectory in trajectories:
        returns.setdefault(trajectory.group, []).append(sum(turn.reward for turn in trajectory.turns))
    return sum(max(values) - min(values) <= _FLAT for values in returns.values())


def _others(panel: Sequence[Task], taken: Sequence[Task], seed: int, step: int) -> list[Task]:
    """Return the panel's other tasks in an order of this step's own."""
    chosen = {task.task_id for task in taken}
    rest = sorted((task for task in panel if task.task_id not in chosen), key=lambda task: task.task_id)
    return [rest[index] for index in stream(seed, "choose_tasks", "spare", step).permutation(len(rest))]
