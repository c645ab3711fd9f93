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
    nodes = [validation_panel_node()]
    for after in written_steps(config)[1:]:
        place = written[after]
        saved = f"{VALIDATION}.folder_{step_number(place.index, config.steps)}"
        folder = None if place.policy_out == FINAL_POLICY else saved
        nodes.append(validation_node(place.policy_out, folder, validation_output(after, config.steps), guided))
    return Pipeline(nodes)


def validation_panel_node() -> Node:
    """Return the node that prepares the validation games."""
    inputs = [
        "params:validation",
        "params:evaluate",
        "params:environment",
        "params:tasks",
        "panel",
        "games",
        "compiled_games",
        "project_folder",
    ]
    return Node(prepare_validation_panel, inputs, "validation_panel", name="prepare_validation_panel")


def validation_node(policy: str, folder: str | None, output: str, guided: bool) -> Node:
    """Return the node that lets one policy play the validation games.

    Args:
        policy: its dataset.
        folder: dataset of its folder, if the live policy is trained further; None: it is not.
        output: dataset of the result.
        guided: a frozen `guide` writes the guidance.
    """
    inputs = {
        "written": policy,
        "panel": "validation_panel",
        "games": "games",
        "compiled": "compiled_games",
        "environment": "params:environment",
        "rollout": "params:rollout",
        "sampling": "params:sampling",
        "config": "params:validation",
        "evaluation": "params:evaluate",
        "run": "params:run",
        **({"folder": folder} if folder else {}),
        **({"guide": GUIDE} if guided else {}),
    }
    return Node(validate_policy, inputs, output, name=output.replace(".", "_"))
