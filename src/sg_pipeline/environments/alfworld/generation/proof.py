"""Plays generated games on the unmodified engine: a game enters a panel only when it was won there."""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import Any

from sg_pipeline.environments.alfworld.generation.problem import game_file
from sg_pipeline.environments.alfworld.generation.scene import Scene
from sg_pipeline.errors import DataError


def prove_all(scenes: Mapping[str, Scene], workers: int) -> None:
    """Prove each scene (`prove`), in `workers` processes.

    Raises:
        DataError: names the first game (in the mapping's order) that failed, and why.
    """
    if workers <= 1:
        reasons: Iterable[str | None] = map(_why_not, scenes.values())
        _raise_first(scenes, reasons)
        return
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        _raise_first(scenes, pool.map(_why_not, scenes.values(), chunksize=8))


def prove(scene: Scene) -> None:
    """Check on the engine that names and order are the scene's and that its walkthrough wins, with the last command.

    Raises:
        DataError: says what differs.
    """
    reason = _why_not(scene)
    if reason is not None:
        raise DataError(f"The generated game {scene.task_text!r} (floor plan {scene.floor_plan}) {reason}.")


def _raise_first(scenes: Mapping[str, Scene], reasons: Iterable[str | None]) -> None:
    for (name, scene), reason in zip(scenes.items(), reasons, strict=True):
        if reason is not None:
            raise DataError(f"The generated game {name} {scene.task_text!r} (floor plan {scene.floor_plan}) {reason}.")


def _why_not(scene: Scene) -> str | None:
    """Return what is wrong with the game, None where it is all right."""
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
        if state.feedback == "Nothing happens.":
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
