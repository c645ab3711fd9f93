"""Rollouts, and the gate after them."""

import datetime
from typing import Literal

from pydantic import Field

from sg_pipeline.config.section import Section

DATE = datetime.date(2024, 7, 26)
"""What a chat template uses as today's date: the default date of Llama 3's templates."""


class RolloutConfig(Section):
    """The rollout of a step.

    Attributes:
        tasks_per_step: groups in a step.
        group_size: episodes of each task; advantages compare them with each other.
        max_turns: an episode that has not ended by then is truncated.
        max_new_tokens: limit of one completion.
        max_length: limit of a whole trajectory in tokens; an episode that could exceed it is truncated.
        max_observation_tokens: a longer context of a later turn loses its middle; None: never.
        temperature: of sampling; the recorded log-probabilities include it (0: the likeliest token, for evaluations).
        guidance: the policy writes guidance before each action.
        prompts: name or path of the prompt set.
        date: today's date for chat templates that ask for it, so that prompts are the same on every day.
        dynamic_sampling: DAPO's: groups whose episodes all succeed or all fail are counted and not trained on; up to
            this many further rounds play other tasks in their place. 0: off. Only for co-evolution steps.
        guide: checkpoint folder of a frozen policy that writes the guidance in the policy's place (two calls a turn);
            None: the policy writes its own.
        rows: limit of episodes played at once, in whole groups (at least one); the others follow in further waves.
            None: all. Like `cache_gib`, it changes no trajectory.
        cache_gib: limit of the keys and values of the transformers sampler, also in evaluations: as many episodes are
            played at once as fit even if all of them reach `max_length`. None: no limit.
    """

    tasks_per_step: int = Field(ge=1)
    group_size: int = Field(ge=1)
    max_turns: int = Field(ge=1)
    max_new_tokens: int = Field(ge=1)
    max_length: int = Field(ge=2)
    max_observation_tokens: int | None = Field(default=None, ge=2)
    temperature: float = Field(ge=0, allow_inf_nan=False)
    guidance: bool
    prompts: str
    date: datetime.date
    dynamic_sampling: int = Field(default=0, ge=0)
    guide: str | None = None
    rows: int | None = Field(default=None, ge=1)
    cache_gib: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class GateConfig(Section):
    """How strict the gate is.

    Attributes:
        incomplete_groups: "drop" quarantines the rest of a group that lost a trajectory, since its mean and deviation
            would be those of a selection; "keep" trains on the rest if it has at least two.
        max_quarantined_share: above this share of trajectories the run stops.
    """

    incomplete_groups: Literal["drop", "keep"]
    max_quarantined_share: float = Field(ge=0.0, le=1.0)
