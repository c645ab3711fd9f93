"""ALFWorld's rules in plain Python: the same texts as the engine, a thousand times faster.

The model plays a `Scene` as the real engine plays the game file made from it: the domain is `alfred.pddl`, the
wording `alfred.twl2` as the alfworld package ships them (data version 2.1.2: "move X to Y", "You arrive at drawer
5."). It plays demonstrations; evaluation and training always use the real engine. A test compares the two step by step.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sg_pipeline.environments.alfworld.generation.scene import Scene
from sg_pipeline.environments.alfworld.rulebook import (
    APPLIANCES,
    CONTAINERS,
    KNIVES,
    LAMPS,
    NOTHING_HAPPENS,
    SLICEABLE,
    TREATMENTS,
    can_contain,
)

NOWHERE = -1
HELD = -2
# Commands that name two things, and the word between them.
_JOINTS = {"take": " from ", "move": " to ", "heat": " with ", "clean": " with ", "cool": " with ", "slice": " with "}

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


class Answer(NamedTuple):
    """The engine's text, whether the goal is reached now, whether the command was possible."""

    observation: str
    won: bool
    valid: bool


class RulesModel:
    """One game in progress. `reset` starts it again."""

    __slots__ = ("_at", "_closed", "_flags", "_item_index", "_place", "_receptacle_index", "scene")

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._item_index = {item.name: index for index, item in enumerate(scene.items)}
        self._receptacle_index = {receptacle.name: index for index, receptacle in enumerate(scene.receptacles)}
        self.reset()

    def reset(self) -> str:
        """Put everything back and return the first observation: the room's receptacles and the task."""
        self._at = NOWHERE
        self._closed = {index for index, receptacle in enumerate(self.scene.receptacles) if receptacle.openable}
        self._place = [self._receptacle_index[item.receptacle] for item in self.scene.items]
        # Indices of items that are clean, hot, cool, on, sliced.
        self._flags: dict[str, frozenset[int]] = dict.fromkeys(("clean", "heat", "cool", "use", "slice"), frozenset())
        room = _enumerate([receptacle.name for receptacle in self.scene.receptacles])
        return f"{_MIDDLE_OF_ROOM.format(room)}\n\nYour task is to: {self.scene.task_text}"

    def step(self, command: str) -> Answer:
        """Play one command; anything that is not possible now, letter for letter, answers "Nothing happens."."""
        observation = self._play(command.strip())
        return Answer(observation or NOTHING_HAPPENS, self.won(), observation is not None)

    def won(self) -> bool:
        """Return whether the goal holds now."""
        goal, items, receptacles = self.scene.goal, self.scene.items, self.scene.receptacles
        if goal.task_type == "look_at_obj_in_light":
            held = self._held()
            return (
                held is not None
                and items[held].kind == goal.item_kind
                and any(items[i].kind == goal.target_kind and self._place[i] == self._at for i in self._flags["use"])
            )
        treatment = TREATMENTS.get(goal.task_type)
        placed = [
            place
            for index, place in enumerate(self._place)
            if place >= 0
            and items[index].kind == goal.item_kind
            and receptacles[place].kind == goal.target_kind
            and (treatment is None or index in self._flags[treatment])
        ]
        return len(placed) > len(set(placed)) if goal.task_type == "pick_two_obj_and_place" else bool(placed)

    def admissible_commands(self) -> tuple[str, ...]:
        """Return every command that is possible now, sorted as the engine sorts them."""
        items, receptacles, at = self.scene.items, self.scene.receptacles, self._at
        held = self._held()
        commands = {"look", "inventory", "help"}
        commands.update(f"go to {receptacle.name}" for index, receptacle in enumerate(receptacles) if index != at)
        if held is not None:
            commands.add(f"examine {items[held].name}")
        if at == NOWHERE:
            return tuple(sorted(commands))
        here, name = receptacles[at], receptacles[at].name
        commands.add(f"examine {name}")
        if here.openable:
            commands.add(f"open {name}" if at in self._closed else f"close {name}")
        present = [index for index, place in enumerate(self._place) if place == at]
        if at not in self._closed and held is None:
            commands.update(f"take {items[index].name} from {name}" for index in present if items[index].portable)
        commands.update(f"use {items[index].name}" for index in present if items[index].kind in LAMPS)
        if held is not None:
            if at not in self._closed and can_contain(here.kind, items[held].kind):
                commands.add(f"move {items[held].name} to {name}")
            for verb, (kind, works_on) in APPLIANCES.items():
                if here.kind == kind and items[held].kind in works_on:
                    commands.add(f"{verb} {items[held].name} with {name}")
            if items[held].kind in KNIVES:
                commands.update(
                    f"slice {items[index].name} with {items[held].name}"
                    for index in present
                    if items[index].kind in SLICEABLE
                )
        return tuple(sorted(commands))

    def _held(self) -> int | None:
        return self._place.index(HELD) if HELD in self._place else None

    def _play(self, command: str) -> str | None:
        """Apply a command and return its feedback; None if it is not possible."""
        verb, _, rest = command.partition(" ")
        if not rest:
            return self._play_bare(verb)
        if verb in _JOINTS:
            first, _, second = rest.partition(_JOINTS[verb])
            return self._play_two(verb, first, second)
        if verb == "go":
            return self._go(rest.removeprefix("to ")) if rest.startswith("to ") else None
        if verb in ("open", "close"):
            return self._open_or_close(verb, rest)
        if verb == "examine":
            return self._examine(rest)
        return self._use(rest) if verb == "use" else None

    def _play_two(self, verb: str, name: str, other: str) -> str | None:
        item = self._item_index.get(name)
        if item is None:
            return None
        if verb == "slice":
            return self._slice(item, other)
        at = self._receptacle_index.get(other)
        if at is None or at != self._at:
            return None
        if verb == "take":
            return self._take(item, at)
        return self._move(item, at) if verb == "move" else self._treat(verb, item, at)

    def _play_bare(self, verb: str) -> str | None:
        if verb == "look":
            return self._look()
        if verb == "help":
            return _HELP
        if verb == "inventory":
            held = self._held()
            if held is None:
                return "You are not carrying anything."
            return f"You are carrying: {_enumerate([self.scene.items[held].name])}."
        return None

    def _look(self) -> str:
        if self._at == NOWHERE:
            # Only the first observation lists the receptacles: the `look` command asks for those at this very place.
            return _MIDDLE_OF_ROOM.format("nothing")
        # Every receptacle has a separate location here, so nothing is next to it.
        return f"You are facing the {self.scene.receptacles[self._at].name}. Next to it, you see nothing."

    def _describe(self, receptacle: int) -> str:
        name = self.scene.receptacles[receptacle].name
        if receptacle in self._closed:
            return f"The {name} is closed."
        inside = [item.name for item, place in zip(self.scene.items, self._place, strict=True) if place == receptacle]
        seen = _enumerate(inside)
        if self.scene.receptacles[receptacle].openable:
            return f"The {name} is open. In it, you see {seen}."
        return f"On the {name}, you see {seen}."

    def _go(self, name: str) -> str | None:
        receptacle = self._receptacle_index.get(name)
        if receptacle is None or receptacle == self._at:
            return None
        self._at = receptacle
        return f"You arrive at {name}. {self._describe(receptacle)}"

    def _open_or_close(self, verb: str, name: str) -> str | None:
        at = self._receptacle_index.get(name)
        if at is None or at != self._at or not self.scene.receptacles[at].openable:
            return None
        if verb == "open" and at in self._closed:
            self._closed.discard(at)
            return f"You open the {name}. {self._describe(at)}"
        if verb == "close" and at not in self._closed:
            self._closed.add(at)
            return f"You close the {name}."
        return None

    def _examine(self, name: str) -> str | None:
        receptacle = self._receptacle_index.get(name)
        if receptacle is not None:
            return self._describe(receptacle) if receptacle == self._at else None
        # The domain also allows items in an open receptacle, but the engine keeps only the first way: in the hand.
        item = self._item_index.get(name)
        return self._describe_item(item) if item is not None and self._place[item] == HELD else None

    def _describe_item(self, item: int) -> str:
        name, kind = self.scene.items[item].name, self.scene.items[item].kind
        if kind in CONTAINERS:
            return f"This is a normal {name}. In it, you see nothing."
        clean, hot, cool, is_sliced = (item in self._flags[flag] for flag in ("clean", "heat", "cool", "slice"))
        temperature = "hot" if hot else "cool" if cool else ""
        sliced = "sliced " if is_sliced else ""
        if clean or temperature:
            if clean and temperature:
                state = f"{temperature} and clean"
            elif clean:
                state = "clean"
            else:
                state = "cold" if cool and not sliced else temperature  # The grammar's one odd word.
            return f"This is a {state} {sliced}{name}."
        if sliced:
            return f"This is a sliced {name}."
        return f"There's nothing special about {name}."

    def _use(self, name: str) -> str | None:
        item = self._item_index.get(name)
        if item is None or self.scene.items[item].kind not in LAMPS or self._place[item] != self._at:
            return None
        # The domain marks a lamp as toggled for good, and the grammar reads that mark: it never says "turn off".
        self._flags["use"] |= {item}
        return f"You turn on the {name}."

    def _take(self, item: int, at: int) -> str | None:
        taken = self.scene.items[item]
        if self._place[item] != at or at in self._closed or not taken.portable or HELD in self._place:
            return None
        self._place[item] = HELD
        return f"You pick up the {taken.name} from the {self.scene.receptacles[at].name}."

    def _move(self, item: int, at: int) -> str | None:
        moved, target = self.scene.items[item], self.scene.receptacles[at]
        if self._place[item] != HELD or at in self._closed or not can_contain(target.kind, moved.kind):
            return None
        self._place[item] = at
        return f"You move the {moved.name} to the {target.name}."

    def _treat(self, verb: str, item: int, at: int) -> str | None:
        kind, works_on = APPLIANCES[verb]
        treated, appliance = self.scene.items[item], self.scene.receptacles[at]
        if self._place[item] != HELD or appliance.kind != kind or treated.kind not in works_on:
            return None
        self._flags[verb] |= {item}
        if verb != "clean":  # Hot and cool exclude each other.
            self._flags["cool" if verb == "heat" else "heat"] -= {item}
        return f"You {verb} the {treated.name} using the {appliance.name}."

    def _slice(self, item: int, knife_name: str) -> str | None:
        knife, sliced = self._item_index.get(knife_name), self.scene.items[item]
        if knife is None or self._place[knife] != HELD or self._place[item] != self._at:
            return None
        if self.scene.items[knife].kind not in KNIVES or sliced.kind not in SLICEABLE:
            return None
        self._flags["slice"] |= {item}
        return f"You sliced the {sliced.name} with the {knife_name}."


def _enumerate(names: Sequence[str]) -> str:
    """Return a list of things as the engine writes it: "nothing", "a mug 1", "a mug 1, and a pan 1"."""
    if not names:
        return "nothing"
    if len(names) == 1:
        return f"a {names[0]}"
    return ", ".join(f"a {name}" for name in names[:-1]) + f", and a {names[-1]}"
