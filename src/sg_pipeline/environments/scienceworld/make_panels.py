"""How the committed panels were made: `python -m sg_pipeline.environments.scienceworld.make_panels`.

The official splits are the simulator's own. `default` holds evenly spaced variations of the tasks that gold paths solve
in at most ten actions, which leaves a policy of thirty steps room for mistakes; `small` a few of three of them.
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
    for split in SPLITS:
        chosen[split] = {}
        for task in tasks:
            numbers = splits[split][task]
            count = min(sizes[split], len(numbers))
            chosen[split][task] = [numbers[place * len(numbers) // count] for place in range(count)]
    return chosen


def main() -> None:
    """Write the panel files."""
    official = official_splits()
    panels = {
        "official": official,
        "default": choose(official, SHORT_TASKS, DEFAULT_SIZES),
        "small": choose(official, SMALL_TASKS, SMALL_SIZES),
    }
    PANELS.mkdir(exist_ok=True)
    for name, splits in panels.items():
        (PANELS / f"{name}.json").write_bytes(panel_json(simulator_digest(), splits))


if __name__ == "__main__":
    main()
