"""The commands with which someone who sees everything wins a generated game.

They go into the game file, prove at panel creation that the game can be won, and are no demonstration: a player who
does not see through closed doors has to search (see `../expert.py`).
"""

from sg_pipeline.environments.alfworld.generation.goals import STATIONS
from sg_pipeline.environments.alfworld.generation.scene import Receptacle, Scene

_VERBS = {
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
}


def walkthrough(scene: Scene) -> tuple[str, ...]:
    """Return a winning sequence of commands.

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
            f"{amount} {goal.item_kind} to bring but {len(wanted)} to be had in the scene of {scene.task_text!r}"
        )
    for item in wanted[:amount]:
        plan.take(item.name, item.receptacle)
        if goal.task_type in STATIONS:
            station = plan.first(STATIONS[goal.task_type])
            plan.go(station.name)
            plan.commands.append(f"{_VERBS[goal.task_type]} {item.name} with {station.name}")
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
