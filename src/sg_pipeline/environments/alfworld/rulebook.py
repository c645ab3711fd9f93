"""The constants of ALFWorld's world: task types, appliances, which kind of thing may do what.

The tables are alfworld's own (`alfworld.gen.constants`). Kinds are AI2-THOR's names ("SinkBasin"); what a player reads
("sinkbasin 1") is in lower case.
"""

from dataclasses import dataclass
from typing import NamedTuple

from alfworld.gen import constants

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
TREATMENTS = {
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
}
"""Task type -> what is done to the item before it is placed; the other task types need nothing."""

APPLIANCES: dict[str, tuple[str, frozenset[str]]] = {
    "clean": ("SinkBasin", frozenset(constants.VAL_ACTION_OBJECTS["Cleanable"])),
    "heat": ("Microwave", frozenset(constants.VAL_ACTION_OBJECTS["Heatable"])),
    "cool": ("Fridge", frozenset(constants.VAL_ACTION_OBJECTS["Coolable"])),
}
"""Verb -> (the kind of receptacle that does it, the kinds of items it works on)."""

LAMPS = frozenset(constants.VAL_ACTION_OBJECTS["Toggleable"])
SLICEABLE = frozenset(constants.VAL_ACTION_OBJECTS["Sliceable"])
KNIVES = frozenset({"Knife", "ButterKnife"})
CONTAINERS = frozenset(constants.MOVABLE_RECEPTACLES)
"""Items that could hold others (they never do); the engine describes them differently when examined."""
OPENABLE = frozenset(constants.OPENABLE_CLASS_SET)
"""Kinds that start closed; "Box" is an item, all others are receptacles."""

_CAN_CONTAIN = {
    receptacle.lower(): frozenset(item.lower() for item in items)
    for receptacle, items in constants.VAL_RECEPTACLE_OBJECTS.items()
}

NOTHING_HAPPENS = "Nothing happens."


class Answer(NamedTuple):
    """An engine's text, whether the goal is reached now, whether the command was possible."""

    observation: str
    won: bool
    valid: bool


@dataclass(frozen=True, slots=True)
class Goal:
    """What solves a game; its kinds are in lower case where they were read from the task's sentence.

    Attributes:
        task_type: one of `TASK_TYPES`.
        item_kind: the kind of item to bring (or to look at).
        target_kind: the kind of receptacle to bring it to; the kind of lamp for look_at_obj_in_light.
    """

    task_type: str
    item_kind: str
    target_kind: str

    @property
    def needs_lamp(self) -> bool:
        """Whether the item is to be looked at under a lamp, not brought anywhere."""
        return self.task_type == "look_at_obj_in_light"

    @property
    def count(self) -> int:
        """How many items are wanted."""
        return 2 if self.task_type == "pick_two_obj_and_place" else 1

    @property
    def treatment(self) -> str | None:
        """What is done to the item before it is placed: "clean", "heat", "cool" or nothing."""
        return TREATMENTS.get(self.task_type)

    @property
    def station(self) -> str | None:
        """The kind of receptacle in which the item is treated."""
        return APPLIANCES[self.treatment][0] if self.treatment else None


def can_contain(receptacle_kind: str, item_kind: str) -> bool:
    """Return whether the game lets an item of this kind be put into a receptacle of that kind, in either spelling."""
    return item_kind.lower() in _CAN_CONTAIN.get(receptacle_kind.lower(), ())
