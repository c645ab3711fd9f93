"""ScienceWorld behind the environment protocol, and the texts that go into the simulator and come out of it."""

import re
from pathlib import Path

from sg_pipeline.environments.base import StepResult
from sg_pipeline.environments.scienceworld.jvm import HEAP_MB, World, shared_simulator
from sg_pipeline.environments.scienceworld.panel import parse_path, require_simulator
from sg_pipeline.trajectories.types import Task

WON = 100
"""The official score of a solved task."""

MAX_ACTION_CHARACTERS = 500
"""Longer than any command that the simulator knows; it would search for one from every character all the same."""

NOT_UNDERSTOOD = "No known action matches that input."
"""The simulator's answer to an action that it cannot read."""

CANCELLED = re.compile(r"ERROR: (?:Unknown response|Value out of range) \(.*\)\.\s+Action cancelled\.", re.DOTALL)
"""Its answer to a reply that is none of the numbers it asked for."""

QUESTION = "Ambiguous request:"
"""How it asks for a number; the next action answers, and an empty one cancels."""

THINGS = "Things here: "
"""Begins the line that lists what is in sight."""

ROOM = re.compile(r"^This (?:room is called|outside location is called) the ([^.\n]+)", re.MULTILINE)
"""How the simulator describes a place."""

_MOVED = re.compile(r"You (?:move|teleport) to the [^.\n]+\.")
# "reset task" would allow a second try, and no other command begins so. "help" and "objects" belong to the published
# wrapper, which answers them itself.
_HIDDEN = re.compile(r"reset\b.*", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\s]+")


class ScienceWorldEnvironment:
    """Plays ScienceWorld tasks (see `environments.base.Environment`).

    The score is the official one over 100, with negative scores as 0; a task is solved at 100. The reward is what an
    action adds to that, so that rewards sum to the final score. The simulator ends an episode that is solved, or lost:
    "focus on" a wrong thing scores -100. It has no step limit here: limits are the rollout's.

    An action is valid iff the simulator could read it ("No known action matches that input." otherwise), even if it had
    no effect ("The air is not edible."). If a name fits several things, the simulator asks for a number. The first
    observation holds the task; the room is shown there and after each change of place.
    """

    def __init__(
        self,
        data_root: Path | str = "",
        cache_dir: Path | None = None,
        simplifications: str = "easy",
        show_actions: bool = True,
        show_objects: bool = True,
        show_room: bool = True,
        heap_mb: int = HEAP_MB,
    ) -> None:
        """Prepare an environment without starting anything.

        Args:
            data_root, cache_dir: not used, the simulator contains its tasks.
            simplifications: "easy" (the field's: teleporting, open doors, flower pots that water themselves, no
                electrical actions if the task needs none), the simulator's own names with commas between them, or
                nothing.
            show_actions: list the action templates in the first observation.
            show_objects: list the names of the things in sight in the first observation and after each action.
            show_room: after a change of place, show the room, as "look around" would.
            heap_mb: limit of the JVM's heap, which all environments of a process share.
        """
        self._simplifications = simplifications
        self._show_actions, self._show_objects, self._show_room = show_actions, show_objects, show_room
        self._heap_mb = heap_mb
        self._world: World | None = None
        self._task: tuple[str, int] = ("", 0)
        self._actions: list[str] = []
        self._score = 0
        self._playing = False

    def reset(self, task: Task, seed: int) -> StepResult:
        """Start an episode of `task`.

        Args:
            task: `task.path` is "NAME/VARIATION"; a non-empty `task.sha256` must be the digest of the simulator's jar.
            seed: not used: a variation's number is the seed of its world, as published.

        Raises:
            ConfigurationError, EnvironmentFailure: as `java.start_java`.
            DataError: there is no such task or variation, or the panel is of another simulator.
        """
        self._playing = False
        self._task = parse_path(task.path, task.task_id)
        if task.sha256:
            require_simulator(task.sha256, task.task_id)
        self._actions, self._score = [], 0
        world = self._enter()
        parts = [tidy(world.description()), tidy(world.look())]
        actions = [template for template in world.possible_actions() if not _HIDDEN.fullmatch(template)]
        if self._show_actions:
            parts.append(f"Actions (OBJ is a thing): {', '.join(actions)}.")
        self._playing = True
        forms = tuple(action.replace("OBJ", "(thing)") for action in actions)
        return StepResult(observation="\n".join([*parts, *self._objects(world)]), forms=forms)

    def step(self, action: str) -> StepResult:
        """Play one action, exactly as the policy wrote it; control characters count as spaces.

        Raises `RuntimeError` if there is no episode, it has ended, or the JVM died of this action.
        """
        if not self._playing or self._world is None:
            raise RuntimeError("ScienceWorldEnvironment.step was called without an episode: call reset first.")
        world = self._world
        if (
            not world.simulator.alive
        ):  # because of another episode: this one continues in a new JVM, exactly where it was
            world = self._enter()
            for done in self._actions:
                world.act(done)
        command = clean_action(action)
        if command is None:
            answer, score, ended = NOT_UNDERSTOOD, self._score, False
        else:
            answer, score, ended = world.act(command)
            self._actions.append(command)
        answer = answer.strip() or NOT_UNDERSTOOD
        reward = (max(0, score) - max(0, self._score)) / WON
        self._score = score
        ended = ended or score < 0
        self._playing = not ended
        parts = [tidy(answer)]
        if not ended:
            if self._show_room and _MOVED.fullmatch(answer):
                parts.append(tidy(world.look()))
            parts += self._objects(world)
        return StepResult(
            observation="\n".join(parts),
            reward=reward,
            done=ended,
            won=score >= WON,
            score=max(0, score) / WON,
            valid=answer != NOT_UNDERSTOOD and not CANCELLED.fullmatch(answer),
        )

    def close(self) -> None:
        """Release the world; the JVM serves the next environment in this process."""
        self._playing = False
        if self._world is not None:
            self._world.close()
            self._world = None

    def _enter(self) -> World:
        """Create the task's world, in the JVM that is running now."""
        self.close()
        world = self._world = World(shared_simulator(self._heap_mb))
        world.load(*self._task, self._simplifications)
        return world

    def _objects(self, world: World) -> list[str]:
        if not self._show_objects:
            return []
        return [f"{THINGS}{', '.join(world.visible_objects()) or 'none'}."]


def clean_action(action: str) -> str | None:
    """Return the action as the simulator shall read it; None if it shall not see it."""
    action = _UNPRINTABLE.sub(" ", action.encode("utf-8", "replace").decode("utf-8")).strip()
    if len(action) > MAX_ACTION_CHARACTERS or _HIDDEN.fullmatch(action):
        return None
    return action


def tidy(answer: str) -> str:
    """Return the simulator's answer without tabs and spaces at the ends of lines."""
    return "\n".join(line.strip() for line in answer.strip().splitlines())
