"""The protocol behind which every benchmark stands.

An environment lives in one worker process (see `pool.py`), holds at most one episode at a time and may be
reused for any number of them. A new benchmark is one class with these three methods and one line of
configuration.
"""

from dataclasses import dataclass
from typing import Protocol

from sg_pipeline.trajectories.types import Task


@dataclass(frozen=True, slots=True)
class StepResult:
    """What the environment answers to `reset` or to an action.

    Attributes:
        observation: the text to show. After `reset` it holds the room and the task.
        reward: this step's environment reward (0.0 after reset).
        done: the environment ended the episode (won or lost), not a step limit: limits are the rollout's.
        won: the goal is reached.
        score: graded score in [0, 1].
        valid: the action was understood and possible (True after reset).
        admissible: the commands that are possible now; None unless asked for.
        parts: what the score is made of, (name, value in [0, 1]) each; those of an episode's last answer count.
        forms: after `reset`, the forms of this game's commands, such as "take (object) from (receptacle)", for prompts
            that list them; empty where the environment names none.
    """

    observation: str
    reward: float = 0.0
    done: bool = False
    won: bool = False
    score: float = 0.0
    valid: bool = True
    admissible: tuple[str, ...] | None = None
    parts: tuple[tuple[str, float], ...] = ()
    forms: tuple[str, ...] = ()


class Environment(Protocol):
    """One text environment. Deterministic: the same task, seed and actions give the same texts and rewards."""

    def reset(self, task: Task, seed: int) -> StepResult:
        """Start an episode of `task`. Raises `DataError` where the game cannot be loaded."""
        ...

    def step(self, action: str) -> StepResult:
        """Play one action, exactly as the policy wrote it."""
        ...

    def close(self) -> None:
        """Free what the environment holds; it is not used again."""
        ...
