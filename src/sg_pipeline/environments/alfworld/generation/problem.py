"""The game file of a `Scene` for the unmodified TextWorld/ALFWorld engine, and the proof that it can be solved.

A game file (`game.tw-pddl`) is JSON: the PDDL domain and the text grammar that alfworld ships (the task sentence baked
into the grammar), the PDDL problem, and a walkthrough. The same scene always gives the same bytes.

The walkthrough is how someone who sees everything solves the game. It is no demonstration: a player who does not see
through closed doors has to search (see `../expert.py`).
"""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sg_pipeline.environments.alfworld.generation.floor_plans import may_hold
from sg_pipeline.environments.alfworld.generation.scene import Receptacle, Scene, pddl_id
from sg_pipeline.environments.alfworld.rulebook import (
    APPLIANCES,
    CONTAINERS,
    LAMPS,
    NOTHING_HAPPENS,
    SLICEABLE,
    STATIONS,
    TREATMENTS,
)
from sg_pipeline.errors import DataError

# The domain's actions name these types without declaring them, so every problem must.
_RECEPTACLE_TYPES_OF_DOMAIN = {"SinkBasin", "Microwave", "Fridge"}
_ITEM_TYPES_OF_DOMAIN = {"Knife", "ButterKnife"}

# The agent starts where no receptacle is: only then does the intro list the receptacles.
_START = "loc_bar_00"

_PROPERTIES = (
    *((f"{verb}able", kinds) for verb, (_, kinds) in APPLIANCES.items()),
    ("sliceable", SLICEABLE),
    ("toggleable", LAMPS),
    ("isReceptacleObject", CONTAINERS),
)


def game_file(scene: Scene) -> bytes:
    """Return the bytes of the scene's `game.tw-pddl`.

    Raises:
        ValueError: the scene contradicts itself (no walkthrough exists).
    """
    game = {
        "pddl_domain": _domain(),
        "grammar": _grammar().replace("UNKNOWN GOAL", scene.task_text.removesuffix(".")),
        "pddl_problem": pddl_problem(scene),
        "solvable": True,
        "walkthrough": list(walkthrough(scene)),
    }
    return json.dumps(game, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def pddl_problem(scene: Scene) -> str:
    """Return the scene as a PDDL problem: domain, objects, init, goal, in the order that the translator requires."""
    receptacles = [(pddl_id(receptacle.kind, receptacle.name), receptacle) for receptacle in scene.receptacles]
    items = [(pddl_id(item.kind, item.name), item) for item in scene.items]
    ids = {receptacle.name: identity for identity, receptacle in receptacles}
    locations = {receptacle.name: f"loc_bar_{n:02d}" for n, receptacle in enumerate(scene.receptacles, start=1)}
    receptacle_kinds = sorted({receptacle.kind for receptacle in scene.receptacles})
    item_kinds = sorted({item.kind for item in scene.items})

    objects = ["agent1 - agent"]
    objects += [f"{kind}Type - otype" for kind in sorted({*item_kinds, *_ITEM_TYPES_OF_DOMAIN})]
    objects += [f"{kind}Type - rtype" for kind in sorted({*receptacle_kinds, *_RECEPTACLE_TYPES_OF_DOMAIN})]
    objects += [f"{identity} - object" for identity, _ in items]
    objects += [f"{identity} - receptacle" for identity, _ in receptacles]
    objects += [f"{location} - location" for location in (_START, *locations.values())]

    facts = [f"atLocation agent1 {_START}"]
    for identity, receptacle in receptacles:
        facts.append(f"receptacleType {identity} {receptacle.kind}Type")
        facts.append(f"receptacleAtLocation {identity} {locations[receptacle.name]}")
        if receptacle.openable:
            facts.append(f"openable {identity}")
    for receptacle_kind in receptacle_kinds:
        facts += [
            f"canContain {receptacle_kind}Type {item_kind}Type"
            for item_kind in item_kinds
            if item_kind not in LAMPS and may_hold(receptacle_kind, item_kind)
        ]
    for identity, item in items:
        facts.append(f"objectType {identity} {item.kind}Type")
        facts.append(f"inReceptacle {identity} {ids[item.receptacle]}")
        facts.append(f"objectAtLocation {identity} {locations[item.receptacle]}")
        if item.portable:
            facts.append(f"pickupable {identity}")
        facts += [f"{name} {identity}" for name, kinds in _PROPERTIES if item.kind in kinds]

    lines = ["(define (problem generated)", "(:domain alfred)", "(:objects", *objects, ")", "(:init"]
    lines += [f"({fact})" for fact in facts]
    return "\n".join([*lines, ")"]) + _goal(scene)


def _goal(scene: Scene) -> str:
    """Return alfworld's own goal formula of the task type; its templates also close the (define."""
    from alfworld.gen.goal_library import gdict

    goal = scene.goal
    template = gdict[goal.task_type]["pddl"]
    formula = template.format(obj=goal.item_kind, recep=goal.target_kind, toggle=goal.target_kind)
    return "\n" + " ".join(formula.replace("#", "-").split()) + "\n"


@cache
def _domain() -> str:
    from alfworld.info import ALFRED_PDDL_PATH

    return Path(ALFRED_PDDL_PATH).read_text(encoding="utf-8")


@cache
def _grammar() -> str:
    from alfworld.info import ALFRED_TWL2_PATH

    return Path(ALFRED_TWL2_PATH).read_text(encoding="utf-8")


def walkthrough(scene: Scene) -> tuple[str, ...]:
    """Return a sequence of commands that solves the game.

    Raises:
        ValueError: the scene lacks what its goal needs.
    """
    plan = _Plan(scene)
    goal = scene.goal
    wanted = [item for item in scene.items if item.kind == goal.item_kind]
    if goal.task_type == "look_at_obj_in_light":
        lamp = next((item for item in scene.items if item.kind == goal.target_kind), None)
        if lamp is None or not wanted:
            raise ValueError(f"no {goal.item_kind} or no {goal.target_kind} in the scene of {scene.task_text!r}")
        plan.take(wanted[0].name, wanted[0].receptacle)
        plan.go(lamp.receptacle)
        plan.commands.append(f"use {lamp.name}")
        return tuple(plan.commands)

    target = plan.first(goal.target_kind)
    amount = 2 if goal.task_type == "pick_two_obj_and_place" else 1
    if goal.task_type not in STATIONS:
        amount -= sum(item.receptacle == target.name for item in wanted)
        wanted = [item for item in wanted if item.receptacle != target.name]
    if not 0 < amount <= len(wanted):
        raise ValueError(
            f"{amount} {goal.item_kind} to bring but {len(wanted)} available in the scene of {scene.task_text!r}"
        )
    for item in wanted[:amount]:
        plan.take(item.name, item.receptacle)
        if goal.task_type in STATIONS:
            station = plan.first(STATIONS[goal.task_type])
            plan.go(station.name)
            plan.commands.append(f"{TREATMENTS[goal.task_type]} {item.name} with {station.name}")
        plan.go(target.name)
        plan.open(target.name)
        plan.commands.append(f"move {item.name} to {target.name}")
    return tuple(plan.commands)


class _Plan:
    """Commands so far, and what they have done to place and doors."""

    def __init__(self, scene: Scene) -> None:
        self.commands: list[str] = []
        self._receptacles = {receptacle.name: receptacle for receptacle in scene.receptacles}
        self._here: str | None = None
        self._open: set[str] = set()

    def first(self, kind: str) -> Receptacle:
        for receptacle in self._receptacles.values():
            if receptacle.kind == kind:
                return receptacle
        raise ValueError(f"no {kind} among {list(self._receptacles)}")

    def go(self, name: str) -> None:
        if self._here != name:
            self.commands.append(f"go to {name}")
            self._here = name

    def open(self, name: str) -> None:
        if self._receptacles[name].openable and name not in self._open:
            self.commands.append(f"open {name}")
            self._open.add(name)

    def take(self, item: str, name: str) -> None:
        self.go(name)
        self.open(name)
        self.commands.append(f"take {item} from {name}")


def prove_all(scenes: Mapping[str, Scene], workers: int) -> None:
    """Play games on the engine, in `workers` processes: names and order must be the scene's, the last command solves.

    Raises:
        DataError: names the first game (in the mapping's order) that failed, and why.
    """
    if workers <= 1:
        _raise_first(scenes, map(_why_not, scenes.values()))
        return
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        _raise_first(scenes, pool.map(_why_not, scenes.values(), chunksize=8))


def _raise_first(scenes: Mapping[str, Scene], reasons: Iterable[str | None]) -> None:
    for (name, scene), reason in zip(scenes.items(), reasons, strict=True):
        if reason is not None:
            raise DataError(f"The generated game {name} {scene.task_text!r} (floor plan {scene.floor_plan}) {reason}.")


def _why_not(scene: Scene) -> str | None:
    """Return what is wrong with the game; None if nothing is."""
    game = json.loads(game_file(scene))
    engine = _engine()
    engine.load(game)
    state = engine.reset()
    if state.won:
        return "starts solved"
    listing = ", ".join(f"a {receptacle.name}" for receptacle in scene.receptacles[:-1])
    expected = f"you see {listing}, and a {scene.receptacles[-1].name}.\n\nYour task is to: {scene.task_text}"
    if not state.feedback.endswith(expected):
        return f"has the intro {state.feedback!r} where {expected!r} was expected"
    wrong = _placed(engine) ^ {(item.name, item.receptacle) for item in scene.items}
    if wrong:
        return f"has other items in other places on the engine: {sorted(wrong)}"
    for number, command in enumerate(game["walkthrough"], start=1):
        state, _, _ = engine.step(command)
        if state.feedback == NOTHING_HAPPENS:
            return f"does not accept the command {command!r} of its walkthrough"
        if state.won != (number == len(game["walkthrough"])):
            return f"is {'won' if state.won else 'not won'} after command {number} of {len(game['walkthrough'])}"
    return None


def _placed(engine: Any) -> set[tuple[str, str]]:
    """Return (item, receptacle) of the engine's state, by the names that it shows."""
    stock = engine.unwrapped
    names = {identity: info.name.strip() for identity, info in stock._entity_infos.items()}
    return {
        (names[fact.arguments[0].name], names[fact.arguments[1].name])
        for fact in stock._pddl_state.facts
        if fact.name == "inreceptacle"
    }


@cache
def _engine() -> Any:
    """Return this process's engine; each new one would copy a 34 MB library to the temp folder."""
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld.envs.pddl import PddlEnv

    return AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True)))
