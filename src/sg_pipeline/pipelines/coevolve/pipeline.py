"""The loop is the graph: one `step` pipeline, namespaced `phase_k_name.step_NNN` and linked by the policy."""

from kedro.pipeline import Pipeline, pipeline

from sg_pipeline.config.rewards import TrustSchedule
from sg_pipeline.config.run import CoevolveConfig
from sg_pipeline.pipelines import step
from sg_pipeline.runs.steps import GUIDE, unroll

SHARED_INPUTS = {"panel", "games", "compiled_games", "base_policy_folder"}
SHARED_PARAMETERS = {
    f"params:{name}"
    for name in ("run", "environment", "rollout", "sampling", "validate", "aggregate", "train", "coevolve")
}


def create_pipeline(config: CoevolveConfig, schedule: TrustSchedule, guided: bool = False) -> Pipeline:
    """Unroll the co-evolution.

    Args:
        config: number of steps, and how often the policy is written down.
        schedule: gives the phases their borders.
        guided: a frozen `guide` writes the guidance.

    Returns:
        4 * steps nodes from `base_policy` to `final_policy`.
    """
    one = step.create_pipeline(guided)
    shared = SHARED_INPUTS | {GUIDE} if guided else SHARED_INPUTS
    return Pipeline(
        [
            pipeline(
                one,
                namespace=place.namespace,
                inputs={"policy": place.policy_in, **{name: name for name in shared}},
                outputs={"trained_policy": place.policy_out},
                parameters={name: name for name in SHARED_PARAMETERS},
            )
            for place in unroll(config, schedule)
        ]
    )
