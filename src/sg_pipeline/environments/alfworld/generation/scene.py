"""What a generated game consists of, before it becomes PDDL: receptacles, items, a goal.

The same `Scene` feeds the game file that the real engine plays (`problem.py`) and the plain Python model of the
rules that makes demonstrations (`../rules.py`). Names are the ones that the game shows ("cabinet 1").
"""

from dataclasses import dataclass

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)


@dataclass(frozen=True, slots=True)
class Receptacle:
    """Something that holds items.

    Attributes:
        name: as the game shows it, "cabinet 1".
        kind: AI2-THOR type, "Cabinet".
        openable: it starts closed and must be opened to see or reach what it holds.
    """

    name: str
    kind: str
    openable: bool


@dataclass(frozen=True, slots=True)
class Item:
    """Something to carry (or a lamp to switch on).

    Attributes:
        name: as the game shows it, "mug 1".
        kind: AI2-THOR type, "Mug".
        receptacle: name of the receptacle that holds it at the start.
        portable: False for fixed lamps.
    """

    name: str
    kind: str
    receptacle: str
    portable: bool = True


@dataclass(frozen=True, slots=True)
class Goal:
    """What wins the game.

    Attributes:
        task_type: one of `TASK_TYPES`.
        item_kind: the kind of item to bring (or to look at).
        target_kind: the kind of receptacle to bring it to; the kind of lamp for look_at_obj_in_light.
    """

    task_type: str
    item_kind: str
    target_kind: str


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole game.

    Attributes:
        floor_plan: AI2-THOR floor plan number it was taken from (1-30 kitchens, 201-230 living rooms, ...).
        receptacles, items: in the order in which the engine lists them.
        goal: what wins.
        task_text: the sentence that states the goal, "put a clean mug in shelf."
    """

    floor_plan: int
    receptacles: tuple[Receptacle, ...]
    items: tuple[Item, ...]
    goal: Goal
    task_text: str
