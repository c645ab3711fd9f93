"""Guided demonstrations: proven solutions played in the simulator, with a judged sub-goal before every action.

A mistake may replace an action: a look around, a room that is not needed, or a later step tried too early, where its
thing is not. None of them changes what the solution needs, so that it goes on from there: back to its room, then the
next step. The verdict on an action, the polarity of the guidance after it, is the simulator's where it has one:

    positive   the official score rose
    negative   it fell, the action was not understood, or the rest of the solution got no shorter
    neutral    the rest of the solution got shorter
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sg_pipeline.environments.base import StepResult
from sg_pipeline.environments.demonstration import Demonstration, DemoTurn
from sg_pipeline.environments.scienceworld.adapter import ScienceWorldEnvironment
from sg_pipeline.trajectories.types import Polarity, Task

ROOMS = (
    *("art studio", "bathroom", "bedroom", "foundry", "greenhouse"),
    *("hallway", "kitchen", "living room", "outside", "workshop"),
)
IDLE = ("inventory", "look around")

_ROOM = re.compile(r"This (?:room|outside location) is called the ([a-z ]+)\.")
_TELEPORT = re.compile(r"teleport to (.+)")
_MOVE = re.compile(r"move (.+?)(?: in inventory)? to (.+ box)")


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a plan.

    Attributes:
        room: where it is made.
        action: the command.
    """

    room: str
    action: str


def make_environment() -> ScienceWorldEnvironment:
    """Return an environment that shows what the tiny policy is to read: no lists of actions and things.

    Rooms name their things, and the actions are what it learns. A run of that policy shows it the same.
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
    """Return the room that an observation describes; None where it describes none."""
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

    Args:
        environment: see `make_environment`.
        task: what is played.
        solution: see `gold.read_paths`.
        rng: the only source of chance.
        noise: probability, per turn, that a mistake replaces the solution's action.
        max_turns: the episode's limit.

    Returns:
        The demonstration; lost where the limit came first, or where time lost by mistakes has changed a thing's name.
    """
    result = environment.reset(task, 0)
    here = room_shown(result.observation) or ""
    plan = make_plan(solution, here)
    polarity = Polarity.NEUTRAL
    turns: list[DemoTurn] = []
    while plan and not result.done and len(turns) < max_turns:
        wanted = _next_action(plan, here)
        action = wanted
        if noise > 0 and rng.random() < noise:
            action = mistake(plan, here, rng)
        turns.append(DemoTurn(result.observation, subgoal(plan, here), polarity, action, action != wanted))
        before, left = result.score, _left(plan, here)
        result = environment.step(action)
        here = room_shown(result.observation) or here
        if action == wanted == plan[0].action:
            plan = plan[1:]
        polarity = _judge(result, before, _left(plan, here) < left)
    return Demonstration(tuple(turns), result.won, result.observation, polarity)


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
