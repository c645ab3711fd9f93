"""Frozen panels: which variations of which tasks a run plays, taken from the official splits.

A panel file names the simulator by the digest of its jar, and lists variations as ranges:

    {"simulator": "<sha256>", "splits": {"train": {"find-plant": [[0, 0], [3, 3]], …}, "dev": …, "test": …}}

`official` is all 7207 variations in the published splits, `default` short tasks that a laptop can finish, `small` a few
tasks for smoke runs, `validation` for choosing among runs. `make.py` made them.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from sg_pipeline.environments.panels import find_panel
from sg_pipeline.environments.scienceworld.java import simulator_jar
from sg_pipeline.errors import DataError
from sg_pipeline.trajectories.types import Task

PANELS = Path(__file__).parent / "panels"
SPLITS: tuple[Literal["train", "dev", "test"], ...] = ("train", "dev", "test")
NAME = "scienceworld"

Splits = Mapping[str, Mapping[str, list[int]]]
"""Split -> task name -> variation numbers."""

_PATH = re.compile(r"([a-z0-9-]+)/(\d{1,6})")


class _File(BaseModel):
    simulator: str
    splits: dict[Literal["train", "dev", "test"], dict[str, list[tuple[int, int]]]] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Panel:
    """Which variations are played with which simulator, and the digest of both."""

    simulator: str
    splits: Splits
    sha256: str

    def tasks(self) -> dict[str, list[Task]]:
        """Return the tasks of each split; the names take turns, so that the first few tasks are of many kinds."""
        return {
            split: [make_task(name, number, split, self.simulator) for name, number in _in_turns(variations)]
            for split, variations in self.splits.items()
        }


def make_task(name: str, variation: int, split: str, simulator: str = "") -> Task:
    """Return one variation of an official task."""
    return Task(f"{name}-{variation}", NAME, split, name, f"{name}/{variation}", simulator)


def parse_path(path: str, task_id: str) -> tuple[str, int]:
    """Return (task name, variation) of `Task.path`. Raises `DataError` if it has another form."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise DataError(
            f"task {task_id!r} names no ScienceWorld variation: its path is {path!r}, expected 'NAME/NUMBER', such as "
            "'find-plant/3'"
        )
    return match[1], int(match[2])


@lru_cache(maxsize=1)
def simulator_digest() -> str:
    """Return the digest of the installed simulator's jar."""
    return hashlib.sha256(simulator_jar().read_bytes()).hexdigest()


def require_simulator(sha256: str, what: str) -> None:
    """Raise `DataError` unless the installed simulator is the one with this digest."""
    if simulator_digest() != sha256:
        raise DataError(
            f"{what} is of another ScienceWorld simulator than the installed one (jar {sha256[:12]}, here "
            f"{simulator_digest()[:12]}); install the version that constraints.txt pins"
        )


def read_panel(name: str, root: Path) -> Panel:
    """Read a panel of the package by name, or a panel file by its path, which starts from `root`.

    Raises `ConfigurationError` if there is no such panel, `DataError` if the file is none.
    """
    path = find_panel(name, PANELS, root)
    try:
        file = _File.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(
            f"the file {path} is not a ScienceWorld panel ({reason}); it needs 'simulator' and 'splits' with train, "
            "dev or test, each a mapping of task names to [first, last] ranges"
        ) from error
    splits: dict[str, dict[str, list[int]]] = {
        split: {
            task: [number for first, last in ranges for number in range(first, last + 1)]
            for task, ranges in file.splits[split].items()
        }
        for split in SPLITS
        if split in file.splits
    }
    listed = Counter(
        (task, number) for tasks in splits.values() for task, numbers in tasks.items() for number in numbers
    )
    twice = [f"{number} of {task!r}" for (task, number), times in listed.items() if times > 1]
    if twice:
        raise DataError(
            f"the ScienceWorld panel {path} lists variation {twice[0]} more than once; splits must not share a task"
        )
    return Panel(file.simulator, splits, hashlib.sha256(panel_json(file.simulator, splits)).hexdigest())


def panel_json(simulator: str, splits: Splits) -> bytes:
    """Return the content of a panel file, one task a line."""
    blocks = []
    for split, variations in splits.items():
        lines = [f"{json.dumps(task)}: {json.dumps(_ranges(numbers))}" for task, numbers in sorted(variations.items())]
        blocks.append(f"  {json.dumps(split)}: {{\n   " + ",\n   ".join(lines) + "\n  }")
    return (f'{{\n "simulator": {json.dumps(simulator)},\n "splits": {{\n' + ",\n".join(blocks) + "\n }\n}\n").encode()


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges


def _in_turns(variations: Mapping[str, list[int]]) -> list[tuple[str, int]]:
    places = [(place, task, number) for task, numbers in variations.items() for place, number in enumerate(numbers)]
    return [(task, number) for _, task, number in sorted(places)]
