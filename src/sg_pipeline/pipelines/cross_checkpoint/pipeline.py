"""Cross-checkpoint: one node for each guide, and one that compares them."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.evaluation import CrossCheckpointConfig
from sg_pipeline.config.rewards import TrustSchedule
from sg_pipeline.config.run import CoevolveConfig
from sg_pipeline.pipelines.cross_checkpoint.nodes import compare_guides
from sg_pipeline.pipelines.evaluate.nodes import play_with_guidance
from sg_pipeline.runs.steps import BASE_POLICY, unroll

NAMESPACE = "cross_checkpoint"


def create_pipeline(config: CrossCheckpointConfig, coevolve: CoevolveConfig, schedule: TrustSchedule) -> Pipeline:
    """Return the cross-checkpoint study of a finished run.

    Args:
        config: the checkpoints to compare.
        coevolve: steps and checkpoints of the run.
        schedule: names their datasets.
    """
    policy, guides = config.steps(coevolve)
    written = {0: BASE_POLICY, **{place.index + 1: place.policy_out for place in unroll(coevolve, schedule)}}
    episodes = {guide: f"{NAMESPACE}.policy_{policy:03d}_guide_{guide:03d}" for guide in guides}
    played = [
        Node(
            play_with_guidance,
            [
                written[policy],
                "panel",
                "games",
                "compiled_games",
                "params:environment",
                "params:rollout",
                "params:sampling",
                "params:evaluate",
                "params:run",
                written[guide],
            ],
            episodes[guide],
            name=f"play_guide_{guide:03d}",
            namespace=NAMESPACE,
        )
        for guide in guides
    ]
    inputs = ["panel", "params:cross_checkpoint", "params:coevolve", "params:evaluate", "params:run"]
    compared = Node(
        compare_guides,
        [*inputs, *episodes.values()],
        f"{NAMESPACE}.table",
        name="compare_guides",
        namespace=NAMESPACE,
    )
    return Pipeline([*played, compared])
