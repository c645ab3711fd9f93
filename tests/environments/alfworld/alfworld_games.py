"""Games for the tests: generated ones, and official ones if present."""

import hashlib
import json
import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from sg_pipeline.environments.alfworld.expert import Expert
from sg_pipeline.environments.alfworld.generation.floor_plans import floor_plans_of
from sg_pipeline.environments.alfworld.generation.panel import PANELS, Panel
from sg_pipeline.environments.alfworld.generation.problem import game_file
from sg_pipeline.environments.alfworld.generation.sampler import Difficulty, pick, sample_scene
from sg_pipeline.environments.alfworld.generation.scene import Item, Receptacle, Scene
from sg_pipeline.environments.alfworld.official import find_official_games
from sg_pipeline.environments.alfworld.progress import Progress
from sg_pipeline.environments.alfworld.rulebook import Goal
from sg_pipeline.environments.base import Environment, StepResult
from sg_pipeline.randomness import stream
from sg_pipeline.trajectories.types import Task

WHOLE_FLOOR_PLAN = Panel.read(PANELS / "default.json").difficulty
SMALL = Difficulty(min_receptacles=4, max_receptacles=5, min_items=4, max_items=5)
# A room in which every command is possible at some time, and what does everything there: all that an item's
# description can say, doors that stay shut, what fits nowhere. It is solved five commands before the end.
EVERYTHING = Scene(
    floor_plan=1,
    receptacles=(
        Receptacle("countertop 1", "CounterTop"),
        Receptacle("fridge 1", "Fridge"),
        Receptacle("microwave 1", "Microwave"),
        Receptacle("sinkbasin 1", "SinkBasin"),
        Receptacle("toaster 1", "Toaster"),
    ),
    items=(
        Item("apple 2", "Apple", "fridge 1"),
        Item("apple 1", "Apple", "countertop 1"),
        Item("butterknife 1", "ButterKnife", "countertop 1"),
        Item("desklamp 1", "DeskLamp", "countertop 1"),
        Item("mug 1", "Mug", "sinkbasin 1"),
    ),
    goal=Goal("pick_two_obj_and_place", "Apple", "Microwave"),
    task_text="put two apple in microwave.",
)
DOING_EVERYTHING = re.split(
    r"\s*[|\n]\s*",
    """\
look | examine apple 1 | go to countertop 1 | look | use desklamp 1 | use desklamp 1 | examine desklamp 1
take desklamp 1 from countertop 1 | take butterknife 1 from countertop 1 | slice mug 1 with butterknife 1
go to fridge 1 | slice apple 2 with butterknife 1 | inventory | examine butterknife 1 | cool butterknife 1 with fridge 1
go to sinkbasin 1 | clean butterknife 1 with sinkbasin 1 | examine butterknife 1 | go to toaster 1
move butterknife 1 to toaster 1 | go to countertop 1 | move butterknife 1 to countertop 1
take apple 1 from countertop 1 | examine apple 1 | go to fridge 1 | cool apple 1 with fridge 1 | examine apple 1
move apple 1 to fridge 1 | go to microwave 1 | heat apple 1 with microwave 1 | examine apple 1
go to sinkbasin 1 | clean apple 1 with sinkbasin 1 | examine apple 1 | go to fridge 1 | cool apple 1 with fridge 1
examine apple 1 | go to microwave 1 | move apple 1 to microwave 1 | open microwave 1 | open microwave 1
move apple 1 to microwave 1 | examine microwave 1 | close microwave 1 | close microwave 1 | inventory | go to fridge 1
take apple 2 from fridge 1 | open fridge 1 | take apple 2 from fridge 1 | examine apple 2
cool apple 2 with fridge 1 | examine apple 2 | go to sinkbasin 1 | clean apple 2 with sinkbasin 1 | examine apple 2
go to microwave 1 | heat apple 2 with microwave 1 | examine apple 2 | open microwave 1 | move apple 2 to microwave 1
go to sinkbasin 1 | take mug 1 from sinkbasin 1 | clean mug 1 with sinkbasin 1 | examine mug 1 | go to sinkbasin 1""",
)
PUT = {"2.1.1": "put {o} in/on {r}", "2.1.2": "move {o} to {r}", "of somebody": "lay {o} down on {r}"}


def sampled(task_type: str, number: int, difficulty: Difficulty | None = None, unseen: bool = False) -> Scene:
    """Draw a scene of any floor plan that suits the task type."""
    rng = stream(11, "scene", task_type, number)
    return sample_scene(rng, pick(rng, floor_plans_of(task_type, unseen)), task_type, difficulty or Difficulty())


def generated_task(root: Path, task_type: str) -> Task:
    """Write a small generated game below `root` and return its task."""
    return write_task(root, task_type, task_type, game_file(sampled(task_type, 3, SMALL)))


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


def official_tasks(folder: Path, wanted: str) -> list[Task]:
    """Unpack the games of valid_seen with a name like `wanted`; return their tasks, the smallest first."""
    with tarfile.open(official_archive()) as archive:
        for member in archive:
            if re.search(rf"/valid_seen/.*({wanted}).*/(game.tw-pddl|traj_data.json)$", member.name):
                archive.extract(member, folder, filter="data")
    tasks = find_official_games(folder)["valid_seen"]
    return sorted(tasks, key=lambda task: ((folder / task.path).stat().st_size, task.path))


def expert_walk(environment: Environment, task: Task) -> tuple[list[str], list[StepResult]]:
    """Play a game with the scripted expert, in the game's own words; return its commands and what was shown."""
    shown, commands = [environment.reset(task, 0)], []
    (put,) = [form for form in shown[0].forms if form.startswith(("move", "put"))]
    progress, expert = Progress(shown[0].observation), Expert(np.random.default_rng(0), put)
    while not shown[-1].done:
        commands.append(expert.decide(progress.memory).action)
        shown.append(environment.step(commands[-1]))
        progress.judge(commands[-1], shown[-1].observation, shown[-1].won)
    return commands, shown
