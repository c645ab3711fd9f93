"""Turns a `Scene` into the game file that the unmodified TextWorld/ALFWorld engine plays.

A game file (`game.tw-pddl`) is JSON: the PDDL domain and the text grammar that alfworld ships (the task sentence baked
into the grammar), the PDDL problem, and a walkthrough. The same scene always gives the same bytes.
"""

import json
from functools import cache
from pathlib import Path

from sg_pipeline.environments.alfworld.generation import layouts
from sg_pipeline.environments.alfworld.generation.naming import pddl_id
from sg_pipeline.environments.alfworld.generation.scene import Scene
from sg_pipeline.environments.alfworld.generation.walkthrough import walkthrough

# The domain's actions name these types without declaring them, so every problem must.
_RECEPTACLE_TYPES_OF_DOMAIN = {"SinkBasin", "Microwave", "Fridge"}
_ITEM_TYPES_OF_DOMAIN = {"Knife", "ButterKnife"}

# The agent starts where no receptacle is: only then does the intro list the receptacles.
_START = "loc_bar_00"

_PROPERTIES = (
    ("cleanable", layouts.CLEANABLE),
    ("heatable", layouts.HEATABLE),
    ("coolable", layouts.COOLABLE),
    ("sliceable", layouts.SLICEABLE),
    ("toggleable", frozenset(layouts.LAMPS)),
    ("isReceptacleObject", layouts.CONTAINERS),
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
    """Return the scene as a PDDL problem: domain, objects, init, goal, in the order that the translator insists on."""
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
            if item_kind not in layouts.LAMPS and layouts.may_hold(receptacle_kind, item_kind)
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
