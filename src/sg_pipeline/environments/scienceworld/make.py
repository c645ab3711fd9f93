"""How the committed data were made: `python -m sg_pipeline.environments.scienceworld.make panels | solutions | words`.

panels      The official splits are the simulator's own. `default` holds evenly spaced variations of the tasks that gold
            paths solve in at most ten actions, which leaves a policy of thirty steps room for mistakes; `small` a few
            of three of them. `validation`, for choices among runs, has variations of the dev split that are not in
            `default`.
solutions   Of the training tasks of `default`, seconds a task; development and test tasks are never solved. A gold path
            walks from door to door, looks around and names things in full ("egg butterfly egg in inventory"). With the
            easy simplifications one teleports instead, and the room is shown on arrival. The shortened path is played
            again: it is kept only if it reaches score 100, the gold path itself if no shorter one does.
words       All words of the simulator's texts: those of the string constants in the jar's classes, without names of
            variables.
"""

import gzip
import json
import re
import struct
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sg_pipeline.environments.scienceworld.benchmark import SOLUTIONS, WORDS, read_solutions
from sg_pipeline.environments.scienceworld.java import simulator_jar
from sg_pipeline.environments.scienceworld.jvm import World, shared_simulator
from sg_pipeline.environments.scienceworld.panel import (
    PANELS,
    SPLITS,
    Splits,
    panel_json,
    parse_path,
    read_panel,
    simulator_digest,
)
from sg_pipeline.errors import DataError
from sg_pipeline.files import atomic_write

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

SIMPLIFICATIONS = "easy"
SOLVED = 100

_DOOR = re.compile(r"(?:open|close) door to .+")
_WALK = re.compile(r"go to (.+)")
_IDLE = ("look around", "wait1")
_MOVE = re.compile(r"move (.+) to (.+ box)")
_NAMING = re.compile(r"(focus on|pick up) (.+)")

_PACKAGES = ("scienceworld/", "main/scala/scienceworld/")
_LEFT_OUT = ("scienceworld/goldagent/", "scienceworld/runtime/")
_WORD = re.compile(r"(?<![\w'$-])[A-Za-z][a-z]*(?:['-][a-z]+)*(?![\w$])")
# Bytes behind the tag of a constant; a string (tag 1) has its own length.
_CONSTANT_SIZES = {
    **dict.fromkeys((5, 6), 8),
    **dict.fromkeys((3, 4, 9, 10, 11, 12, 17, 18), 4),
    **dict.fromkeys((7, 8, 16, 19, 20), 2),
    15: 3,
}


def official_splits() -> dict[str, dict[str, list[int]]]:
    """Return every variation of every task, in the published splits."""
    interface = shared_simulator().interface
    splits: dict[str, dict[str, list[int]]] = {split: {} for split in SPLITS}
    for task in sorted(str(name) for name in interface.getTaskNames()):
        getattr(interface, "taskStr_$eq")(task)
        lists = (interface.getVariationsTrain(), interface.getVariationsDev(), interface.getVariationsTest())
        for split, numbers in zip(SPLITS, lists, strict=True):
            splits[split][task] = [int(number) for number in numbers]
    return splits


def choose(splits: Splits, tasks: Sequence[str], sizes: Mapping[str, int]) -> dict[str, dict[str, list[int]]]:
    """Return `sizes[split]` evenly spaced variations of each task, or all if there are fewer."""

    def spaced(numbers: list[int], size: int) -> list[int]:
        count = min(size, len(numbers))
        return [numbers[place * len(numbers) // count] for place in range(count)]

    return {split: {task: spaced(splits[split][task], size) for task in tasks} for split, size in sizes.items()}


def make_panels() -> None:
    """Write the panel files of the package."""
    official = official_splits()
    default = choose(official, SHORT_TASKS, DEFAULT_SIZES)
    left = {"dev": {task: sorted({*official["dev"][task]} - {*default["dev"][task]}) for task in SHORT_TASKS}}
    panels = {
        "official": official,
        "default": default,
        "validation": choose(left, SHORT_TASKS, {"dev": VALIDATION_SIZE}),
        "small": choose(official, SMALL_TASKS, SMALL_SIZES),
    }
    PANELS.mkdir(exist_ok=True)
    for name, splits in panels.items():
        (PANELS / f"{name}.json").write_bytes(panel_json(simulator_digest(), splits))


def solve(task: str, variation: int) -> tuple[str, ...]:
    """Return the shortest known path that solves a variation; raises `DataError` if the gold path itself does not."""
    world = World(shared_simulator())
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
        own = moving and carried and moving[1].endswith(" in inventory")
        yield f"move {carried} to {moving[2]}" if moving and own else action


def _plain_name(name: str, room: str) -> str:
    """Return the longest part of a name that the room's description holds, or the name if it holds none."""
    words = name.split()
    shown = f" {' '.join(re.findall(r'[a-z0-9-]+', room.lower()))} "
    spans = [words[start:end] for start in range(len(words)) for end in range(start + 1, len(words) + 1)]
    parts = [" ".join(span) for span in sorted(spans, key=len, reverse=True)]
    return next((part for part in parts if f" {part} " in shown), name)


def words_of_jar(jar: Path) -> list[str]:
    """Return the words of the string constants in the simulator's classes, lower case, sorted."""
    found: set[str] = set()
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if name.endswith(".class") and name.startswith(_PACKAGES) and not name.startswith(_LEFT_OUT):
                for text in _string_constants(archive.read(name)):
                    found.update(word.lower() for word in _WORD.findall(text))
    return sorted(found)


def _string_constants(content: bytes) -> Iterator[str]:
    """Yield the string literals of a class file (JVM specification, section 4.4)."""
    (count,) = struct.unpack_from(">H", content, 8)
    texts: dict[int, str] = {}
    literals: list[int] = []
    offset, index = 10, 1
    while index < count:
        tag = content[offset]
        if tag == 1:
            (length,) = struct.unpack_from(">H", content, offset + 1)
            texts[index] = content[offset + 3 : offset + 3 + length].decode("utf-8", "replace")
            offset += 3 + length
        else:
            if tag == 8:
                literals.append(struct.unpack_from(">H", content, offset + 1)[0])
            offset += 1 + _CONSTANT_SIZES[tag]
            index += tag in (5, 6)  # a long or double takes two places
        index += 1
    yield from (texts[literal] for literal in literals)


def make_solutions() -> None:
    """Write the solutions; continues where an earlier call was stopped."""
    done = dict(read_solutions()) if SOLUTIONS.is_file() else {}
    for number, task in enumerate(read_panel("default", Path()).tasks()["train"]):
        if task.path not in done:
            done[task.path] = solve(*parse_path(task.path, task.task_id))
            if number % 10 == 0:
                _write_solutions(done)
    _write_solutions(done)


def _write_solutions(paths: Mapping[str, Sequence[str]]) -> None:
    content = {"simulator": simulator_digest(), "paths": {key: list(paths[key]) for key in sorted(paths)}}
    with atomic_write(SOLUTIONS) as temporary:
        temporary.write_bytes(gzip.compress(json.dumps(content, indent=0).encode(), mtime=0))


def make_words() -> None:
    """Write `words.txt`."""
    WORDS.write_text("\n".join(words_of_jar(simulator_jar())) + "\n", encoding="utf-8")


if __name__ == "__main__":
    {"panels": make_panels, "solutions": make_solutions, "words": make_words}[sys.argv[1]]()
