"""The game file of a `Scene` for the unmodified TextWorld/ALFWorld engine, and the proof that it can be solved.

A game file (`game.tw-pddl`) is JSON: the PDDL domain and the text grammar that alfworld ships (the task sentence baked
into the grammar), the PDDL problem, and a walkthrough. The same scene always gives the same bytes.
"""

import json
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

from alfworld.gen.goal_library import gdict

from sg_pipeline.environments.alfworld.compile import in_processes
from sg_pipeline.environments.alfworld.environment import StockEngine
from sg_pipeline.environments.alfworld.gamefile import GameFile
from sg_pipeline.environments.alfworld.generation.floor_plans import may_hold
from sg_pipeline.environments.alfworld.generation.scene import Scene, pddl_id
from sg_pipeline.environments.alfworld.rulebook import APPLIANCES, CONTAINERS, LAMPS, SLICEABLE
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
    """Return the bytes of the scene's `game.tw-pddl`."""
    domain, grammar = _shipped_texts()
    game = {
        "pddl_domain": domain,
        "grammar": grammar.replace("UNKNOWN GOAL", scene.task_text.removesuffix(".")),
        "pddl_problem": pddl_problem(scene),
        "solvable": True,
        "walkthrough": walkthrough(scene),
    }
    return json.dumps(game, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def pddl_problem(scene: Scene) -> str:
    """Return the scene as a PDDL problem: domain, objects, init, goal, in the order that the translator requires."""
    ids = {thing.name: pddl_id(thing) for thing in scene.things()}
    locations = {receptacle.name: f"loc_bar_{n:02d}" for n, receptacle in enumerate(scene.receptacles, start=1)}
    receptacle_kinds = {receptacle.kind for receptacle in scene.receptacles}
    item_kinds = {item.kind for item in scene.items}

    objects = ["agent1 - agent"]
    objects += [f"{kind}Type - otype" for kind in sorted(item_kinds | _ITEM_TYPES_OF_DOMAIN)]
    objects += [f"{kind}Type - rtype" for kind in sorted(receptacle_kinds | _RECEPTACLE_TYPES_OF_DOMAIN)]
    objects += [f"{ids[item.name]} - object" for item in scene.items]
    objects += [f"{ids[receptacle.name]} - receptacle" for receptacle in scene.receptacles]
    objects += [f"{location} - location" for location in (_START, *locations.values())]

    facts = [f"atLocation agent1 {_START}"]
    for receptacle in scene.receptacles:
        identity = ids[receptacle.name]
        facts.append(f"receptacleType {identity} {receptacle.kind}Type")
        facts.append(f"receptacleAtLocation {identity} {locations[receptacle.name]}")
        if receptacle.openable:
            facts.append(f"openable {identity}")
    facts += [
        f"canContain {receptacle_kind}Type {item_kind}Type"
        for receptacle_kind in sorted(receptacle_kinds)
        for item_kind in sorted(item_kinds - LAMPS)
        if may_hold(receptacle_kind, item_kind)
    ]
    for item in scene.items:
        identity = ids[item.name]
        facts.append(f"objectType {identity} {item.kind}Type")
        facts.append(f"inReceptacle {identity} {ids[item.receptacle]}")
        facts.append(f"objectAtLocation {identity} {locations[item.receptacle]}")
        if item.portable:
            facts.append(f"pickupable {identity}")
        facts += [f"{name} {identity}" for name, kinds in _PROPERTIES if item.kind in kinds]

    # alfworld's own goal formula of the task type; its templates also close the (define.
    goal = scene.goal
    formula = gdict[goal.task_type]["pddl"].format(obj=goal.item_kind, recep=goal.target_kind, toggle=goal.target_kind)
    lines = ["(define (problem generated)", "(:domain alfred)", "(:objects", *objects, ")", "(:init"]
    lines += [f"({fact})" for fact in facts]
    return "\n".join([*lines, ")", " ".join(formula.replace("#", "-").split()), ""])


@cache
def _shipped_texts() -> tuple[str, str]:
    """Return the domain and the grammar of the alfworld package."""
    from alfworld.info import ALFRED_PDDL_PATH, ALFRED_TWL2_PATH

    return Path(ALFRED_PDDL_PATH).read_text(encoding="utf-8"), Path(ALFRED_TWL2_PATH).read_text(encoding="utf-8")


def walkthrough(scene: Scene) -> tuple[str, ...]:
    """Return the commands with which someone who sees everything solves the game.

    It is no demonstration: a player who does not see through closed doors has to search (see `../expert.py`).
    """
    goal = scene.goal
    wanted = [item for item in scene.items if item.kind == goal.item_kind]
    places = {receptacle.kind: receptacle.name for receptacle in reversed(scene.receptacles)}  # the first of each kind
    deeds: list[tuple[str, bool, str]] = []  # (where, whether a door is in the way, command)
    if goal.needs_lamp:
        lamp = next(item for item in scene.items if item.kind == goal.target_kind)
        deeds.append((wanted[0].receptacle, True, f"take {wanted[0].name} from {wanted[0].receptacle}"))
        deeds.append((lamp.receptacle, False, f"use {lamp.name}"))
    else:
        target = places[goal.target_kind]
        away = [item for item in wanted if goal.station or item.receptacle != target]
        for item in away[: goal.count - len(wanted) + len(away)]:
            deeds.append((item.receptacle, True, f"take {item.name} from {item.receptacle}"))
            if goal.station:
                station = places[goal.station]
                deeds.append((station, False, f"{goal.treatment} {item.name} with {station}"))
            deeds.append((target, True, f"move {item.name} to {target}"))
    commands: list[str] = []
    here, closed = "", {receptacle.name for receptacle in scene.receptacles if receptacle.openable}
    for place, through_door, command in deeds:
        if place != here:
            commands.append(f"go to {place}")
            here = place
        if through_door and place in closed:
            commands.append(f"open {place}")
            closed.remove(place)
        commands.append(command)
    return tuple(commands)


def prove_all(scenes: Mapping[str, Scene], workers: int) -> None:
    """Play games on the engine, in `workers` processes: the intro must be the scene's, the last command solves.

    Raises:
        DataError: names the first game (in the mapping's order) that failed, and why.
    """
    reasons = in_processes(_why_not, list(scenes.values()), workers)
    for (name, scene), reason in zip(scenes.items(), reasons, strict=True):
        if reason is not None:
            raise DataError(f"The generated game {name} {scene.task_text!r} (floor plan {scene.floor_plan}) {reason}.")


def _why_not(scene: Scene) -> str | None:
    """Return what is wrong with the game; None if nothing is."""
    game = json.loads(game_file(scene))
    listing = ", ".join(f"a {receptacle.name}" for receptacle in scene.receptacles[:-1])
    expected = f"you see {listing}, and a {scene.receptacles[-1].name}.\n\nYour task is to: {scene.task_text}"
    with closing(StockEngine()) as engine:
        answer = engine.start(GameFile(Path("generated"), "", game))
        if answer.won:
            return "starts solved"
        if not answer.observation.endswith(expected):
            return f"has the intro {answer.observation!r} where {expected!r} was expected"
        for number, command in enumerate(game["walkthrough"], start=1):
            answer = engine.step(command)
            if not answer.valid:
                return f"does not accept the command {command!r} of its walkthrough"
            if answer.won != (number == len(game["walkthrough"])):
                return f"is {'won' if answer.won else 'not won'} after command {number} of {len(game['walkthrough'])}"
    return None
