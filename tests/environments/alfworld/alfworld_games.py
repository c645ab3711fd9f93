"""Games for the tests: generated ones, and official ones if present."""

import hashlib
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sg_pipeline.environments.alfworld.generation.floor_plans import floor_plans_of
from sg_pipeline.environments.alfworld.generation.problem import game_file
from sg_pipeline.environments.alfworld.generation.sampler import Difficulty, sample_scene
from sg_pipeline.environments.alfworld.generation.scene import Goal, Item, Receptacle, Scene
from sg_pipeline.randomness import stream
from sg_pipeline.trajectories.types import Task

SMALL = Difficulty(min_receptacles=4, max_receptacles=5, min_items=4, max_items=5)
# A room in which every command is possible at some time.
EVERYTHING = Scene(
    floor_plan=1,
    receptacles=(
        Receptacle("countertop 1", "CounterTop", False),
        Receptacle("fridge 1", "Fridge", True),
        Receptacle("microwave 1", "Microwave", True),
        Receptacle("sinkbasin 1", "SinkBasin", False),
    ),
    items=(
        Item("apple 1", "Apple", "countertop 1"),
        Item("desklamp 1", "DeskLamp", "countertop 1", portable=False),
        Item("knife 1", "Knife", "countertop 1"),
    ),
    goal=Goal("pick_cool_then_place_in_recep", "Apple", "Microwave"),
    task_text="cool some apple and put it in microwave.",
)
PUT = {"2.1.1": "put {o} in/on {r}", "2.1.2": "move {o} to {r}", "of somebody": "lay {o} down on {r}"}


def generated_task(root: Path, task_type: str, seed: int = 3) -> Task:
    """Write a small generated game below `root` and return its task."""
    plan = floor_plans_of(task_type, unseen=False)[seed]
    content = game_file(sample_scene(stream(seed, task_type), plan, task_type, SMALL))
    return write_task(root, f"{task_type}-{seed}", task_type, content)


def write_task(root: Path, name: str, task_type: str, content: bytes) -> Task:
    path = root / name / "game.tw-pddl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return Task(name, "alfworld", "train", task_type, path.relative_to(root).as_posix(), sha256)


def worded(root: Path, version: str) -> Task:
    """Write the room with one wording of the command that puts something down."""
    return write_task(root, version, "", game_file(EVERYTHING).replace(PUT["2.1.2"].encode(), PUT[version].encode()))


def walkthrough(root: Path, task: Task) -> list[str]:
    return json.loads((root / task.path).read_bytes())["walkthrough"]


def official_archive() -> Path:
    """Return the archive of official games; skips the test where it is not present."""
    shared = os.environ.get("SG_SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data"
    archive = Path(shared) / "alfworld" / "json_2.1.1.tar.xz"
    if not archive.exists():
        pytest.skip(f"the official ALFWorld games are not at {archive}")
    return archive


def extract_official(folder: Path, wanted: Callable[[str], bool]) -> None:
    """Unpack those game and trajectory files of the archive whose name is `wanted`."""
    with tarfile.open(official_archive()) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(("game.tw-pddl", "traj_data.json")) and wanted(member.name):
                archive.extract(member, folder, filter="data")
