"""What a generated game consists of, before it becomes PDDL: receptacles, items, a goal; and how the engine names them.

The same `Scene` makes the game file that the real engine plays (`problem.py`) and the plain Python model of the rules
that plays demonstrations (`../rules.py`). Names are the ones that the game shows ("cabinet 1").

alfworld's Demangler sorts the PDDL ids and gives the *highest* number of a kind to the first id; every listing ("you
see a mug 2, and a mug 1") is sorted by id as well. Ids made here count downwards, so the thing shown as "mug 2" has an
id that sorts before that of "mug 1".
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sg_pipeline.environments.alfworld.rulebook import LAMPS, OPENABLE, Goal

# A basin's id must read Sink_bar_<anything>_bar_SinkBasin: the Demangler joins "sink" and "basin" to its name.
_BASINS = {"SinkBasin": "Sink", "BathtubBasin": "Bathtub"}
_HIGHEST = 99


@dataclass(frozen=True, slots=True)
class Receptacle:
    """Something that holds items: its name as the game shows it, "cabinet 1", and its AI2-THOR type, "Cabinet"."""

    name: str
    kind: str

    @property
    def openable(self) -> bool:
        """Whether it starts closed and must be opened to see or reach what it holds."""
        return self.kind in OPENABLE


@dataclass(frozen=True, slots=True)
class Item:
    """Something to carry (or a lamp to switch on), named like a receptacle, and the name of what holds it at first."""

    name: str
    kind: str
    receptacle: str

    @property
    def portable(self) -> bool:
        """Whether it can be taken; lamps are fixed."""
        return self.kind not in LAMPS


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole game.

    Attributes:
        floor_plan: AI2-THOR floor plan number it was taken from (1-30 kitchens, 201-230 living rooms, ...).
        receptacles, items: in the order in which the engine lists them.
        goal: what solves the game.
        task_text: the sentence that states the goal, "put a clean mug in shelf."
    """

    floor_plan: int
    receptacles: tuple[Receptacle, ...]
    items: tuple[Item, ...]
    goal: Goal
    task_text: str

    def things(self) -> Iterator[Receptacle | Item]:
        """Yield all receptacles and items."""
        yield from self.receptacles
        yield from self.items


def shown_name(kind: str, number: int) -> str:
    """Return what the game calls the n-th thing of a kind: "sinkbasin 1"."""
    return f"{kind.lower()} {number}"


def pddl_id(thing: Receptacle | Item) -> str:
    """Return the PDDL id of a thing: "Mug_bar_98" for "mug 1"."""
    middle = f"_bar_{_HIGHEST - int(thing.name.rsplit(' ', 1)[1]):02d}"
    if thing.kind in _BASINS:
        return f"{_BASINS[thing.kind]}{middle}_bar_{thing.kind}"
    return f"{thing.kind}{middle}"


def engine_order(thing: Receptacle | Item) -> str:
    """Return the key by which the engine lists things: the lower-cased id."""
    return pddl_id(thing).lower()
