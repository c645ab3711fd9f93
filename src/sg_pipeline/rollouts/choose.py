"""Which tasks a co-evolution step plays."""

from collections.abc import Sequence

from sg_pipeline.errors import ConfigurationError
from sg_pipeline.randomness import stream
from sg_pipeline.trajectories.types import Task


def choose_tasks(panel_tasks: Sequence[Task], seed: int, step: int, tasks_per_step: int) -> list[Task]:
    """Return the distinct tasks of `step`: the next ones of a shuffled panel, shuffled anew in every epoch.

    No task comes twice in an epoch of `len(panel_tasks) // tasks_per_step` steps; the remainder, other tasks each time,
    sits that epoch out. The answer depends on nothing but the arguments, whatever the order of `panel_tasks`.

    Raises:
        ConfigurationError: the panel has fewer tasks than a step wants.
    """
    if not 1 <= tasks_per_step <= len(panel_tasks):
        raise ConfigurationError(
            f"tasks_per_step is {tasks_per_step}, but the panel has {len(panel_tasks)} tasks: "
            "take a number between 1 and that, or a larger panel"
        )
    epoch, place = divmod(step, len(panel_tasks) // tasks_per_step)
    order = stream(seed, "choose_tasks", epoch).permutation(len(panel_tasks))
    tasks = sorted(panel_tasks, key=lambda task: task.task_id)
    return [tasks[index] for index in order[place * tasks_per_step : (place + 1) * tasks_per_step]]
