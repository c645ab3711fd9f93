"""The official ALFWorld games, as `alfworld-download` lays them out.

They lie under `root/[json_2.1.x/]<split>/<task>/<trial>/` as `traj_data.json` and `game.tw-pddl`.
"""

import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from sg_pipeline.environments.alfworld.gamefile import GAME_FILE_NAME, GENERATED_VERSION, data_version, read_json
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.trajectories.types import Task

logger = logging.getLogger(__name__)

OFFICIAL_COUNTS: dict[str, dict[str, int]] = {
    "train": {
        "pick_and_place_simple": 790,
        "look_at_obj_in_light": 308,
        "pick_clean_then_place_in_recep": 650,
        "pick_heat_then_place_in_recep": 459,
        "pick_cool_then_place_in_recep": 533,
        "pick_two_obj_and_place": 813,
    },
    "valid_seen": {
        "pick_and_place_simple": 35,
        "look_at_obj_in_light": 13,
        "pick_clean_then_place_in_recep": 27,
        "pick_heat_then_place_in_recep": 16,
        "pick_cool_then_place_in_recep": 25,
        "pick_two_obj_and_place": 24,
    },
    "valid_unseen": {
        "pick_and_place_simple": 24,
        "look_at_obj_in_light": 18,
        "pick_clean_then_place_in_recep": 31,
        "pick_heat_then_place_in_recep": 23,
        "pick_cool_then_place_in_recep": 21,
        "pick_two_obj_and_place": 17,
    },
}
"""Playable games per split and task type (ALFWorld paper, table 1): 3553, 140 and 134."""


def find_official_games(root: Path, split: str, task_types: Collection[str] | None = None) -> list[Task]:
    """List the official games of a split, by the rules of alfworld's `AlfredTWEnv.collect_game_files`.

    A game counts when it is marked solvable, is of one of the six task types, moves no receptacle and slices
    nothing. Where a split does not hold the official number of games, one warning says what is missing.

    Args:
        root: the folder that `$ALFWORLD_DATA` names, or the folder that holds the splits.
        split: "train", "valid_seen" or "valid_unseen".
        task_types: those wanted; None for all six.

    Returns:
        The tasks, sorted by path; `path` is relative to `root`.

    Raises:
        ConfigurationError: there is no such split or task type.
        DataError: `root` or the split's folder does not exist, or a file in it is not JSON.
    """
    if split not in OFFICIAL_COUNTS:
        raise ConfigurationError(f"The split must be one of {', '.join(OFFICIAL_COUNTS)}, found {split!r}.")
    expected = OFFICIAL_COUNTS[split]
    unknown = sorted(set(task_types or ()) - set(expected))
    if unknown:
        raise ConfigurationError(f"The task types must be among {', '.join(expected)}, found {unknown[0]!r}.")
    root = Path(root)
    tasks: list[Task] = []
    skipped: Counter[str] = Counter()
    versions: Counter[str] = Counter()
    for trajectory in sorted(_split_folder(root, split).rglob("traj_data.json")):
        found = _task(root, split, trajectory, versions)
        if isinstance(found, Task):
            tasks.append(found)
        else:
            skipped[found] += 1
    _report(split, expected, tasks, skipped, versions)
    return [task for task in tasks if task_types is None or task.task_type in task_types]


def find_official_splits(root: Path) -> dict[str, list[Task]]:
    """List the official games of every split that lies under `root`; one that is not there is told and left out.

    Raises:
        DataError: `root` does not exist or holds no split at all; or as `find_official_games`.
    """
    root = Path(root)
    found = [split for split in OFFICIAL_COUNTS if _split_folders(root, split)]
    for split, counts in OFFICIAL_COUNTS.items():
        if found and split not in found:
            logger.warning(
                "Official ALFWorld %s is not in %s: 0 of %d games; no figure on it can be given.",
                split,
                root,
                sum(counts.values()),
            )
    return {split: find_official_games(root, split) for split in found or OFFICIAL_COUNTS}


def official_files(root: Path) -> dict[str, Path]:
    """Return the files that decide which official games there are and how they play: path below `root` -> path."""
    folders = [folders[0] for split in OFFICIAL_COUNTS if (folders := _split_folders(root, split))]
    files = (path for folder in folders for name in ("traj_data.json", GAME_FILE_NAME) for path in folder.rglob(name))
    return {path.relative_to(root).as_posix(): path for path in sorted(files)}


def _split_folders(root: Path, split: str) -> list[Path]:
    """Return the folders of a split; of several data versions below `root` the newest one first."""
    folders = [root / split, *sorted(root.glob(f"json_*/{split}"), reverse=True)]
    return [folder for folder in folders if folder.is_dir()]


def _split_folder(root: Path, split: str) -> Path:
    """Return the folder of a split, or say what is missing."""
    if folders := _split_folders(root, split):
        return folders[0]
    if not root.is_dir():
        raise DataError(f"The folder of the official ALFWorld games does not exist: {root} (run alfworld-download).")
    raise DataError(
        f"The folder {root} holds no official ALFWorld games of the split {split}: expected {split}/ or "
        f"json_2.1.x/{split}/ in it."
    )


def _task(root: Path, split: str, trajectory: Path, versions: Counter[str]) -> Task | str:
    """Return the task beside a `traj_data.json`, or why it does not count."""
    folder = trajectory.parent
    name = folder.relative_to(root).as_posix()
    if "movable" in name or "Sliced" in name:
        return "with movable receptacles or slicing"
    task_type = read_json(trajectory)[1].get("task_type")
    if task_type not in OFFICIAL_COUNTS[split]:
        return "of another task type"
    path = folder / GAME_FILE_NAME
    if not path.exists():
        return f"without {GAME_FILE_NAME}"
    sha256, game = read_json(path)
    if not game.get("solvable"):
        return "unsolvable"
    versions[data_version(str(game.get("grammar", "")))] += 1
    return Task(
        task_id=f"official/{split}/{folder.parent.name}/{folder.name}",
        environment="alfworld",
        split=split,
        task_type=task_type,
        path=path.relative_to(root).as_posix(),
        sha256=sha256,
    )


def _report(
    split: str, expected: dict[str, int], tasks: list[Task], skipped: Counter[str], versions: Counter[str]
) -> None:
    wording = ", ".join(f"{count} games in the wording of {version}" for version, count in sorted(versions.items()))
    logger.info("Official ALFWorld %s: %s.", split, wording or "no games")
    if versions.keys() - {GENERATED_VERSION}:
        logger.warning(
            "Official ALFWorld %s has other commands than generated games, which have those of %s: a language model's "
            "prompt lists each game's own; a tiny policy has learnt those of generated games, so it puts nothing down.",
            split,
            GENERATED_VERSION,
        )
    if len(tasks) == sum(expected.values()):
        return
    found = Counter(task.task_type for task in tasks)
    missing = [f"{kind} {found[kind]} of {count}" for kind, count in expected.items() if found[kind] != count]
    left_out = [f"{count} {reason}" for reason, count in sorted(skipped.items())]
    logger.warning(
        "Official ALFWorld %s holds %d playable games, expected %d: %s (left out: %s).",
        split,
        len(tasks),
        sum(expected.values()),
        ", ".join(missing),
        ", ".join(left_out) or "none",
    )
