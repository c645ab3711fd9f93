"""Which goals a floor plan allows, and where the items of a goal may start."""

from collections.abc import Sequence
from functools import cache

from sg_pipeline.environments.alfworld.generation import layouts
from sg_pipeline.environments.alfworld.generation.scene import TASK_TYPES, Goal
from sg_pipeline.errors import ConfigurationError

STATIONS = {
    "pick_clean_then_place_in_recep": "SinkBasin",
    "pick_heat_then_place_in_recep": "Microwave",
    "pick_cool_then_place_in_recep": "Fridge",
}
"""Where an item is cleaned, heated, cooled."""

_PROCESSABLE = {
    "pick_clean_then_place_in_recep": layouts.CLEANABLE,
    "pick_heat_then_place_in_recep": layouts.HEATABLE,
    "pick_cool_then_place_in_recep": layouts.COOLABLE,
}


@cache
def floor_plans_of(task_type: str, unseen: bool) -> tuple[int, ...]:
    """Return the floor plans that can host a task type: of the unseen four, or of all others.

    Raises:
        ConfigurationError: there is no such task type.
    """
    if task_type not in TASK_TYPES:
        raise ConfigurationError(f"Unknown ALFWorld task type {task_type!r}: use one of {', '.join(TASK_TYPES)}.")
    return tuple(
        number
        for number in layouts.floor_plan_numbers()
        if (number in layouts.UNSEEN_FLOOR_PLANS) == unseen and possible_goals(layouts.floor_plan(number), task_type)
    )


def possible_goals(plan: layouts.FloorPlan, task_type: str) -> list[tuple[str, str]]:
    """Return every (item kind, target kind) that a floor plan allows for a task type, sorted."""
    if not plan.suits(task_type):
        return []
    kinds = [kind for kind, _ in plan.receptacles]
    station = STATIONS.get(task_type)
    if station is not None and station not in kinds:
        return []
    goals = []
    for item in plan.items:
        if station is not None and item not in _PROCESSABLE[task_type]:
            continue
        for target in plan.lamps if task_type == "look_at_obj_in_light" else kinds:
            if task_type == "look_at_obj_in_light":
                possible = any(layouts.may_hold(kind, target) for kind in kinds)
            else:
                possible = target != station and layouts.may_hold(target, item)
            if possible and source_kinds(kinds, Goal(task_type, item, target)):
                goals.append((item, target))
    return goals


def source_kinds(kinds: Sequence[str], goal: Goal) -> list[str]:
    """Return the kinds of receptacles in which the goal's items may start."""
    return [kind for kind in kinds if layouts.may_hold(kind, goal.item_kind) and may_start(kind, goal)]


def may_start(receptacle_kind: str, goal: Goal) -> bool:
    """Return whether a goal item may start there: at the target only if it is yet to be cleaned, heated or cooled."""
    return goal.task_type in STATIONS or receptacle_kind != goal.target_kind
