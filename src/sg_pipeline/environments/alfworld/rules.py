"""ALFWorld's rules in plain Python: the same texts as the engine, a thousand times faster.

The model plays a `Scene` as the real engine plays the game file made from it: the domain is `alfred.pddl`, the
wording `alfred.twl2` as the alfworld package ships them (data version 2.1.2: "move X to Y", "You arrive at drawer
5."). It plays demonstrations; evaluation and training always use the real engine. A test compares the two step by step.
"""

import re
from collections.abc import Sequence

from sg_pipeline.environments.alfworld.generation.scene import Scene
from sg_pipeline.environments.alfworld.rulebook import (
    APPLIANCES,
    CONTAINERS,
    KNIVES,
    LAMPS,
    NOTHING_HAPPENS,
    SLICEABLE,
    Answer,
    can_contain,
)

_NAME = re.compile(r"[a-z]+ \d+")

_MIDDLE_OF_ROOM = "You are in the middle of a room. Looking quickly around you, you see {}."
_HELP = """Available commands:
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
_FEEDBACK = {
    "help": _HELP,
    "go": "You arrive at {thing}. {contents}",
    "open": "You open the {thing}. {contents}",
    "close": "You close the {thing}.",
    "examine": "{contents}",
    "use": "You turn on the {thing}.",
    "take": "You pick up the {thing} from the {other}.",
    "move": "You move the {thing} to the {other}.",
    "slice": "You sliced the {thing} with the {other}.",
    **dict.fromkeys(APPLIANCES, "You {verb} the {thing} using the {other}."),
}


class RulesModel:
    """One game in progress. `reset` starts it again."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._kinds = {thing.name: thing.kind for thing in scene.things()}
        self._doors = {receptacle.name for receptacle in scene.receptacles if receptacle.openable}
        self.reset()

    def reset(self) -> str:
        """Put everything back and return the first observation: the room's receptacles and the task."""
        self._at: str | None = None  # the middle of the room
        self._held: str | None = None
        self._closed = set(self._doors)
        self._place: dict[str, str | None] = {item.name: item.receptacle for item in self.scene.items}
        # The items that are clean, hot, cool, switched on, sliced.
        self._state: dict[str, set[str]] = {verb: set() for verb in ("clean", "heat", "cool", "use", "slice")}
        room = _enumerate([receptacle.name for receptacle in self.scene.receptacles])
        return f"{_MIDDLE_OF_ROOM.format(room)}\n\nYour task is to: {self.scene.task_text}"

    def step(self, command: str) -> Answer:
        """Play one command; anything that is not possible now, letter for letter, answers "Nothing happens."."""
        command = command.strip()
        if command not in self._possible():
            return Answer(NOTHING_HAPPENS, self.won(), False)
        verb = command.partition(" ")[0]
        thing, other, *_ = *_NAME.findall(command), "", ""
        self._apply(verb, thing, other)
        if verb == "look":
            observation = self._look()
        elif verb == "inventory":
            observation = f"You are carrying: a {self._held}." if self._held else "You are not carrying anything."
        else:
            contents = self._contents(thing) if verb in ("go", "open", "examine") else ""
            observation = _FEEDBACK[verb].format(verb=verb, thing=thing, other=other, contents=contents)
        return Answer(observation, self.won(), True)

    def won(self) -> bool:
        """Return whether the goal holds now."""
        goal, kinds = self.scene.goal, self._kinds
        if goal.needs_lamp:
            lit = any(kinds[lamp] == goal.target_kind and self._place[lamp] == self._at for lamp in self._state["use"])
            return lit and self._held is not None and kinds[self._held] == goal.item_kind
        placed = [
            place
            for item, place in self._place.items()
            if place is not None
            and kinds[item] == goal.item_kind
            and kinds[place] == goal.target_kind
            and (goal.treatment is None or item in self._state[goal.treatment])
        ]
        return len(placed) > len(set(placed)) if goal.count > 1 else bool(placed)

    def admissible_commands(self) -> tuple[str, ...]:
        """Return every command that is possible now, sorted as the engine sorts them."""
        return tuple(sorted(self._possible()))

    def _possible(self) -> set[str]:
        at, held, kinds = self._at, self._held, self._kinds
        commands = {"look", "inventory", "help"}
        commands.update(f"go to {receptacle.name}" for receptacle in self.scene.receptacles if receptacle.name != at)
        if held is not None:
            # The domain also allows items in an open receptacle, but the engine keeps only the first way: in the hand.
            commands.add(f"examine {held}")
        if at is None:
            return commands
        commands.add(f"examine {at}")
        if at in self._doors:
            commands.add(f"open {at}" if at in self._closed else f"close {at}")
        present = [item for item in self.scene.items if self._place[item.name] == at]
        commands.update(f"use {item.name}" for item in present if item.kind in LAMPS)
        if held is None:
            if at not in self._closed:
                commands.update(f"take {item.name} from {at}" for item in present if item.portable)
            return commands
        if at not in self._closed and can_contain(kinds[at], kinds[held]):
            commands.add(f"move {held} to {at}")
        for verb, (kind, works_on) in APPLIANCES.items():
            if kinds[at] == kind and kinds[held] in works_on:
                commands.add(f"{verb} {held} with {at}")
        if kinds[held] in KNIVES:
            commands.update(f"slice {item.name} with {held}" for item in present if item.kind in SLICEABLE)
        return commands

    def _apply(self, verb: str, thing: str, other: str) -> None:
        """Change the world by a possible command."""
        if verb == "go":
            self._at = thing
        elif verb == "open":
            self._closed.discard(thing)
        elif verb == "close":
            self._closed.add(thing)
        elif verb == "take":
            self._held, self._place[thing] = thing, None
        elif verb == "move":
            self._held, self._place[thing] = None, other
        elif verb in self._state:
            # The domain marks a lamp as toggled for good, and the grammar reads that mark: it never says "turn off".
            self._state[verb].add(thing)
            if verb in ("heat", "cool"):
                self._state["cool" if verb == "heat" else "heat"].discard(thing)

    def _look(self) -> str:
        if self._at is None:
            # Only the first observation lists the receptacles: the `look` command asks for those at this very place.
            return _MIDDLE_OF_ROOM.format("nothing")
        # Every receptacle has a separate location here, so nothing is next to it.
        return f"You are facing the {self._at}. Next to it, you see nothing."

    def _contents(self, name: str) -> str:
        """Describe a receptacle, or the item in the hand."""
        if name == self._held:
            return self._describe_item(name)
        if name in self._closed:
            return f"The {name} is closed."
        seen = _enumerate([item for item, place in self._place.items() if place == name])
        return (
            f"The {name} is open. In it, you see {seen}." if name in self._doors else f"On the {name}, you see {seen}."
        )

    def _describe_item(self, name: str) -> str:
        if self._kinds[name] in CONTAINERS:
            return f"This is a normal {name}. In it, you see nothing."
        words = {"heat": "hot", "cool": "cool", "clean": "clean"}
        state = " and ".join(word for verb, word in words.items() if name in self._state[verb])
        if name in self._state["slice"]:
            state = f"{state} sliced".lstrip()
        elif state == "cool":
            state = "cold"  # The grammar's one odd word.
        return f"This is a {state} {name}." if state else f"There's nothing special about {name}."


def _enumerate(names: Sequence[str]) -> str:
    """Return a list of things as the engine writes it: "nothing", "a mug 1", "a mug 1, and a pan 1"."""
    things = [f"a {name}" for name in names]
    if len(things) > 1:
        things[-1] = f"and {things[-1]}"
    return ", ".join(things) or "nothing"
