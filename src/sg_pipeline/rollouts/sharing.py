"""Groups dealt out to the processes that share a run.

Rank r of n plays groups r, r + n, r + 2n, …: a panel sorted by kinds of tasks is dealt evenly. An episode's chance is
named by its group and item, so who plays it does not matter. Every rank gets all of them back, in the order of the
groups, and everything behind (the gate, rewards, whether dynamic sampling goes on) comes out the same on all.
"""

from collections.abc import Callable, Sequence

from sg_pipeline.distributed.world import World, world
from sg_pipeline.rollouts.collect import RolloutResult
from sg_pipeline.trajectories.types import Task

Play = Callable[[list[Task], Sequence[int]], RolloutResult]
"""(tasks, index of each one's group) -> their episodes."""

_SUMMED = "env_cpu_s"
"""Timing that counts what was spent anywhere; the others are a process's wall clock."""


def play_shared(play: Play, tasks: list[Task], groups: Sequence[int]) -> RolloutResult:
    """Play this process's groups, and return everybody's.

    Args:
        play: plays a batch of groups, which may be empty: an engine that the processes share is brought up to date by
            all of them together.
        tasks, groups: of all processes.

    Returns:
        Trajectories by group, then item. Counters are sums. Timings are means over the processes, so that they still
        add up to "total_s"; "sync_s", in a world of several, also holds the time in which a process waited for the
        slower ones and exchanged trajectories.

    Raises:
        SgPipelineError: what the first process that failed has to say, on all of them.
    """
    here = world()
    if here.alone:
        return play(tasks, groups)
    before = here.seconds
    mine = share(len(tasks), here)
    results = here.everywhere(lambda: play([tasks[i] for i in mine], [groups[i] for i in mine]))
    waited = here.gather(here.seconds - before)
    return _together(results, waited, groups)


def share(count: int, here: World) -> range:
    """Return which of `count` things are this process's."""
    return range(here.rank, count, here.size)


def _together(results: Sequence[RolloutResult], waited: Sequence[float], groups: Sequence[int]) -> RolloutResult:
    place = {group: i for i, group in enumerate(groups)}
    episodes = [pair for result in results for pair in zip(result.trajectories, result.parts, strict=True)]
    episodes.sort(key=lambda pair: (place[pair[0].group], pair[0].item))
    names = dict.fromkeys(name for result in results for name in result.timings)
    sums = {name: sum(result.timings.get(name, 0.0) for result in results) for name in names}
    timings = {name: value if name == _SUMMED else value / len(results) for name, value in sums.items()}
    between = sum(waited) / len(waited)
    timings["sync_s"] = timings.get("sync_s", 0.0) + between
    timings["total_s"] += between
    counted = dict.fromkeys(name for result in results for name in result.counters)
    return RolloutResult(
        [trajectory for trajectory, _ in episodes],
        timings,
        {name: sum(result.counters.get(name, 0) for result in results) for name in counted},
        [parts for _, parts in episodes],
    )
