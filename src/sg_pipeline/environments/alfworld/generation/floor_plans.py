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

from sg_pipeline.environments.alfworld.rulebook import APPLIANCES, CONTAINERS, LAMPS, TASK_TYPES, Goal, can_contain
from sg_pipeline.errors import ConfigurationError

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
        scene_type: "Kitchen", "LivingRoom", "Bedroom" or "Bathroom".
        receptacles: (kind, how many the plan has), sorted by kind.
        items: kinds of portable items, sorted.
        lamps: kinds of lamps, sorted.
    """

    scene_type: str
    receptacles: tuple[tuple[str, int], ...]
    items: tuple[str, ...]
    lamps: tuple[str, ...]


@cache
def floor_plan(number: int) -> FloorPlan:
    """Read one floor plan."""
    folder = Path(constants.__file__).parent / "layouts"
    places = json.loads((folder / f"FloorPlan{number}-openable.json").read_text(encoding="utf-8"))
    kinds = set(json.loads((folder / f"FloorPlan{number}-objects.json").read_text(encoding="utf-8")))
    # A place is "Cabinet|x|y|z" or "Sink|x|y|z|SinkBasin".
    counts = Counter(parts[4] if len(parts) > 4 else parts[0] for parts in (place.split("|") for place in places))
    for kind in kinds - set(counts) - CONTAINERS:
        if kind in constants.VAL_RECEPTACLE_OBJECTS:
            counts[kind] = _WITHOUT_POSITION.get(kind, 1)
    held = {item for kind in counts for item in constants.VAL_RECEPTACLE_OBJECTS.get(kind, ())}
    return FloorPlan(
        scene_type=next(name for name, numbers in constants.SCENE_TYPE.items() if number in numbers),
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
    numbers = sorted(number for numbers in constants.SCENE_TYPE.values() for number in numbers)
    return tuple(
        number
        for number in numbers
        if (number in UNSEEN_FLOOR_PLANS) == unseen and possible_goals(floor_plan(number), task_type)
    )


def possible_goals(plan: FloorPlan, task_type: str) -> list[Goal]:
    """Return every goal that a floor plan allows for a task type, sorted."""
    # The original data set has each task type in certain rooms only.
    if plan.scene_type not in constants.GOALS_VALID[task_type]:
        return []
    kinds = [kind for kind, _ in plan.receptacles]
    targets = plan.lamps if task_type == "look_at_obj_in_light" else kinds
    goals = (Goal(task_type, item, target) for item in plan.items for target in targets)
    return [goal for goal in goals if _possible(goal, kinds)]


def _possible(goal: Goal, kinds: Sequence[str]) -> bool:
    """Return whether receptacles of these kinds can hold, treat and take what a goal is about."""
    if goal.treatment and (goal.station not in kinds or goal.item_kind not in APPLIANCES[goal.treatment][1]):
        return False
    if goal.needs_lamp:
        reachable = any(may_hold(kind, goal.target_kind) for kind in kinds)
    else:
        reachable = goal.target_kind != goal.station and may_hold(goal.target_kind, goal.item_kind)
    return reachable and bool(source_kinds(kinds, goal))


def source_kinds(kinds: Sequence[str], goal: Goal) -> list[str]:
    """Return the kinds of receptacles in which the goal's items may start."""
    return [kind for kind in kinds if may_hold(kind, goal.item_kind) and may_start(kind, goal)]


def may_start(receptacle_kind: str, goal: Goal) -> bool:
    """Return whether a goal item may start there: at the target only if it must be cleaned, heated or cooled first."""
    return goal.treatment is not None or receptacle_kind != goal.target_kind


def may_hold(receptacle_kind: str, item_kind: str) -> bool:
    """Return whether an item (or lamp) of this kind may stand in a receptacle of that kind."""
    if item_kind in _LAMP_HOSTS:
        return receptacle_kind in _LAMP_HOSTS[item_kind]
    return can_contain(receptacle_kind, item_kind)
