"""Steps of a run: their number, their phases, and where the policy is saved."""

from collections.abc import Sequence
from dataclasses import dataclass

from sg_pipeline.config.base_model import WarmStartStage
from sg_pipeline.config.rewards import TrustSchedule
from sg_pipeline.config.run import CoevolveConfig, step_number


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the unrolled graph.

    Attributes:
        index: u.
        namespace: "phase_2_activation.step_041".
        policy_in, policy_out: dataset names of the policy before and after.
    """

    index: int
    namespace: str
    policy_in: str
    policy_out: str


BASE_POLICY = "base_policy"
FINAL_POLICY = "final_policy"
GUIDE = "guide"
"""The frozen policy that writes the guidance if `rollout.guide` names one."""

WARM_START = "warm_start"
"""Namespace of the parts of a warm start."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a warm start.

    Attributes:
        namespace: "warm_start.part_03".
        policy_in, policy_out: dataset names of the policy before and after.
        validated: the policy after it plays the validation games.
    """

    namespace: str
    policy_in: str
    policy_out: str
    validated: bool


def warm_start_parts(stages: Sequence[WarmStartStage]) -> list[Part]:
    """Return the parts of all stages, each linked to the next by a checkpoint."""
    numbered = [(stage, number) for stage in stages for number in range(1, stage.parts + 1)]
    parts: list[Part] = []
    policy_in = f"{WARM_START}.start.policy"
    for index, (stage, number) in enumerate(numbered):
        namespace = f"{WARM_START}.part_{step_number(index, len(numbered))}"
        policy_out = f"{namespace}.checkpoint" if index < len(numbered) - 1 else BASE_POLICY
        validated = stage.validate_every > 0 and number % stage.validate_every == 0
        parts.append(Part(namespace, policy_in, policy_out, validated))
        policy_in = policy_out
    return parts


VALIDATION = "validation"
"""Namespace of the validation datasets."""


def validation_output(after: int, steps: int) -> str:
    """Return the dataset that holds the validation of the policy trained for `after` of `steps` steps."""
    return f"{VALIDATION}.after_{step_number(after, steps + 1)}"


def unroll(config: CoevolveConfig, schedule: TrustSchedule) -> list[Step]:
    """Return the steps of a run, each linked to the next by its policy.

    The dataset name of the link shows its kind: "….policy" is in memory, "….checkpoint" is also written to disk.
    """
    steps = []
    policy_in = BASE_POLICY
    for index in range(config.steps):
        namespace = f"{schedule.phase(index, config.steps)}.step_{step_number(index, config.steps)}"
        if index == config.steps - 1:
            policy_out = FINAL_POLICY
        elif (index + 1) % config.checkpoint_every == 0:
            policy_out = f"{namespace}.checkpoint"
        else:
            policy_out = f"{namespace}.policy"
        steps.append(Step(index, namespace, policy_in, policy_out))
        policy_in = policy_out
    return steps
