"""The types of an episode: the map of the house.

    Task ──► Trajectory = Turn, Turn, …, Turn
                            observation ─► guidance (polarity) ─► action ─► reward

A trajectory is one append-only token sequence: the concatenation over its turns of `context_ids` (what the
environment and the chat template put there) and `completion_ids` (what the policy wrote). Ids and
log-probabilities go from the sampler to the trainer untouched; text is never encoded a second time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum

SCHEMA_VERSION = 1
"""Raised whenever a column changes its name, type or meaning."""

TRAJECTORY_KEY = ["step", "group", "item"]
"""The columns that name one trajectory within a run."""

GROUP_KEY = ["step", "group"]
"""The columns that name one group."""

TASK_COLUMNS = ["task_id", "environment", "split", "task_type", "task_path", "task_sha256"]

ANY = 2**31
"""A limit that nothing exceeds."""


class Polarity(StrEnum):
    """What a guidance says of the trajectory so far."""

    POSITIVE = "positive"
    """The trajectory is on track."""
    NEUTRAL = "neutral"
    """No verdict; also what an unparseable guidance counts as."""
    NEGATIVE = "negative"
    """The trajectory has gone wrong."""


class Segment(IntEnum):
    """Who wrote a token, and as what. Only guidance and action tokens carry loss."""

    ENVIRONMENT = 0
    """Template, task text and observations: never trained on."""
    GUIDANCE = 1
    """The self-guidance z_t, its tags included."""
    ACTION = 2
    """The action a_t, its tags and the end-of-turn token included, and all reasoning, before the guidance as well."""


@dataclass(frozen=True, slots=True)
class Task:
    """One game of a frozen panel.

    Attributes:
        task_id: unique within all splits; names the game in every result.
        environment: name of the environment that plays it, e.g. "alfworld".
        split: of the panel: "train", or one of those that the benchmark evaluates.
        task_type: the benchmark's own task family, e.g. "pick_and_place_simple".
        path: the file that the environment loads, relative to the panel's data folder.
        sha256: digest of that file's bytes.
    """

    task_id: str
    environment: str
    split: str
    task_type: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One decision: observation, completion, effect.

    Attributes:
        observation: the text that precedes the decision (the first one holds the task).
        context_ids: tokens put before the completion since the last one, generation prompt included.
        completion_ids: tokens that the policy sampled, end-of-turn token included where it was sampled.
        logprobs: log pi(token) of each completion token at sampling time, temperature included. Same length.
        segments: `Segment` of each completion token. Same length.
        guidance: the guidance text without tags; None where guidance is off or was not found.
        polarity: None where guidance is off; NEUTRAL where it was not parseable.
        guidance_parsed: a guidance with a polarity was found (False where guidance is off).
        action: the text handed to the environment.
        action_parsed: the action was found in its tags.
        action_valid: the environment accepted the action.
        reward: the environment's reward for this step; their sum is the episode's R_env. Without grades it is 1 on the
            step that solves the task and 0 on all others.
        done: the environment ended the episode at this step.
    """

    observation: str
    context_ids: list[int]
    completion_ids: list[int]
    logprobs: list[float]
    segments: list[int]
    guidance: str | None
    polarity: Polarity | None
    guidance_parsed: bool
    action: str
    action_parsed: bool
    action_valid: bool
    reward: float
    done: bool


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One whole episode of one task under one policy version.

    Attributes:
        task: what was played.
        group: index of the group (all trajectories of one task in one step share it).
        item: index within the group.
        policy_step: how many co-evolution steps the sampling policy had been trained for.
        turns: in order; at least one.
        won: the task's goal was reached.
        truncated: the episode ended on its step limit or token budget, not by the environment.
        score: graded score in [0, 1]; equals float(won) where the benchmark has no grades.
    """

    task: Task
    group: int
    item: int
    policy_step: int
    turns: tuple[Turn, ...]
    won: bool
    truncated: bool
    score: float

    def tokens(self) -> Iterator[tuple[int, float, Segment]]:
        """Yield (id, log-probability, segment) of the whole append-only sequence; environment tokens carry 0.0."""
        for turn in self.turns:
            for token in turn.context_ids:
                yield token, 0.0, Segment.ENVIRONMENT
            for token, logprob, segment in zip(turn.completion_ids, turn.logprobs, turn.segments, strict=True):
                yield token, logprob, Segment(segment)
