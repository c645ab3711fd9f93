"""The AI2-THOR floor plans that the alfworld package ships, and the goals that each allows.

`gen/layouts/FloorPlanN-openable.json` names the receptacles of plan N that an agent can walk up to ("Cabinet|x|y|z"),
`FloorPlanN-objects.json` lists every object type of the plan. Which receptacle may hold which item comes from
`alfworld.gen.constants`, as in the original data set.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alfworld.gen import constants

from sg_pipeline.environments.alfworld.generation.scene import Goal
from sg_pipeline.environments.alfworld.rulebook import (
    APPLIANCES,
    CONTAINERS,
    LAMPS,
    STATIONS,
    TASK_TYPES,
    TREATMENTS,
    can_contain,
)
from sg_pipeline.errors import ConfigurationError, DataError

UNSEEN_FLOOR_PLANS = (10, 219, 308, 424)
"""The floor plans of the official valid_unseen split; no other split of ours uses them."""

# Receptacles that the layouts' position files leave out although the plan has them; the official games have
# four stove burners and one each of the others.
_WITHOUT_POSITION = {"StoveBurner": 4}

# The official games hold lamps on furniture like this; the constants do not say.
_LAMP_HOSTS = {
    "DeskLamp": frozenset({"Desk", "SideTable", "Dresser", "Shelf", "CoffeeTable", "DiningTable"}),
    "FloorLamp": frozenset({"SideTable", "CoffeeTable", "Dresser", "Desk", "TVStand", "DiningTable", "Sofa"}),
}


@dataclass(frozen=True, slots=True)
class FloorPlan:
    """What a scene of this floor plan may be made of.

    Attributes:
        number: AI2-THOR's number.
        scene_type: "Kitchen", "LivingRoom", "Bedroom" or "Bathroom".
        receptacles: (kind, how many the plan has), sorted by kind.
        items: kinds of portable items, sorted.
        lamps: kinds of lamps, sorted.
    """

    number: int
    scene_type: str
    receptacles: tuple[tuple[str, int], ...]
    items: tuple[str, ...]
    lamps: tuple[str, ...]


@cache
def floor_plan(number: int) -> FloorPlan:
    """Read one floor plan. Raises `DataError` if alfworld does not ship it."""
    folder = Path(constants.__file__).parent / "layouts"
    try:
        places = json.loads((folder / f"FloorPlan{number}-openable.json").read_text(encoding="utf-8"))
        kinds = set(json.loads((folder / f"FloorPlan{number}-objects.json").read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise DataError(
            f"Floor plan {number} is not among the layouts of the installed alfworld package "
            f"({error.filename} is missing): use one of {_numbers()[0]} to {_numbers()[-1]}."
        ) from error
    scene_type = next(name for name, numbers in constants.SCENE_TYPE.items() if number in numbers)
    counts = Counter(_receptacle_kind(place) for place in places)
    for kind in kinds - set(counts) - CONTAINERS:
        if kind in constants.VAL_RECEPTACLE_OBJECTS:
            counts[kind] = _WITHOUT_POSITION.get(kind, 1)
    held = {item for kind in counts for item in constants.VAL_RECEPTACLE_OBJECTS.get(kind, ())}
    return FloorPlan(
        number=number,
        scene_type=scene_type,
        receptacles=tuple(sorted(counts.items())),
        items=tuple(sorted((kinds & held) - LAMPS)),
        lamps=tuple(sorted(kinds & LAMPS)),
    )


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
        for number in _numbers()
        if (number in UNSEEN_FLOOR_PLANS) == unseen and possible_goals(floor_plan(number), task_type)
    )


def possible_goals(plan: FloorPlan, task_type: str) -> list[tuple[str, str]]:
    """Return every (item kind, target kind) that a floor plan allows for a task type, sorted."""
    # The original data set has each task type in certain rooms only.
    if plan.scene_type not in constants.GOALS_VALID[task_type]:
        return []
    kinds = [kind for kind, _ in plan.receptacles]
    station = STATIONS.get(task_type)
    if station is not None and station not in kinds:
        return []
    goals = []
    for item in plan.items:
        if station is not None and item not in APPLIANCES[TREATMENTS[task_type]][1]:
            continue
        for target in plan.lamps if task_type == "look_at_obj_in_light" else kinds:
            if task_type == "look_at_obj_in_light":
                possible = any(may_hold(kind, target) for kind in kinds)
            else:
                possible = target != station and may_hold(target, item)
            if possible and source_kinds(kinds, Goal(task_type, item, target)):
                goals.append((item, target))
    return goals


def source_kinds(kinds: Sequence[str], goal: Goal) -> list[str]:
    """Return the kinds of receptacles in which the goal's items may start."""
    return [kind for kind in kinds if may_hold(kind, goal.item_kind) and may_start(kind, goal)]


def may_start(receptacle_kind: str, goal: Goal) -> bool:
    """Return whether a goal item may start there: at the target only if it must be cleaned, heated or cooled first."""
    return goal.task_type in STATIONS or receptacle_kind != goal.target_kind


def may_hold(receptacle_kind: str, item_kind: str) -> bool:
    """Return whether an item (or lamp) of this kind may stand in a receptacle of that kind."""
    if item_kind in _LAMP_HOSTS:
        return receptacle_kind in _LAMP_HOSTS[item_kind]
    return can_contain(receptacle_kind, item_kind)


@cache
def _numbers() -> tuple[int, ...]:
    return tuple(sorted(number for numbers in constants.SCENE_TYPE.values() for number in numbers))


def _receptacle_kind(place: str) -> str:
    """Return the kind of "Cabinet|x|y|z" or of "Sink|x|y|z|SinkBasin"."""
    parts = place.split("|")
    return parts[4] if len(parts) > 4 else parts[0]
