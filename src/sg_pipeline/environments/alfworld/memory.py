"""What a player knows: everything that it has read so far, and nothing else.

`Memory` reads the game's texts (wording of data versions 2.1.1 and 2.1.2) and keeps where things were seen. The
scripted expert and `progress.py` decide on it; neither looks into the simulator. All names and kinds are as the game
shows them, in lower case.
"""

import re

from alfworld.gen.goal_library import gdict

from sg_pipeline.environments.alfworld.rulebook import TASK_TYPES, Goal
from sg_pipeline.errors import DataError

PUT_VERBS = ("move", "put")
"""Verbs for putting something down: in data version 2.1.2, and in 2.1.1."""

_ITEM, _TARGET = r"(?P<item>\w+)", r"(?P<target>\w+)"
_SENTENCES = [
    (task_type, re.compile(template.format(obj=_ITEM, recep=_TARGET, toggle=_TARGET) + r"\.?"))
    for task_type in TASK_TYPES
    for template in gdict[task_type]["templates"]
]


def read_wish(sentence: str) -> Goal:
    """Parse a task sentence of alfworld's goal library. Raises `DataError` for any other sentence."""
    for task_type, pattern in _SENTENCES:
        if found := pattern.fullmatch(sentence.strip()):
            return Goal(task_type, found["item"], found["target"])
    raise DataError(
        f"The task sentence {sentence.strip()!r} is none of alfworld's templates: "
        "it should read like 'put a clean mug in shelf.'."
    )


def kind_of(name: str) -> str:
    """Return the kind of an instance: "mug" of "mug 1"."""
    return name.rpartition(" ")[0]


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
        """Record the game's answer to a command that was possible."""
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
            item = rest.partition(" with ")[0]
            self.state[verb].add(item)
            if verb in ("heat", "cool"):
                self.state["cool" if verb == "heat" else "heat"].discard(item)

    @property
    def holds_wanted(self) -> bool:
        """Whether the hand holds an item of the wanted kind."""
        return self.held is not None and kind_of(self.held) == self.wish.item_kind

    def found(self) -> list[str]:
        """Return the wanted items whose place is known, then the one in the hand."""
        carried = [self.held] if self.held is not None and self.holds_wanted else []
        return self.known(self.wish.item_kind) + carried

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
