"""Solutions of training tasks, from the simulator's gold paths, shortened and proven.

A gold path walks from door to door, looks around and names things in full ("egg butterfly egg in inventory"). With
the easy simplifications one teleports instead, and the room is shown on arrival. What is left is played again: only a
path that reaches score 100 is kept, the gold path itself where no shorter one does.

The file `paths/default.json.gz` holds those of the default panel's training tasks:
`python -m sg_pipeline.environments.scienceworld.gold default`, seconds a task. Development and test tasks are
never solved here.
"""

import gzip
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from sg_pipeline.environments.scienceworld.jvm import Simulator, World, shared_simulator
from sg_pipeline.environments.scienceworld.panel import parse_path, read_panel, simulator_digest
from sg_pipeline.errors import DataError
from sg_pipeline.files import atomic_write

PATHS = Path(__file__).parent / "paths"
SIMPLIFICATIONS = "easy"
SOLVED = 100

_DOOR = re.compile(r"(?:open|close) door to .+")
_WALK = re.compile(r"go to (.+)")
_IDLE = ("look around", "wait1")
_MOVE = re.compile(r"move (.+) to (.+ box)")
_NAMING = re.compile(r"(focus on|pick up) (.+)")


def solve(simulator: Simulator, task: str, variation: int) -> tuple[str, ...]:
    """Return the shortest known path that solves a variation under the easy simplifications.

    Raises:
        DataError: the gold path itself does not solve it.
    """
    world = World(simulator)
    try:
        gold = world.load(task, variation, SIMPLIFICATIONS, gold=True)
        teleporting = tuple(_teleporting(gold))
        plain = _plainly_named(world, task, variation, teleporting)
        for path in (plain, tuple(_carrying(teleporting)), teleporting, gold):
            world.load(task, variation, SIMPLIFICATIONS)
            if _solves(world, path):
                return path
    finally:
        world.close()
    raise DataError(
        f"the gold path of ScienceWorld's {task}/{variation} does not solve it here (it has {len(gold)} actions); "
        "leave the task out of the demonstrations"
    )


def _solves(world: World, path: Sequence[str]) -> bool:
    """Return whether score 100 is reached with the last action, and not before."""
    scores = [world.act(action)[1] for action in path]
    return bool(scores) and scores[-1] == SOLVED and SOLVED not in scores[:-1]


def _teleporting(gold: Sequence[str]) -> Iterator[str]:
    """Yield the gold path with a teleport for each walk, without looking around and without the wait at its end."""
    place = None
    for action in gold:
        walk = _WALK.fullmatch(action)
        if walk:
            place = walk[1]
        elif not _DOOR.fullmatch(action) and action not in _IDLE:
            if place is not None:
                yield f"teleport to {place}"
                place = None
            yield action


def _plainly_named(world: World, task: str, variation: int, path: Sequence[str]) -> tuple[str, ...]:
    """Return the path with names as the room shows them: "dove egg" where the gold path says "egg dove egg"."""
    world.load(task, variation, SIMPLIFICATIONS)
    named: list[str] = []
    for action in path:
        naming = _NAMING.fullmatch(action)
        named.append(f"{naming[1]} {_plain_name(naming[2], world.look())}" if naming else action)
        world.act(named[-1])
    return tuple(_carrying(named))


def _carrying(path: Sequence[str]) -> Iterator[str]:
    """Yield the path, what is carried called by the name under which it was picked up."""
    carried = None
    for action in path:
        naming, moving = _NAMING.fullmatch(action), _MOVE.fullmatch(action)
        if naming and naming[1] == "pick up":
            carried = naming[2]
        elif moving and carried is not None and moving[1].endswith(" in inventory"):
            yield f"move {carried} to {moving[2]}"
            continue
        yield action


def _plain_name(name: str, room: str) -> str:
    """Return the longest part of a name that the room's description holds, or the name where it holds none."""
    words = name.split()
    shown = f" {' '.join(re.findall(r'[a-z0-9-]+', room.lower()))} "
    spans = [words[start:end] for start in range(len(words)) for end in range(start + 1, len(words) + 1)]
    parts = [" ".join(span) for span in sorted(spans, key=len, reverse=True)]
    return next((part for part in parts if f" {part} " in shown), name)


@lru_cache(maxsize=2)
def read_paths(panel: str) -> Mapping[str, tuple[str, ...]]:
    """Return the committed solutions for a panel: "NAME/VARIATION" -> actions.

    Raises:
        DataError: the file is damaged, or of another simulator.
    """
    path = PATHS / f"{panel}.json.gz"
    try:
        content = json.loads(gzip.decompress(path.read_bytes()))
        simulator, paths = content["simulator"], {key: tuple(actions) for key, actions in content["paths"].items()}
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"the solutions {path} cannot be read ({type(error).__name__}: {error}); get the file again"
        ) from error
    if simulator != simulator_digest():
        raise DataError(
            f"the solutions {path} are of another ScienceWorld simulator than the installed one (jar {simulator[:12]}, "
            f"here {simulator_digest()[:12]}); install the version that constraints.txt pins"
        )
    return paths


def write_paths(name: str, paths: Mapping[str, Sequence[str]]) -> Path:
    """Write a file for `read_paths`, the same bytes for the same solutions; return where it is."""
    content = {"simulator": simulator_digest(), "paths": {key: list(paths[key]) for key in sorted(paths)}}
    target = PATHS / f"{name}.json.gz"
    with atomic_write(target) as temporary:
        temporary.write_bytes(gzip.compress(json.dumps(content, indent=0).encode(), mtime=0))
    return target


def main(panel: str) -> None:
    """Solve a panel's training tasks and write their file; goes on where an earlier call was stopped."""
    simulator = shared_simulator()
    done = dict(read_paths(panel)) if (PATHS / f"{panel}.json.gz").is_file() else {}
    for number, task in enumerate(read_panel(panel, Path()).tasks()["train"]):
        if task.path not in done:
            done[task.path] = solve(simulator, *parse_path(task.path, task.task_id))
            if number % 10 == 0:
                write_paths(panel, done)
    write_paths(panel, done)


if __name__ == "__main__":
    main(sys.argv[1])
