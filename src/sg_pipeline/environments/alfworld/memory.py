"""What a player knows: everything that it has read so far, and nothing else.

`Memory` reads the game's texts (wording of data versions 2.1.1 and 2.1.2) and keeps where things were seen. The
scripted expert and `progress.py` decide on it; neither looks into the simulator. All names and kinds are as the game
shows them, in lower case.
"""

import re
from dataclasses import dataclass

from alfworld.gen import constants

from sg_pipeline.environments.alfworld.rulebook import NOTHING_HAPPENS, TREATMENTS
from sg_pipeline.errors import DataError

_CAN_CONTAIN = {
    receptacle.lower(): frozenset(item.lower() for item in items)
    for receptacle, items in constants.VAL_RECEPTACLE_OBJECTS.items()
}

PUT_VERBS = ("move", "put")
"""Verbs for putting something down: in data version 2.1.2, and in 2.1.1."""

# The sentences of alfworld's goal library, most specific first; "object", "target" are kinds.
_SENTENCES = (
    ("pick_clean_then_place_in_recep", r"put a clean (?P<item>\w+) in (?P<target>\w+)"),
    ("pick_clean_then_place_in_recep", r"clean some (?P<item>\w+) and put it in (?P<target>\w+)"),
    ("pick_heat_then_place_in_recep", r"put a hot (?P<item>\w+) in (?P<target>\w+)"),
    ("pick_heat_then_place_in_recep", r"heat some (?P<item>\w+) and put it in (?P<target>\w+)"),
    ("pick_cool_then_place_in_recep", r"put a cool (?P<item>\w+) in (?P<target>\w+)"),
    ("pick_cool_then_place_in_recep", r"cool some (?P<item>\w+) and put it in (?P<target>\w+)"),
    ("pick_two_obj_and_place", r"put two (?P<item>\w+) in (?P<target>\w+)"),
    ("pick_two_obj_and_place", r"find two (?P<item>\w+) and put them in (?P<target>\w+)"),
    ("look_at_obj_in_light", r"look at (?P<item>\w+) under the (?P<target>\w+)"),
    ("look_at_obj_in_light", r"examine the (?P<item>\w+) with the (?P<target>\w+)"),
    ("pick_and_place_simple", r"put a (?P<item>\w+) in (?P<target>\w+)"),
    ("pick_and_place_simple", r"put some (?P<item>\w+) on (?P<target>\w+)"),
)
_PATTERNS = tuple((task_type, re.compile(sentence + r"\.?")) for task_type, sentence in _SENTENCES)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the task sentence asks for.

    Attributes:
        task_type: one of ALFWorld's six.
        item_kind: "mug".
        target_kind: kind of receptacle to bring it to, or of lamp to look at it with.
        treatment: "clean", "heat", "cool" or None.
        count: how many items: 2 for pick_two_obj_and_place, else 1.
    """

    task_type: str
    item_kind: str
    target_kind: str
    treatment: str | None
    count: int

    @property
    def needs_lamp(self) -> bool:
        """Whether the item is to be looked at under a lamp, not brought anywhere."""
        return self.task_type == "look_at_obj_in_light"


def read_wish(sentence: str) -> Wish:
    """Parse a task sentence of alfworld's goal library. Raises `DataError` for any other sentence."""
    for task_type, pattern in _PATTERNS:
        found = pattern.fullmatch(sentence.strip())
        if found:
            count = 2 if task_type == "pick_two_obj_and_place" else 1
            return Wish(task_type, found["item"], found["target"], TREATMENTS.get(task_type), count)
    raise DataError(
        f"The task sentence {sentence.strip()!r} is none of alfworld's templates: "
        "it should read like 'put a clean mug in shelf.'."
    )


def kind_of(name: str) -> str:
    """Return the kind of an instance: "mug" of "mug 1"."""
    return name.rpartition(" ")[0]


def fits(receptacle: str, item: str) -> bool:
    """Return whether `item` may be put into `receptacle` (both instances), by alfworld's public table."""
    return kind_fits(kind_of(receptacle), kind_of(item))


def kind_fits(receptacle_kind: str, item_kind: str) -> bool:
    """Return whether items of a kind may be put into receptacles of a kind, by alfworld's public table."""
    return item_kind in _CAN_CONTAIN.get(receptacle_kind, ())


def listed(text: str) -> list[str]:
    """Return what a text enumerates: ["mug 1", "pan 2"] of "..., you see a mug 1, and a pan 2."."""
    _, found, things = text.partition("you see ")
    things = things.partition(".")[0]
    if not found or things == "nothing":
        return []
    return [thing.removeprefix("and ").removeprefix("a ") for thing in things.split(", ")]


class Memory:
    """What was read in one episode.

    Attributes:
        wish: what the task asks for.
        receptacles: all of the room, in the order of the first observation.
        at: where the player stands; None in the middle of the room.
        held: what it carries, or None.
        where: item -> receptacle in which it was last seen or put (a held item is in none), in order of discovery.
        closed: receptacles last seen closed.
        searched: receptacles whose content was seen.
        state: "clean", "heat", "cool", "use" -> items in that state.
    """

    __slots__ = ("at", "closed", "held", "receptacles", "searched", "state", "where", "wish")

    def __init__(self, first_observation: str) -> None:
        room, _, sentence = first_observation.partition("Your task is to: ")
        self.wish = read_wish(sentence)
        self.receptacles = tuple(listed(room))
        self.at: str | None = None
        self.held: str | None = None
        self.where: dict[str, str] = {}
        self.closed: set[str] = set()
        self.searched: set[str] = set()
        self.state: dict[str, set[str]] = {verb: set() for verb in ("clean", "heat", "cool", "use")}

    def read(self, command: str, observation: str) -> None:
        """Record the game's answer to a command."""
        if observation.startswith(NOTHING_HAPPENS):
            return
        verb, _, rest = command.strip().partition(" ")
        if verb == "go":
            self.at = rest.removeprefix("to ")
            self._see(self.at, observation)
        elif verb == "open" or (verb == "examine" and rest == self.at):
            self._see(rest, observation)
        elif verb == "close":
            self.closed.add(rest)
        elif verb == "take":
            self.held = rest.partition(" from ")[0]
            self.where.pop(self.held, None)
        elif verb in PUT_VERBS and self.at is not None and self.held is not None:
            self.where[self.held] = self.at
            self.held = None
        elif verb in self.state:
            self.state[verb].add(rest.partition(" with ")[0])
            if verb in ("heat", "cool"):
                self.state["cool" if verb == "heat" else "heat"].discard(rest.partition(" with ")[0])

    def of_kind(self, kind: str) -> list[str]:
        """Return the receptacles of a kind, in the order of the room's listing."""
        return [name for name in self.receptacles if kind_of(name) == kind]

    def known(self, kind: str) -> list[str]:
        """Return the items of a kind whose place is known, in order of discovery."""
        return [item for item in self.where if kind_of(item) == kind]

    def to_fetch(self) -> list[str]:
        """Return the wanted items whose place is known; of two to bring, without the one that is there already."""
        target = self.target() if self.wish.count > 1 else None
        return [item for item in self.known(self.wish.item_kind) if self.where[item] != target]

    def ready(self, item: str) -> bool:
        """Return whether an item has had the treatment that the task asks for (True if it asks for none)."""
        return self.wish.treatment is None or item in self.state[self.wish.treatment]

    def target(self) -> str | None:
        """Return the receptacle to bring things to: the one with most of them already, then the first listed."""
        counts = dict.fromkeys(self.of_kind(self.wish.target_kind), 0)
        for item in self.known(self.wish.item_kind):
            if self.where[item] in counts and self.ready(item):
                counts[self.where[item]] += 1
        return max(counts, key=lambda name: counts[name]) if counts else None  # max keeps the first of equals

    def _see(self, receptacle: str, text: str) -> None:
        if text.endswith(" is closed."):
            self.closed.add(receptacle)
            return
        self.closed.discard(receptacle)
        self.searched.add(receptacle)
        for item in listed(text):
            self.where[item] = receptacle
