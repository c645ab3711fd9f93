"""The constants of ALFWorld's rules and wording that `rules.py` plays by.

The tables are alfworld's own (`alfworld.gen.constants`), the texts those of its grammar `alfred.twl2` (data version
2.1.2). Kinds are AI2-THOR's names ("SinkBasin"); `../memory.py` has the same knowledge in the words of the game.
"""

from collections.abc import Sequence

from alfworld.gen import constants

NOTHING_HAPPENS = "Nothing happens."
MIDDLE_OF_ROOM = "You are in the middle of a room. Looking quickly around you, you see {}."
HELP = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""

APPLIANCES: dict[str, tuple[str, frozenset[str]]] = {
    "clean": ("SinkBasin", frozenset(constants.VAL_ACTION_OBJECTS["Cleanable"])),
    "heat": ("Microwave", frozenset(constants.VAL_ACTION_OBJECTS["Heatable"])),
    "cool": ("Fridge", frozenset(constants.VAL_ACTION_OBJECTS["Coolable"])),
}
"""verb -> (the kind of receptacle that does it, the kinds of items it works on)."""

TREATMENTS = {
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
}
"""task type -> what it asks to be done to the item before it is placed; the other task types ask for nothing."""

LAMP_KINDS = frozenset(constants.VAL_ACTION_OBJECTS["Toggleable"])
SLICEABLE_KINDS = frozenset(constants.VAL_ACTION_OBJECTS["Sliceable"])
KNIFE_KINDS = frozenset({"Knife", "ButterKnife"})
CONTAINER_ITEM_KINDS = frozenset(constants.MOVABLE_RECEPTACLES)
"""Items that could hold others (they never do): the engine words their examination differently."""


def can_contain(receptacle_kind: str, item_kind: str) -> bool:
    """Return whether the game lets an item of this kind be put into a receptacle of that kind."""
    return item_kind in constants.VAL_RECEPTACLE_OBJECTS.get(receptacle_kind, ())


def enumerate_names(names: Sequence[str]) -> str:
    """Return a list of things as the engine words it: "nothing", "a mug 1", "a mug 1, and a pan 1"."""
    if not names:
        return "nothing"
    if len(names) == 1:
        return f"a {names[0]}"
    return ", ".join(f"a {name}" for name in names[:-1]) + f", and a {names[-1]}"
