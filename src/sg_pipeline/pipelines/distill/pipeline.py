"""Distill."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.pipelines.distill.nodes import choose_lessons, distill_guide
from sg_pipeline.runs.steps import BASE_POLICY


def create_pipeline() -> Pipeline:
    """Return the pipeline that makes a guide of the base policy."""
    return Pipeline(
        [
            Node(
                choose_lessons,
                ["params:distill", "recorded_trajectories", "params:run"],
                "lessons",
                name="choose_lessons",
            ),
            Node(
                distill_guide,
                [BASE_POLICY, "lessons", "params:distill", "params:environment", "params:rollout", "params:run"],
                ["distillation", "distilled_guide"],
                name="distill_guide",
            ),
        ]
    )
