"""What a run is, and how long it lasts."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class RunConfig(BaseModel):
    """Who this run is.

    Attributes:
        name: names the run's folders; letters, digits, '.', '_' and '-'; GROUP/NAME puts it into a group's folder.
        seed: of everything random in the run.
        threads: torch threads on CPU. Another number may change the last bits of a result.
        method: a file of conf/methods whose parameters lie over those of conf/; None: none.
        share: steps at the beginning that another run has made with the same parameters are taken over from it (see
            `runs.shared_steps`); no result depends on it.
        when_changed: what happens to outputs under this name that were made with other parameters: "stop" keeps them
            and refuses to run, "start_over" deletes them (for DVC, which keeps the old ones in its cache).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    seed: int = Field(ge=0)
    threads: int = Field(ge=1)
    method: str | None = None
    share: bool = False
    when_changed: Literal["stop", "start_over"] = "stop"

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?", name):
            raise ValueError(
                "a run's name may have letters, digits, '.', '_' and '-', starts with one of the first two, and may "
                "have a group's name of the same kind before it, as in GROUP/NAME"
            )
        return name


class CoevolveConfig(BaseModel):
    """How long co-evolution lasts.

    Attributes:
        steps: N; a step is one rollout of `rollout.tasks_per_step` groups and the updates on it.
        checkpoint_every: after every so many steps the policy is written down; a killed run goes on from there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1, le=100_000)
    checkpoint_every: int = Field(ge=1)


def step_number(index: int, steps: int) -> str:
    """A step's number as it stands in the names of files: "007", wider where a run has more than 1000 steps."""
    return f"{index:0{max(3, len(str(steps - 1)))}d}"


def written_steps(config: CoevolveConfig) -> list[int]:
    """Return after how many steps a run writes its policy down: base policy, checkpoints, final policy."""
    return [0, *range(config.checkpoint_every, config.steps, config.checkpoint_every), config.steps]
