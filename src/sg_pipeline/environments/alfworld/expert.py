"""A scripted player that knows only what it has read, and its demonstrations.

Its sub-goal is always the command that completes the next part of the plan, with everything it needs ("take mug 1
from shelf 2"); its action is that command, or what must come before it: going there, opening it. So the action follows
from the sub-goal and the last observation alone, which a small policy can learn.

    no item known      find mug in shelf 2          go to shelf 2 / open shelf 2
    item known         take mug 1 from shelf 2      go to shelf 2 / open shelf 2 / take mug 1 from shelf 2
    to be treated      clean mug 1 with sinkbasin 1 go to sinkbasin 1 / clean mug 1 with sinkbasin 1
    ready              move mug 1 to desk 1         go to desk 1 / open desk 1 / move mug 1 to desk 1
    under the lamp     use desklamp 1 at desk 1     go to desk 1 / use desklamp 1
    wrong thing held   move pan 1 to shelf 2        as above

A demonstration turn is what the policy is to write after an observation: `POLARITY: sub-goal`, then the action. Some
turns play a mistake instead of the expert's action, to teach recovery: the guidance after it is negative (unless the
mistake happened to help), and the expert continues from there.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sg_pipeline.environments.alfworld.gamefile import GameFile
from sg_pipeline.environments.alfworld.generation.floor_plans import floor_plans_of
from sg_pipeline.environments.alfworld.generation.panel import Panel, panel_scenes, signature
from sg_pipeline.environments.alfworld.generation.problem import game_file
from sg_pipeline.environments.alfworld.generation.sampler import sample_scene
from sg_pipeline.environments.alfworld.generation.scene import Scene
from sg_pipeline.environments.alfworld.grammar import command_forms
from sg_pipeline.environments.alfworld.memory import Memory, fits, kind_fits, kind_of
from sg_pipeline.environments.alfworld.progress import Progress
from sg_pipeline.environments.alfworld.rulebook import APPLIANCES, OPENABLE, TASK_TYPES
from sg_pipeline.environments.alfworld.rules import RulesModel
from sg_pipeline.environments.alfworld.wording import older_wording
from sg_pipeline.environments.base import Demonstration, DemoTurn
from sg_pipeline.trajectories.types import Polarity

# Looking into one of these costs two turns, so open places are searched first.
_OPENABLE = frozenset(kind.lower() for kind in OPENABLE)

MAX_TURNS = 30
"""A demonstration that has not solved the game by then ends there."""

IMPOSSIBLE_SHARE = 0.25
"""Share of mistakes that are plausible but impossible commands; the others are possible and useless."""


class Decision(NamedTuple):
    """The expert's sub-goal (in words, for the guidance) and action."""

    subgoal: str
    action: str


NOTHING_LEFT = Decision("look around", "look")
"""Everything is searched, or the hand holds what fits nowhere: only in a game that cannot be solved."""


class Expert:
    """Decides one turn at a time.

    Args:
        rng: used for the whim only.
        whim: probability of searching in a random likely place instead of the first one listed.
        put: the game's form of the command that puts something down, of `grammar.command_forms`.
    """

    def __init__(self, rng: np.random.Generator, whim: float = 0.1, put: str = "move (object) to (receptacle)") -> None:
        self._rng = rng
        self._whim = whim
        self._put = put

    def decide(self, memory: Memory) -> Decision:
        """Return the next sub-goal and action; depends on what was read, and on `rng` only when it searches."""
        if memory.held is None:
            item = self._choose_item(memory)
            if item is None:
                return self._search(memory, memory.wish.item_kind)
            place = memory.where[item]
            return _reach(memory, place, f"take {item} from {place}")
        if kind_of(memory.held) != memory.wish.item_kind:
            return self._put_away(memory, memory.held)
        return self._use_lamp(memory) if memory.wish.needs_lamp else self._bring(memory, memory.held)

    def _choose_item(self, memory: Memory) -> str | None:
        """Return the wanted item to take: a treated one, then one that is here, then the first discovered."""
        items = memory.to_fetch()

        def rank(item: str) -> tuple[bool, bool]:
            return memory.wish.treatment is None or not memory.ready(item), memory.where[item] != memory.at

        return min(items, key=rank) if items else None

    def _bring(self, memory: Memory, held: str) -> Decision:
        """Treat the wanted item if the task asks for it, then put it where it belongs."""
        treatment, target = memory.wish.treatment, memory.target()
        appliances = memory.of_kind(APPLIANCES[treatment][0].lower()) if treatment else []
        if appliances and not memory.ready(held):
            return _reach(memory, appliances[0], f"{treatment} {held} with {appliances[0]}", through_door=False)
        return _reach(memory, target, self._put_down(held, target)) if target else NOTHING_LEFT

    def _put_down(self, item: str, place: str) -> str:
        return self._put.replace("(object)", item).replace("(receptacle)", place)

    def _use_lamp(self, memory: Memory) -> Decision:
        """Look at the wanted item that is in the hand under a lamp."""
        lamps = memory.known(memory.wish.target_kind)
        if not lamps:
            return self._search(memory, memory.wish.target_kind)
        place = memory.where[lamps[0]]
        return _reach(memory, place, f"use {lamps[0]}", subgoal=f"use {lamps[0]} at {place}", through_door=False)

    def _search(self, memory: Memory, kind: str) -> Decision:
        """Look for something of a kind: open places that may hold it, closed ones, then the rest, each as listed."""
        tiers: dict[tuple[bool, bool], list[str]] = {}
        for name in memory.receptacles:
            if name not in memory.searched:
                unlikely = not _may_be_in(memory, kind, kind_of(name))
                if name == memory.at and not unlikely:  # It is closed, or it would have been searched.
                    return _reach(memory, name, f"open {name}", subgoal=f"find {kind} in {name}")
                tiers.setdefault((unlikely, kind_of(name) in _OPENABLE), []).append(name)
        if not tiers:
            return NOTHING_LEFT
        likely = tiers[min(tiers)]
        choice = 0
        if len(likely) > 1 and self._rng.random() < self._whim:
            choice = int(self._rng.integers(len(likely)))
        return _reach(memory, likely[choice], f"open {likely[choice]}", subgoal=f"find {kind} in {likely[choice]}")

    def _put_away(self, memory: Memory, held: str) -> Decision:
        """Free the hand: here if possible, else on the first open place that takes it, else in a closed one."""
        here = memory.at
        if here is not None and here not in memory.closed and fits(here, held):
            return _reach(memory, here, self._put_down(held, here))

        def is_shut(name: str) -> bool:
            return name in memory.closed or (kind_of(name) in _OPENABLE and name not in memory.searched)

        places = [name for name in memory.receptacles if fits(name, held)]
        place = min(places, key=is_shut, default=None)
        return _reach(memory, place, self._put_down(held, place)) if place else NOTHING_LEFT


def _may_be_in(memory: Memory, kind: str, place_kind: str) -> bool:
    """Return whether common sense expects something of a kind in such a place.

    Lamps are in no table of what may hold what: they stand on furniture. An item that only has to be brought somewhere
    is not there yet, or the game would have been solved at its start.
    """
    wish = memory.wish
    if wish.needs_lamp and kind == wish.target_kind:
        return True
    if wish.treatment is None and wish.count == 1 and place_kind == wish.target_kind:
        return False
    return kind_fits(place_kind, kind)


def _reach(memory: Memory, place: str, command: str, subgoal: str | None = None, through_door: bool = True) -> Decision:
    """Return the command, or what must come before it at `place`: going there, opening it (if that matters)."""
    subgoal = subgoal or command
    if memory.at != place:
        return Decision(subgoal, f"go to {place}")
    if through_door and place in memory.closed:
        return Decision(subgoal, f"open {place}")
    return Decision(subgoal, command)


def demonstrate(
    scene: Scene, rng: np.random.Generator, noise: float = 0.0, max_turns: int = MAX_TURNS, whim: float = 0.1
) -> Demonstration:
    """Play `scene` with the scripted expert.

    Args:
        scene: the game.
        rng: the only source of randomness.
        noise: probability, per turn, that a mistake replaces the expert's action.
        max_turns: the episode's limit.
        whim: probability that a search starts at a random likely place instead of the first one listed.

    Returns:
        The demonstration; lost if the limit came first.
    """
    model = RulesModel(scene)
    observation = model.reset()
    progress, expert = Progress(observation), Expert(rng, whim)
    polarity, won = Polarity.NEUTRAL, False
    turns: list[DemoTurn] = []
    while len(turns) < max_turns and not won:
        subgoal, wanted = expert.decide(progress.memory)
        action = wanted
        if noise > 0 and rng.random() < noise:
            action = mistake(model, rng)
        turns.append(DemoTurn(observation, subgoal, polarity, action, action != wanted))
        observation, won, _ = model.step(action)
        polarity = progress.judge(action, observation, won)
    return Demonstration(tuple(turns), won, observation, polarity)


def mistake(model: RulesModel, rng: np.random.Generator) -> str:
    """Return a random command: mostly a possible one, else one that only looks possible.

    The impossible ones are like those of a policy under training: things that are not here, places that are not in the
    room, doors that are elsewhere.
    """
    commands = [command for command in model.admissible_commands() if command not in ("help", "look", "inventory")]
    if rng.random() >= IMPOSSIBLE_SHARE:
        return commands[int(rng.integers(len(commands)))]
    items, receptacles = model.scene.items, model.scene.receptacles
    item = items[int(rng.integers(len(items)))].name
    place = receptacles[int(rng.integers(len(receptacles)))]
    absent = f"{place.kind.lower()} {1 + sum(other.kind == place.kind for other in receptacles)}"
    forms = (f"take {item} from {place.name}", f"move {item} to {place.name}", f"open {place.name}", f"go to {absent}")
    return forms[int(rng.integers(len(forms)))]


class GeneratedRoomsDemonstrator:
    """Plays fresh rooms of the training floor plans, as difficult as a panel's, never one of its evaluation games."""

    def __init__(self, panel: Panel) -> None:
        self._difficulty = panel.difficulty
        evaluation = [split for split in panel.splits if split != "train"]
        self._reserved = {signature(scene) for split in evaluation for scene in panel_scenes(panel, split)}
        self._forms: tuple[str, ...] = ()

    def demonstrate(self, number: int, rng: np.random.Generator, noise: float) -> Demonstration:
        """Draw a room and play it; see `base.Demonstrator`."""
        task_type = TASK_TYPES[number % len(TASK_TYPES)]
        plans = floor_plans_of(task_type, unseen=False)
        while True:
            scene = sample_scene(rng, plans[int(rng.integers(len(plans)))], task_type, self._difficulty)
            if signature(scene) not in self._reserved:
                break
        if not self._forms:  # of all generated games
            self._forms = command_forms(GameFile(Path("generated"), "", json.loads(game_file(scene))))
        return replace(demonstrate(scene, rng, noise=noise), forms=self._forms)

    def reword(self, demonstration: Demonstration, rng: np.random.Generator) -> Demonstration:
        """Return the episode in the wording of the official games of data version 2.1.1."""
        return older_wording(demonstration, rng)

    def close(self) -> None:
        """Nothing to release."""
