"""What stands in each AI2-THOR floor plan, read from the layouts that the alfworld package ships.

`gen/layouts/FloorPlanN-openable.json` names the receptacles of plan N that an agent can walk up to ("Cabinet|x|y|z"),
`FloorPlanN-objects.json` lists every object type of the plan. Which receptacle may hold which item comes from
`alfworld.gen.constants`, as in the original data set.
"""

import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alfworld.gen import constants

from sg_pipeline.errors import DataError

UNSEEN_FLOOR_PLANS = (10, 219, 308, 424)
"""The floor plans of the official valid_unseen split; no other split of ours uses them."""

LAMPS = tuple(sorted(constants.VAL_ACTION_OBJECTS["Toggleable"]))
CLEANABLE = frozenset(constants.VAL_ACTION_OBJECTS["Cleanable"])
HEATABLE = frozenset(constants.VAL_ACTION_OBJECTS["Heatable"])
COOLABLE = frozenset(constants.VAL_ACTION_OBJECTS["Coolable"])
SLICEABLE = frozenset(constants.VAL_ACTION_OBJECTS["Sliceable"])
CONTAINERS = frozenset(constants.MOVABLE_RECEPTACLES)
"""Items that could hold other items; the engine describes them differently when examined."""

# Box is an openable item, not a receptacle one can walk to.
OPENABLE = frozenset(constants.OPENABLE_CLASS_SET) - CONTAINERS

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

    def suits(self, task_type: str) -> bool:
        """Return whether the original data set has this task type in this kind of room."""
        return self.scene_type in constants.GOALS_VALID[task_type]


def may_hold(receptacle_kind: str, item_kind: str) -> bool:
    """Return whether an item (or lamp) of this kind may stand in a receptacle of that kind."""
    if item_kind in _LAMP_HOSTS:
        return receptacle_kind in _LAMP_HOSTS[item_kind]
    return item_kind in constants.VAL_RECEPTACLE_OBJECTS.get(receptacle_kind, ())


@cache
def floor_plan(number: int) -> FloorPlan:
    """Read one floor plan. Raises `DataError` where alfworld does not ship it."""
    folder = Path(constants.__file__).parent / "layouts"
    try:
        places = json.loads((folder / f"FloorPlan{number}-openable.json").read_text(encoding="utf-8"))
        kinds = set(json.loads((folder / f"FloorPlan{number}-objects.json").read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise DataError(
            f"Floor plan {number} is not among the layouts of the installed alfworld package "
            f"({error.filename} is missing): use one of {floor_plan_numbers()[0]} to {floor_plan_numbers()[-1]}."
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
        items=tuple(sorted((kinds & held) - set(LAMPS))),
        lamps=tuple(sorted(kinds & set(LAMPS))),
    )


@cache
def floor_plan_numbers() -> tuple[int, ...]:
    """Return the numbers of all floor plans, ascending."""
    return tuple(sorted(number for numbers in constants.SCENE_TYPE.values() for number in numbers))


def _receptacle_kind(place: str) -> str:
    """Return the kind of "Cabinet|x|y|z" or of "Sink|x|y|z|SinkBasin"."""
    parts = place.split("|")
    return parts[4] if len(parts) > 4 else parts[0]
