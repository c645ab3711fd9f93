"""Validation: one node for each saved policy."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.rewards import TrustSchedule
from sg_pipeline.config.run import CoevolveConfig, step_number, written_steps
from sg_pipeline.pipelines.validation.nodes import prepare_validation_panel, validate_policy
from sg_pipeline.runs.steps import FINAL_POLICY, GUIDE, VALIDATION, unroll, validation_output


def create_pipeline(config: CoevolveConfig, schedule: TrustSchedule, guided: bool = False) -> Pipeline:
    """Return the validation of all checkpoints and of the final policy.

    Args:
        config: steps and checkpoints of the run.
        schedule: names their datasets.
        guided: a frozen `guide` writes the guidance.
    """
    written = {place.index + 1: place for place in unroll(config, schedule)}
    nodes = [
        Node(
            prepare_validation_panel,
            [
                "params:validation",
                "params:evaluate",
                "params:environment",
                "params:tasks",
                "panel",
                "games",
                "compiled_games",
                "project_folder",
            ],
            "validation_panel",
            name="prepare_validation_panel",
        )
    ]
    for after in written_steps(config)[1:]:
        place = written[after]
        inputs = {
            "written": place.policy_out,
            "panel": "validation_panel",
            "games": "games",
            "compiled": "compiled_games",
            "environment": "params:environment",
            "rollout": "params:rollout",
            "sampling": "params:sampling",
            "config": "params:validation",
            "evaluation": "params:evaluate",
            "run": "params:run",
            **({"guide": GUIDE} if guided else {}),
        }
        if place.policy_out != FINAL_POLICY:
            inputs["folder"] = f"{VALIDATION}.folder_{step_number(place.index, config.steps)}"
        output = validation_output(after, config.steps)
        nodes.append(Node(validate_policy, inputs, output, name=output.replace(".", "_")))
    return Pipeline(nodes)
