"""Verdicts on actions: did the last one bring the task nearer, do nothing for it, or set it back?

They depend on the number of milestones reached (`milestones`) and, if that does not change, on whether the action was
useful. They are the polarity of a demonstration's guidance: the guidance at turn t judges the action at turn t-1.

    positive   a milestone: wanted item or lamp found, item taken, cleaned / heated / cooled, placed, lamp switched on,
               the container opened that holds what is wanted
    negative   not possible; a milestone lost; or wasted: a place searched before or not needed, the wrong item,
               looking around, closing
    neutral    the rest: searching a new place, going where the plan continues, putting a wrong item away
"""

from sg_pipeline.environments.alfworld.memory import PUT_VERBS, Memory
from sg_pipeline.environments.alfworld.rulebook import NOTHING_HAPPENS
from sg_pipeline.trajectories.types import Polarity


def milestones(memory: Memory) -> int:
    """Return how many milestones of the task are reached, as far as the player can know.

    Per wanted item (the best ones; two for pick_two_obj_and_place): found 1, in the hand 1, treated 1; 4 once it is in
    the target. Per lamp: found 1, switched on 1.
    """
    wish = memory.wish
    stages = []
    target = None if wish.needs_lamp else memory.target()
    for item in memory.found():
        ready = memory.ready(item)
        if target is not None and ready and memory.where.get(item) == target:
            stages.append(4)
        else:
            stages.append(1 + (item == memory.held) + (wish.treatment is not None and ready))
    total = sum(sorted(stages)[-wish.count :])
    if wish.needs_lamp:
        lamps = memory.known(wish.target_kind)
        total += bool(lamps) + any(lamp in memory.state["use"] for lamp in lamps)
    return total


class Progress:
    """Judges one episode, turn by turn; `memory` is what the player knows."""

    def __init__(self, first_observation: str) -> None:
        self.memory = Memory(first_observation)
        self._reached = milestones(self.memory)

    def judge(self, command: str, observation: str, won: bool = False) -> Polarity:
        """Record one command and its answer, and return the verdict on it."""
        if observation.startswith(NOTHING_HAPPENS):
            return Polarity.NEGATIVE
        verdict = self._purpose(command.strip())
        before = self._reached
        self.memory.read(command, observation)
        self._reached = milestones(self.memory)
        return Polarity.POSITIVE if won or self._reached > before else verdict

    def _purpose(self, command: str) -> Polarity:
        """Judge a possible command that reaches no milestone, by what was known before it.

        Losing a milestone (putting a wanted item down elsewhere, warming what was cooled) is negative as well.
        """
        memory = self.memory
        verb, _, rest = command.partition(" ")
        if verb in PUT_VERBS:
            useful = not memory.holds_wanted
        elif verb == "open":
            if memory.held is None and rest in self._needed():
                return Polarity.POSITIVE
            useful = rest in self._needed(doors=True) or self._to_search(rest)
        else:
            place = rest.removeprefix("to ")
            useful = verb == "go" and (place in self._needed() or self._to_search(place))
        return Polarity.NEUTRAL if useful else Polarity.NEGATIVE

    def _to_search(self, place: str) -> bool:
        """Return whether something is still missing that may be in a place not searched yet."""
        memory, wish = self.memory, self.memory.wish
        lamp_missing = wish.needs_lamp and not memory.known(wish.target_kind)
        return place not in memory.searched and (lamp_missing or len(memory.found()) < wish.count)

    def _needed(self, doors: bool = False) -> set[str]:
        """Return the places where the plan can continue now; with `doors`, only those whose inside is needed."""
        memory, wish = self.memory, self.memory.wish
        if memory.held is None:
            return {memory.where[item] for item in memory.to_fetch()}
        if not memory.holds_wanted:
            return set(memory.receptacles)  # Any place may be where the wrong thing is put away.
        if wish.needs_lamp:
            return set() if doors else {memory.where[lamp] for lamp in memory.known(wish.target_kind)}
        if wish.station and not memory.ready(memory.held):
            return set() if doors else set(memory.of_kind(wish.station.lower()))
        return set(memory.of_kind(wish.target_kind))
