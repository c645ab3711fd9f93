"""The loop is the graph: one `step` pipeline, namespaced `phase_k_name.step_NNN` and linked by the policy."""

from kedro.pipeline import Pipeline

from sg_pipeline.config.rewards import TrustSchedule
from sg_pipeline.config.run import CoevolveConfig
from sg_pipeline.pipelines import step
from sg_pipeline.runs.steps import unroll


def create_pipeline(config: CoevolveConfig, schedule: TrustSchedule, guided: bool = False) -> Pipeline:
    """Unroll the co-evolution.

    Args:
        config: number of steps, and how often the policy is written down.
        schedule: gives the phases their borders.
        guided: a frozen `guide` writes the guidance.

    Returns:
        4 * steps nodes from `base_policy` to `final_policy`.
    """
    steps = unroll(config, schedule)
    return Pipeline(
        [step.create_pipeline(place.namespace, place.policy_in, place.policy_out, guided=guided) for place in steps]
    )
