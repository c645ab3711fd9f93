"""The official ALFWorld games, as `alfworld-download` stores them.

root/[json_2.1.x/]<split>/<task>/<trial>/traj_data.json, game.tw-pddl
"""

import logging
from collections import Counter
from pathlib import Path

from sg_pipeline.environments.alfworld.gamefile import GAME_FILE_NAME, GENERATED_VERSION, data_version, read_json
from sg_pipeline.environments.alfworld.rulebook import TASK_TYPES
from sg_pipeline.errors import DataError
from sg_pipeline.trajectories.types import Task

logger = logging.getLogger(__name__)

OFFICIAL_COUNTS: dict[str, dict[str, int]] = {
    "train": dict(zip(TASK_TYPES, (790, 308, 650, 459, 533, 813), strict=True)),
    "valid_seen": dict(zip(TASK_TYPES, (35, 13, 27, 16, 25, 24), strict=True)),
    "valid_unseen": dict(zip(TASK_TYPES, (24, 18, 31, 23, 21, 17), strict=True)),
}
"""Playable games per split and task type (ALFWorld paper, table 1): 3553, 140 and 134."""


def find_official_games(root: Path) -> dict[str, list[Task]]:
    """List the official games of every split below `root`, by the rules of `AlfredTWEnv.collect_game_files`.

    A game counts if it is marked solvable, is of one of the six task types, moves no receptacle and slices nothing. A
    warning reports each split that is missing, or that does not have the official number of games. `root` is the folder
    that `$ALFWORLD_DATA` names, or one that holds the splits; tasks are sorted by path.

    Raises:
        DataError: `root` does not exist or holds no split at all, or a file in it is not JSON.
    """
    if not root.is_dir():
        raise DataError(f"The folder of the official ALFWorld games does not exist: {root} (run alfworld-download).")
    folders = _split_folders(root)
    if not folders:
        raise DataError(
            f"The folder {root} holds no official ALFWorld games: expected {', '.join(OFFICIAL_COUNTS)} in it or in "
            "json_2.1.x/."
        )
    for split, counts in OFFICIAL_COUNTS.items():
        if split not in folders:
            logger.warning("Official ALFWorld %s is not in %s: 0 of %d games.", split, root, sum(counts.values()))
    return {split: _split_tasks(root, split, folder) for split, folder in folders.items()}


def official_files(root: Path) -> dict[str, Path]:
    """Return the files that decide which official games there are and how they play: path below `root` -> path."""
    folders, names = _split_folders(root).values(), ("traj_data.json", GAME_FILE_NAME)
    files = sorted(path for folder in folders for name in names for path in folder.rglob(name))
    return {path.relative_to(root).as_posix(): path for path in files}


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each split; of several data versions below `root` the newest."""
    return {
        split: folder
        for split in OFFICIAL_COUNTS
        for folder in [*sorted(root.glob(f"json_*/{split}")), root / split]  # The last one stays.
        if folder.is_dir()
    }


def _split_tasks(root: Path, split: str, folder: Path) -> list[Task]:
    tasks: list[Task] = []
    skipped: Counter[str] = Counter()
    versions: Counter[str] = Counter()
    for trajectory in sorted(folder.rglob("traj_data.json")):
        trial = trajectory.parent
        path = trial / GAME_FILE_NAME
        if any(word in trial.relative_to(root).as_posix() for word in ("movable", "Sliced")):
            skipped["with movable receptacles or slicing"] += 1
        elif (task_type := read_json(trajectory)[1].get("task_type")) not in TASK_TYPES:
            skipped["of another task type"] += 1
        elif not path.exists():
            skipped[f"without {GAME_FILE_NAME}"] += 1
        else:
            sha256, game = read_json(path)
            if not game.get("solvable"):
                skipped["unsolvable"] += 1
                continue
            versions[data_version(str(game.get("grammar", "")))] += 1
            name = f"official/{split}/{trial.parent.name}/{trial.name}"
            tasks.append(Task(name, "alfworld", split, task_type, path.relative_to(root).as_posix(), sha256))
    wording = ", ".join(f"{count} games in the wording of {version}" for version, count in sorted(versions.items()))
    logger.info("Official ALFWorld %s: %s.", split, wording or "no games")
    if versions.keys() - {GENERATED_VERSION}:
        logger.warning(
            "Official ALFWorld %s has other commands than generated games, which have those of %s: a language model's "
            "prompt lists each game's own; a tiny policy knows those of generated games only and puts nothing down.",
            split,
            GENERATED_VERSION,
        )
    expected, found = OFFICIAL_COUNTS[split], Counter(task.task_type for task in tasks)
    if len(tasks) != sum(expected.values()):
        logger.warning(
            "Official ALFWorld %s holds %d playable games, expected %d: %s (left out: %s).",
            split,
            len(tasks),
            sum(expected.values()),
            ", ".join(f"{kind} {found[kind]} of {count}" for kind, count in expected.items() if found[kind] != count),
            ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items())) or "none",
        )
    return tasks
