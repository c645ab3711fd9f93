"""Draws scenes: a part of a floor plan, items in places where they may be, and a goal that is not yet reached."""

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from alfworld.gen.goal_library import gdict
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sg_pipeline.environments.alfworld.generation.floor_plans import (
    FloorPlan,
    floor_plan,
    may_hold,
    may_start,
    possible_goals,
    source_kinds,
)
from sg_pipeline.environments.alfworld.generation.scene import Item, Receptacle, Scene, engine_order, shown_name
from sg_pipeline.environments.alfworld.rulebook import LAMPS, Goal

T = TypeVar("T")


class Difficulty(BaseModel):
    """How large and how crowded the scenes are. The defaults are small: a tiny policy can learn them.

    Attributes:
        min_receptacles, max_receptacles: bounds on receptacles per scene; a floor plan with fewer gives all it has.
        min_items, max_items: bounds on items per scene, lamps included; fewer if nothing else may be placed.
        max_receptacles_per_kind: limit of cabinets, drawers ... of one kind.
        max_items_per_kind: limit of mugs ... of one kind (at least two in pick_two_obj_and_place).
        max_items_per_receptacle: limit of items in one place at the start.
        duplicate_probability: that a further item is another one of a kind already present.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_receptacles: int = Field(default=4, ge=3)
    max_receptacles: int = Field(default=7, ge=3)
    min_items: int = Field(default=5, ge=2)
    max_items: int = Field(default=8, ge=2)
    max_receptacles_per_kind: int = Field(default=3, ge=1)
    max_items_per_kind: int = Field(default=2, ge=1, le=99)
    max_items_per_receptacle: int = Field(default=4, ge=2)
    duplicate_probability: float = Field(default=0.15, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _ordered(self) -> "Difficulty":
        for what in ("receptacles", "items"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if low > high:
                raise ValueError(f"min_{what} is {low}, more than max_{what}, which is {high}")
        return self


def sample_scene(rng: np.random.Generator, number: int, task_type: str, difficulty: Difficulty) -> Scene:
    """Draw one solvable scene that does not start solved, in the engine's order and with the engine's names.

    Args:
        rng: the only source of randomness; the same stream gives the same scene.
        number: AI2-THOR floor plan number.
        task_type: must suit the floor plan (`floor_plans_of`).
        difficulty: size limits.
    """
    plan = floor_plan(number)
    goals = possible_goals(plan, task_type)
    item_kind = pick(rng, sorted({goal.item_kind for goal in goals}))
    goal = pick(rng, [goal for goal in goals if goal.item_kind == item_kind])
    receptacles = _draw_receptacles(rng, plan, goal, difficulty)
    items = _draw_items(rng, plan, goal, receptacles, difficulty)
    template = pick(rng, gdict[task_type]["templates"])
    target = goal.target_kind.lower()
    return Scene(
        floor_plan=number,
        receptacles=tuple(sorted(receptacles, key=engine_order)),
        items=tuple(sorted(items, key=engine_order)),
        goal=goal,
        task_text=template.format(obj=item_kind.lower(), recep=target, toggle=target) + ".",
    )


def _draw_receptacles(
    rng: np.random.Generator, plan: FloorPlan, goal: Goal, difficulty: Difficulty
) -> list[Receptacle]:
    """Draw what the goal needs, then others: first a kind, then one of it, so that drawers do not fill every room."""
    available = {kind: min(count, difficulty.max_receptacles_per_kind) for kind, count in plan.receptacles}
    kinds = sorted(available)
    if goal.needs_lamp:
        needed = {pick(rng, [kind for kind in kinds if may_hold(kind, goal.target_kind)])}
    else:
        needed = {goal.target_kind}
    if goal.station:
        needed.add(goal.station)
    needed.add(pick(rng, source_kinds(kinds, goal)))
    chosen = Counter(needed)
    size = int(rng.integers(difficulty.min_receptacles, difficulty.max_receptacles + 1))
    while chosen.total() < size:
        rest = [kind for kind in kinds if chosen[kind] < available[kind]]
        if not rest:
            break
        chosen[pick(rng, rest)] += 1
    return [
        Receptacle(shown_name(kind, number), kind) for kind in sorted(chosen) for number in range(1, chosen[kind] + 1)
    ]


def _draw_items(
    rng: np.random.Generator, plan: FloorPlan, goal: Goal, receptacles: Sequence[Receptacle], difficulty: Difficulty
) -> list[Item]:
    """Place the goal's items and lamp, then others until the scene is full."""
    items: list[Item] = []
    counts: Counter[str] = Counter()
    load: Counter[str] = Counter()

    def places(kind: str) -> list[str]:
        return [
            receptacle.name
            for receptacle in receptacles
            if may_hold(receptacle.kind, kind)
            and (kind != goal.item_kind or may_start(receptacle.kind, goal))
            and load[receptacle.name] < difficulty.max_items_per_receptacle
        ]

    def put(kind: str) -> None:
        place = pick(rng, places(kind))
        counts[kind] += 1
        load[place] += 1
        items.append(Item(shown_name(kind, counts[kind]), kind, place))

    size = int(rng.integers(difficulty.min_items, difficulty.max_items + 1))
    if goal.needs_lamp:
        put(goal.target_kind)
    for _ in range(goal.count):
        put(goal.item_kind)
    while len(items) < size:
        again = [
            kind
            for kind in sorted(counts)
            if kind not in LAMPS and counts[kind] < difficulty.max_items_per_kind and places(kind)
        ]
        fresh = [kind for kind in plan.items + plan.lamps if kind not in counts and places(kind)]
        if not again and not fresh:
            break
        repeat = rng.random() < difficulty.duplicate_probability
        put(pick(rng, again if again and (repeat or not fresh) else fresh))
    return items


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Return one of the options, each equally likely."""
    return options[int(rng.integers(len(options)))]
