"""Rollouts, and the gate behind them."""

import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

DATE = datetime.date(2024, 7, 26)
"""What a template takes for today; it is the date that Llama 3's templates give where they know no other."""


class RolloutConfig(BaseModel):
    """What a step's rollout is.

    Attributes:
        tasks_per_step: groups in a step.
        group_size: episodes of each task, compared with each other by the advantages.
        max_turns: an episode that has not ended by then is truncated.
        max_new_tokens: tokens of one completion at most.
        max_length: tokens of a whole trajectory at most; an episode that could exceed it is truncated.
        max_observation_tokens: a longer context of a later turn loses its middle; None: never.
        temperature: of sampling; the recorded log-probabilities include it (0: the likeliest token, for evaluations).
            For the maker of the sampler.
        guidance: the policy writes guidance before each action. For the maker of the agent format.
        prompts: name or path of the prompt set. For the maker of the agent format.
        date: what a chat template that asks for the date gets for today, so that prompts are the same on every day.
        dynamic_sampling: DAPO's: groups whose episodes all win or all lose are played, counted and not trained on; at
            most this many further rounds play other tasks in their place. 0: off. For co-evolution steps.
        guide: checkpoint folder of a frozen policy that writes the guidance in the policy's place (two calls a turn);
            None: the policy writes its own. For co-evolution steps.
        rows: episodes played at once at most, in whole groups (one group at least); the others follow when these have
            ended. None: all. No trajectory depends on it, nor on the next.
        cache_gib: of keys and values of the transformers sampler at most: so many episodes are played at once as fit
            in even if all of them reach `max_length`. None: no limit. Evaluations keep to it as well.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks_per_step: int = Field(ge=1)
    group_size: int = Field(ge=1)
    max_turns: int = Field(ge=1)
    max_new_tokens: int = Field(ge=1)
    max_length: int = Field(ge=2)
    max_observation_tokens: int | None = Field(default=None, ge=2)
    temperature: float = Field(ge=0)
    guidance: bool
    prompts: str
    date: datetime.date
    dynamic_sampling: int = Field(default=0, ge=0)
    guide: str | None = None
    rows: int | None = Field(default=None, ge=1)
    cache_gib: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class GateConfig(BaseModel):
    """How strict the gate is.

    Attributes:
        incomplete_groups: "drop" quarantines what is left of a group that lost a trajectory, since its mean and
            deviation would be those of a selection; "keep" trains on what is left if that is two or more.
        max_quarantined_share: above this share of trajectories the run stops.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    incomplete_groups: Literal["drop", "keep"]
    max_quarantined_share: float = Field(ge=0.0, le=1.0)
