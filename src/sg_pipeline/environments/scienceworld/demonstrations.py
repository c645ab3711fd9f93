"""Guided demonstrations: proven solutions played in the simulator, with a judged sub-goal before every action.

A mistake may replace a turn: a look around, a room that is not needed, or a later step tried too early, where its thing
is not, with a sub-goal as wrong as the action (`environments.base.lapse`). None of them changes what the solution
needs, so the expert continues from there: back to its room, then the next step. The verdict on an action, the polarity
of the guidance after it, is the simulator's if it has one:

    positive   the official score rose
    negative   it fell, the action was not understood, or the rest of the solution got no shorter
    neutral    the rest of the solution got shorter

Demonstrations are played once and recorded: a warm start needs tens of thousands, and the simulator takes 0.1 s for
one. A demonstration is one of finitely many: a solved task, a share of mistakes, and one of `VARIANTS` draws of them.
Recordings are in one file next to the compiled games of other benchmarks, under the digest of everything that made it.
"""

import hashlib
import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from sg_pipeline.environments.base import Demonstration, DemoTurn, StepResult, lapse
from sg_pipeline.environments.scienceworld.environment import ScienceWorldEnvironment
from sg_pipeline.environments.scienceworld.panel import make_task, parse_path, simulator_digest
from sg_pipeline.errors import DataError
from sg_pipeline.randomness import stream
from sg_pipeline.trajectories.types import Polarity, Task

ROOMS = (
    *("art studio", "bathroom", "bedroom", "foundry", "greenhouse"),
    *("hallway", "kitchen", "living room", "outside", "workshop"),
)
IDLE = ("inventory", "look around")

_ROOM = re.compile(r"This (?:room|outside location) is called the ([a-z ]+)\.")
_TELEPORT = re.compile(r"teleport to (.+)")
_MOVE = re.compile(r"move (.+?)(?: in inventory)? to (.+ box)")

VARIANTS = 6
"""Different draws of mistakes for a task and a share of mistakes."""

FORMAT = 2
"""Raise it when demonstrations are played differently."""

_SAVED = TypeAdapter(Demonstration)


class Move(NamedTuple):
    """One step of a plan: where it is made, and the command."""

    room: str
    action: str


def make_environment() -> ScienceWorldEnvironment:
    """Return an environment that shows what the tiny policy reads: no lists of actions and things.

    Rooms name their things, and it learns the actions. A run of that policy shows it the same.
    """
    return ScienceWorldEnvironment(show_actions=False, show_objects=False)


def make_plan(solution: Sequence[str], first_room: str) -> list[Move]:
    """Return the steps of a solution with their rooms; teleports follow from those."""
    room, plan = first_room, []
    for action in solution:
        teleport = _TELEPORT.fullmatch(action)
        if teleport:
            room = teleport[1]
        else:
            plan.append(Move(room, action))
    return plan


def room_shown(observation: str) -> str | None:
    """Return the room that an observation describes; None if it describes none."""
    match = _ROOM.search(observation)
    return match[1] if match else None


def demonstrate(
    environment: ScienceWorldEnvironment,
    task: Task,
    solution: Sequence[str],
    rng: np.random.Generator,
    noise: float,
    max_turns: int = 30,
) -> Demonstration:
    """Play `task` by its solution.

    It is lost after `max_turns`, or if time lost by mistakes has changed a thing's name.

    Args:
        environment: see `make_environment`.
        task, solution: what is played, and how (`benchmark.read_solutions`).
        rng, noise: see `base.Demonstrator`.
        max_turns: the episode's limit.
    """
    result = environment.reset(task, 0)
    forms = result.forms
    here = room_shown(result.observation) or ""
    plan = make_plan(solution, here)
    polarity = Polarity.NEUTRAL
    turns: list[DemoTurn] = []
    while plan and not result.done and len(turns) < max_turns:
        wanted = subgoal(plan, here), _next_action(plan, here)
        aim, action = lapse(turns, noise, rng, partial(_mistaken, plan, here, rng)) or wanted
        is_noise = action != wanted[1]
        turns.append(DemoTurn(result.observation, aim if is_noise else wanted[0], polarity, action, is_noise))
        before, left = result.score, _left(plan, here)
        result = environment.step(action)
        here = room_shown(result.observation) or here
        if not is_noise and action == plan[0].action:
            plan = plan[1:]
        polarity = _judge(result, before, _left(plan, here) < left)
    return Demonstration(tuple(turns), result.won, result.observation, polarity, forms)


def subgoal(plan: Sequence[Move], here: str) -> str:
    """Return what the next action is for, in few words."""
    move = plan[0]
    putting = _MOVE.fullmatch(move.action)
    if here != move.room:
        return f"bring it to {move.room}" if putting else f"search {move.room}"
    if putting:
        return f"put {putting[1]} in {putting[2]}"
    return re.sub(r"^pick up\b", "take", move.action)


def mistake(plan: Sequence[Move], here: str, rng: np.random.Generator) -> str:
    """Return an action that does not help and does no lasting harm."""
    elsewhere = [move.action for move in plan if move.room != here]
    kind = int(rng.integers(3 if elsewhere else 2))
    if kind == 2:
        return elsewhere[int(rng.integers(len(elsewhere)))]
    if kind == 1:
        rooms = [room for room in ROOMS if room not in (here, plan[0].room)]
        return f"teleport to {rooms[int(rng.integers(len(rooms)))]}"
    return IDLE[int(rng.integers(len(IDLE)))]


def _mistaken(plan: Sequence[Move], here: str, rng: np.random.Generator) -> tuple[str, str]:
    """Return the sub-goal and the action of a mistake."""
    action = mistake(plan, here, rng)
    teleport = _TELEPORT.fullmatch(action)
    return (f"search {teleport[1]}" if teleport else subgoal([Move(here, action)], here)), action


def _next_action(plan: Sequence[Move], here: str) -> str:
    return plan[0].action if plan[0].room == here else f"teleport to {plan[0].room}"


def _left(plan: Sequence[Move], here: str) -> int:
    """Return how many actions are left, changes of room included."""
    rooms = [here, *(move.room for move in plan)]
    return len(plan) + sum(first != second for first, second in pairwise(rooms))


def _judge(result: StepResult, before: float, nearer: bool) -> Polarity:
    if result.score > before:
        return Polarity.POSITIVE
    if result.score < before or not result.valid or not nearer:
        return Polarity.NEGATIVE
    return Polarity.NEUTRAL


class ScienceWorldDemonstrator:
    """The expert of a warm start (see `base.Demonstrator`)."""

    def __init__(self, solutions: Mapping[str, tuple[str, ...]], folder: Path) -> None:
        """Open the recordings in `folder`. Raises `DataError` if they cannot be opened.

        `solutions` are those of training tasks: "NAME/VARIATION" -> actions.
        """
        self._solutions = solutions
        by_type: defaultdict[str, list[str]] = defaultdict(list)
        for key in sorted(solutions):
            by_type[key.split("/")[0]].append(key)
        self._keys = [by_type[name] for name in sorted(by_type)]
        listing = json.dumps([FORMAT, VARIANTS, simulator_digest(), sorted(solutions.items())])
        path = folder / f"scienceworld-demonstrations-{hashlib.sha256(listing.encode()).hexdigest()[:12]}.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # A writer waits for another: two runs may record at once, and both play the same.
            self._recordings = sqlite3.connect(path, timeout=60.0, isolation_level=None)
            self._recordings.execute("CREATE TABLE IF NOT EXISTS played (what TEXT PRIMARY KEY, demonstration TEXT)")
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"the recorded demonstrations {path} cannot be used ({error}); remove the file") from error
        self._environment = make_environment()

    def demonstrate(self, number: int, rng: np.random.Generator, noise: float) -> Demonstration:
        """Play demonstration `number`, or read its recording; see `Demonstrator.demonstrate`.

        One that is lost because of mistakes is played without them. Raises `DataError` if the recordings are damaged.
        """
        keys = self._keys[number % len(self._keys)]
        key = keys[int(rng.integers(len(keys)))]
        variant = int(rng.integers(VARIANTS))
        if noise > 0 and (demonstration := self._recorded(key, noise, variant)).won:
            return demonstration
        return self._recorded(key, 0.0, 0)

    def close(self) -> None:
        """Close the recordings and release the world."""
        self._environment.close()
        self._recordings.close()

    def _recorded(self, key: str, noise: float, variant: int) -> Demonstration:
        what = f"{key} {noise!r} {variant}"
        try:
            found = self._recordings.execute("SELECT demonstration FROM played WHERE what = ?", (what,)).fetchall()
            if found:
                return _SAVED.validate_json(found[0][0])
            task = make_task(*parse_path(key, key), "train")
            chance = stream(0, "scienceworld demonstration", key, repr(noise), variant)
            made = demonstrate(self._environment, task, self._solutions[key], chance, noise)
            saved = _SAVED.dump_json(made).decode()
            self._recordings.execute("INSERT OR REPLACE INTO played VALUES (?, ?)", (what, saved))
            return made
        except (sqlite3.Error, ValidationError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise DataError(
                f"the recorded demonstration {what!r} cannot be read or written ({reason}); remove the file "
                "scienceworld-demonstrations-*.sqlite in the folder of compiled games"
            ) from error
