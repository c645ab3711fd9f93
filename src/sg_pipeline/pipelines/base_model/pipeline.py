"""Base policy: one node that loads it, and one for each part of a warm start."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.base_model import BaseModelConfig
from sg_pipeline.pipelines.base_model.nodes import imitate, load_base_policy
from sg_pipeline.pipelines.validation import validation_node, validation_panel_node
from sg_pipeline.runs.steps import BASE_POLICY, warm_start_parts


def create_pipeline(config: BaseModelConfig, guided: bool = False) -> Pipeline:
    """Return the pipeline that writes the base policy.

    Args:
        config: says whether there is a warm start, and of which parts.
        guided: a frozen `guide` writes the guidance in validations.
    """
    parts = warm_start_parts(config.warm_start) if config.source == "warm_start" else []
    nodes = [
        Node(
            load_base_policy,
            ["params:base_model", "params:environment", "project_folder", "params:run"],
            parts[0].policy_in if parts else BASE_POLICY,
            name="load_base_policy",
        )
    ]
    for part in parts:
        inputs = [
            part.policy_in,
            "params:base_model",
            "params:environment",
            "params:tasks",
            "params:rollout",
            "games",
            "compiled_games",
            "project_folder",
            "params:run",
        ]
        # The policy is saved last: where a checkpoint exists, its report exists as well.
        outputs = [f"{part.namespace}.report", part.policy_out]
        nodes.append(Node(imitate, inputs, outputs, name="imitate", namespace=part.namespace))
        if part.validated:
            folder = "base_policy_folder" if part.policy_out == BASE_POLICY else f"{part.namespace}.folder"
            nodes.append(validation_node(part.policy_out, folder, f"{part.namespace}.validation", guided))
    if any(part.validated for part in parts):
        nodes.append(validation_panel_node())
    return Pipeline(nodes)
