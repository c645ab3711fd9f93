"""The constants of ALFWorld's world: task types, appliances, which kind of thing may do what.

The tables are alfworld's own (`alfworld.gen.constants`). Kinds are AI2-THOR's names ("SinkBasin"); what a player reads
("sinkbasin 1") is in lower case.
"""

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
STATIONS = {task_type: APPLIANCES[verb][0] for task_type, verb in TREATMENTS.items()}
"""Task type -> where its item is cleaned, heated or cooled."""

LAMPS = frozenset(constants.VAL_ACTION_OBJECTS["Toggleable"])
SLICEABLE = frozenset(constants.VAL_ACTION_OBJECTS["Sliceable"])
KNIVES = frozenset({"Knife", "ButterKnife"})
CONTAINERS = frozenset(constants.MOVABLE_RECEPTACLES)
"""Items that could hold others (they never do); the engine describes them differently when examined."""
OPENABLE = frozenset(constants.OPENABLE_CLASS_SET)
"""Kinds that start closed; "Box" is an item, all others are receptacles."""

NOTHING_HAPPENS = "Nothing happens."


def can_contain(receptacle_kind: str, item_kind: str) -> bool:
    """Return whether the game lets an item of this kind be put into a receptacle of that kind."""
    return item_kind in constants.VAL_RECEPTACLE_OBJECTS.get(receptacle_kind, ())
