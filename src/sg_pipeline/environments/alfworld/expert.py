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
turns make a mistake instead, to teach recovery (`environments.base.lapse`): the guidance after it is negative, unless
the mistake happened to help, and the expert continues from there.
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
from sg_pipeline.environments.alfworld.generation.sampler import pick, sample_scene
from sg_pipeline.environments.alfworld.generation.scene import Scene
from sg_pipeline.environments.alfworld.grammar import command_forms
from sg_pipeline.environments.alfworld.memory import Memory, kind_of
from sg_pipeline.environments.alfworld.progress import Progress
from sg_pipeline.environments.alfworld.rulebook import OPENABLE, TASK_TYPES, can_contain
from sg_pipeline.environments.alfworld.rules import RulesModel
from sg_pipeline.environments.alfworld.wording import older_wording
from sg_pipeline.environments.base import Demonstration, DemoTurn, lapse
from sg_pipeline.trajectories.types import Polarity

# Looking into one of these costs two turns, so open places are searched first.
_OPENABLE = frozenset(kind.lower() for kind in OPENABLE)

MAX_TURNS = 30
"""A demonstration that has not solved the game by then ends there."""

IMPOSSIBLE_SHARE = 0.5
"""Share of mistakes that are plausible but impossible commands; the others are possible and useless."""

WHIM = 0.1
"""Probability of searching in a random likely place instead of the first one listed."""


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
        put: the game's form of the command that puts something down, of `grammar.command_forms`.
    """

    def __init__(self, rng: np.random.Generator, put: str = "move (object) to (receptacle)") -> None:
        self._rng = rng
        self._put = put

    def decide(self, memory: Memory) -> Decision:
        """Return the next sub-goal and action; depends on what was read, and on `rng` only when it searches."""
        wish, held = memory.wish, memory.held
        if held is not None and not memory.holds_wanted:
            return self._put_away(memory, held)
        if held is not None:
            return self._use_lamp(memory) if wish.needs_lamp else self._bring(memory, held)
        items = memory.to_fetch()
        if not items:
            return self._search(memory, wish.item_kind)
        # A treated item first, then one that is here, then the first discovered.
        item = min(
            items, key=lambda item: (not (wish.treatment and memory.ready(item)), memory.where[item] != memory.at)
        )
        return _reach(memory, memory.where[item], f"take {item} from {memory.where[item]}")

    def _bring(self, memory: Memory, held: str) -> Decision:
        """Treat the wanted item if the task asks for it, then put it where it belongs."""
        station, target = memory.wish.station, memory.target()
        appliances = memory.of_kind(station.lower()) if station else []
        if appliances and not memory.ready(held):
            command = f"{memory.wish.treatment} {held} with {appliances[0]}"
            return _reach(memory, appliances[0], command, through_door=False)
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
        place = pick(self._rng, likely) if len(likely) > 1 and self._rng.random() < WHIM else likely[0]
        return _reach(memory, place, f"open {place}", subgoal=f"find {kind} in {place}")

    def _put_away(self, memory: Memory, held: str) -> Decision:
        """Free the hand: here if possible, else on the first open place that takes it, else in a closed one."""

        def rank(name: str) -> tuple[bool, bool]:
            shut = name in memory.closed or (kind_of(name) in _OPENABLE and name not in memory.searched)
            return name != memory.at or name in memory.closed, shut

        places = [name for name in memory.receptacles if can_contain(kind_of(name), kind_of(held))]
        place = min(places, key=rank, default=None)
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
    return can_contain(place_kind, kind)


def _reach(memory: Memory, place: str, command: str, subgoal: str | None = None, through_door: bool = True) -> Decision:
    """Return the command, or what must come before it at `place`: going there, opening it (if that matters)."""
    subgoal = subgoal or command
    if memory.at != place:
        return Decision(subgoal, f"go to {place}")
    if through_door and place in memory.closed:
        return Decision(subgoal, f"open {place}")
    return Decision(subgoal, command)


def demonstrate(
    scene: Scene, rng: np.random.Generator, noise: float = 0.0, max_turns: int = MAX_TURNS
) -> Demonstration:
    """Play `scene` with the scripted expert; `noise` is the approximate share of mistakes."""
    model = RulesModel(scene)
    observation = model.reset()
    progress, expert = Progress(observation), Expert(rng)
    polarity, won = Polarity.NEUTRAL, False
    turns: list[DemoTurn] = []
    while len(turns) < max_turns and not won:
        wanted = expert.decide(progress.memory)
        subgoal, action = lapse(turns, noise, rng, lambda: mistaken(progress.memory, mistake(model, rng))) or wanted
        is_noise = action != wanted.action
        turns.append(DemoTurn(observation, subgoal if is_noise else wanted.subgoal, polarity, action, is_noise))
        observation, won, _ = model.step(action)
        polarity = progress.judge(action, observation, won)
    return Demonstration(tuple(turns), won, observation, polarity)


def mistake(model: RulesModel, rng: np.random.Generator) -> str:
    """Return a random command: a possible one, or as often one that only looks possible.

    The impossible ones are like those of a policy under training: things that are not here, half of them what the task
    asks for, places that are not in the room, doors that are elsewhere.
    """
    if rng.random() >= IMPOSSIBLE_SHARE:
        return pick(rng, [command for command in model.admissible_commands() if " " in command])
    items = model.scene.items
    wanted = [item for item in items if item.kind == model.scene.goal.item_kind]
    item = pick(rng, wanted if wanted and rng.random() < 0.5 else items).name
    place = pick(rng, model.scene.receptacles)
    absent = f"{place.kind.lower()} {1 + sum(other.kind == place.kind for other in model.scene.receptacles)}"
    forms = (f"take {item} from {place.name}", f"move {item} to {place.name}", f"open {place.name}", f"go to {absent}")
    return pick(rng, forms)


def mistaken(memory: Memory, command: str) -> Decision:
    """Return the decision of a player that wants this command: going to or opening a place is to search it."""
    for verb in ("go to ", "open "):
        if command.startswith(verb):
            return Decision(f"find {memory.wish.item_kind} in {command.removeprefix(verb)}", command)
    return Decision(command, command)


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
            scene = sample_scene(rng, pick(rng, plans), task_type, self._difficulty)
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
