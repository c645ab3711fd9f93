"""How the committed panels were made: `python -m sg_pipeline.environments.scienceworld.make_panels`.

The official splits are the simulator's own. `default` holds evenly spaced variations of the tasks that gold paths solve
in at most ten actions, which leaves a policy of thirty steps room for mistakes; `small` a few of three of them.
`validation`, for choices among runs, has variations of the dev split that `default` leaves.
"""

from collections.abc import Mapping, Sequence

from sg_pipeline.environments.scienceworld.jvm import shared_simulator
from sg_pipeline.environments.scienceworld.panel import PANELS, SPLITS, Splits, panel_json, simulator_digest

SHORT_TASKS = (
    "find-animal",
    "find-living-thing",
    "find-non-living-thing",
    "find-plant",
    "lifespan-longest-lived",
    "lifespan-longest-lived-then-shortest-lived",
    "lifespan-shortest-lived",
)
DEFAULT_SIZES = {"train": 48, "dev": 28, "test": 28}
VALIDATION_SIZE = 28
SMALL_TASKS = ("find-animal", "find-non-living-thing", "lifespan-longest-lived")
SMALL_SIZES = {"train": 3, "dev": 2, "test": 2}


def official_splits() -> dict[str, dict[str, list[int]]]:
    """Return every variation of every task, in the published splits."""
    simulator = shared_simulator()
    splits: dict[str, dict[str, list[int]]] = {split: {} for split in SPLITS}
    for task in simulator.task_names():
        for split, numbers in simulator.variations(task).items():
            splits[split][task] = numbers
    return splits


def choose(splits: Splits, tasks: Sequence[str], sizes: Mapping[str, int]) -> dict[str, dict[str, list[int]]]:
    """Return `sizes[split]` evenly spaced variations of each task, or all where there are fewer."""
    chosen: dict[str, dict[str, list[int]]] = {}
    for split in sizes:
        chosen[split] = {}
        for task in tasks:
            numbers = splits[split][task]
            count = min(sizes[split], len(numbers))
            chosen[split][task] = [numbers[place * len(numbers) // count] for place in range(count)]
    return chosen


def without(splits: Splits, others: Splits) -> dict[str, dict[str, list[int]]]:
    """Return `splits` without the variations of `others`."""
    return {
        split: {task: sorted({*numbers} - {*others[split].get(task, ())}) for task, numbers in tasks.items()}
        for split, tasks in splits.items()
    }


def main() -> None:
    """Write the panel files."""
    official = official_splits()
    default = choose(official, SHORT_TASKS, DEFAULT_SIZES)
    left = {"dev": without(official, default)["dev"]}
    panels = {
        "official": official,
        "default": default,
        "validation": choose(left, SHORT_TASKS, {"dev": VALIDATION_SIZE}),
        "small": choose(official, SMALL_TASKS, SMALL_SIZES),
    }
    PANELS.mkdir(exist_ok=True)
    for name, splits in panels.items():
        (PANELS / f"{name}.json").write_bytes(panel_json(simulator_digest(), splits))


if __name__ == "__main__":
    main()
