"""A run as a whole: identity, length, processes, plan, publication."""

import re
from typing import Literal

from pydantic import Field, field_validator

from sg_pipeline.config.section import NAME, Section

Strategy = Literal["ddp", "fsdp2"]


class RunConfig(Section):
    """Identity of a run: name, seed, method.

    Attributes:
        name: of the run's folders; letters, digits, '.', '_' and '-'; GROUP/NAME is in a group's folder.
        seed: of all random numbers in the run.
        threads: torch threads on CPU. Another number may change the last bits of a result.
        processes: number of processes that share the run on this machine; None: on a CPU, the number of cores divided
            by `threads`. Another number may change the last bits of a result.
        method: a file of conf/methods whose parameters override those of conf/; None: none.
        share: copy first steps that another run made with the same parameters (see `runs.shared_steps`); no result
            depends on it.
        when_changed: for existing outputs under this name made with other parameters: "stop" keeps them and refuses to
            run, "start_over" deletes them (for DVC, which keeps the old ones in its cache).
    """

    name: str
    seed: int = Field(ge=0)
    threads: int = Field(ge=1)
    processes: int | None = Field(ge=1)
    method: str | None = None
    share: bool = False
    when_changed: Literal["stop", "start_over"] = "stop"

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, name: str) -> str:
        if not re.fullmatch(f"{NAME}(/{NAME})?", name):
            raise ValueError(
                "a run's name may have letters, digits, '.', '_' and '-', must begin with a letter or digit, and may "
                "follow a group's name of the same form, as in GROUP/NAME"
            )
        return name


class CoevolveConfig(Section):
    """Length of co-evolution.

    Attributes:
        steps: N; a step is one rollout of `rollout.tasks_per_step` groups and the updates on it.
        checkpoint_every: number of steps between checkpoints; a killed run resumes from the last one.
    """

    steps: int = Field(ge=1, le=100_000)
    checkpoint_every: int = Field(ge=1)


class DistributedConfig(Section):
    """Settings of the processes of a run; nothing here changes a result.

    Attributes:
        ranks: required number of processes; None: any.
        strategy: "ddp": each process trains a whole model; "fsdp2": a shard of one; None: as in the launcher's
            configuration, by default "ddp".
        timeout_s: a process that waits longer for another one ends with an error. Nothing that one process does while
            the others wait may take longer, such as compiling a panel's games or the evaluation on a slow process.
    """

    ranks: int | None = Field(ge=1)
    strategy: Strategy | None
    timeout_s: float = Field(gt=0, allow_inf_nan=False)


class PlanConfig(Section):
    """Parameters of `kedro run --pipeline=plan`, next to those of the run that it plans.

    Attributes:
        trial: run the first steps of the run to measure them; false: only the memory formula, and what the run itself
            has recorded.
        trial_steps: number of steps of a trial. The first includes the start of libraries; the mean of the others
            stands for all later steps of the run.
    """

    trial: bool
    trial_steps: int = Field(ge=1)


class PublishConfig(Section):
    """Parameters of `kedro run --pipeline=publish`. Nothing is uploaded unless `push_to_hub` is true.

    Attributes:
        push_to_hub: must be true for the pipeline to do anything.
        repo_id: "owner/name" on the Hugging Face Hub; created if it does not exist.
        private: whether a created repository is private.
        policy: the final one, or the best by `checkpoints.best`.
        optimizer: upload AdamW's moments as well, twice the size of the weights.
    """

    push_to_hub: bool
    repo_id: str | None = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    private: bool
    policy: Literal["final", "best"]
    optimizer: bool


def step_number(index: int, steps: int) -> str:
    """Return a step's number in file names: "007", wider if a run has more than 1000 steps."""
    return f"{index:0{max(3, len(str(steps - 1)))}d}"


def written_steps(config: CoevolveConfig) -> list[int]:
    """Return the numbers of steps after which a run saves its policy: base policy, checkpoints, final policy."""
    return [0, *range(config.checkpoint_every, config.steps, config.checkpoint_every), config.steps]
