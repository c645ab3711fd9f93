"""Identity and length of a run."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class RunConfig(BaseModel):
    """Identity of a run: name, seed, method.

    Attributes:
        name: of the run's folders; letters, digits, '.', '_' and '-'; GROUP/NAME is in a group's folder.
        seed: of all random numbers in the run.
        threads: torch threads on CPU. Another number may change the last bits of a result.
        method: a file of conf/methods whose parameters override those of conf/; None: none.
        share: copy first steps that another run made with the same parameters (see `runs.shared_steps`); no result
            depends on it.
        when_changed: for existing outputs under this name made with other parameters: "stop" keeps them and refuses to
            run, "start_over" deletes them (for DVC, which keeps the old ones in its cache).
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
                "a run's name may have letters, digits, '.', '_' and '-', must begin with a letter or digit, and may "
                "follow a group's name of the same form, as in GROUP/NAME"
            )
        return name


class CoevolveConfig(BaseModel):
    """Length of co-evolution.

    Attributes:
        steps: N; a step is one rollout of `rollout.tasks_per_step` groups and the updates on it.
        checkpoint_every: number of steps between checkpoints; a killed run resumes from the last one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1, le=100_000)
    checkpoint_every: int = Field(ge=1)


def step_number(index: int, steps: int) -> str:
    """Return a step's number in file names: "007", wider if a run has more than 1000 steps."""
    return f"{index:0{max(3, len(str(steps - 1)))}d}"


def written_steps(config: CoevolveConfig) -> list[int]:
    """Return the numbers of steps after which a run saves its policy: base policy, checkpoints, final policy."""
    return [0, *range(config.checkpoint_every, config.steps, config.checkpoint_every), config.steps]
