"""The step: roll out -> validate -> aggregate -> train."""

from kedro.pipeline import Node, Pipeline

from sg_pipeline.pipelines.step.nodes import aggregate, rollout, train, validate
from sg_pipeline.runs.steps import GUIDE


def create_pipeline(guided: bool = False) -> Pipeline:
    """Return the four nodes of a step; `policy` goes in, `trained_policy` comes out.

    Args:
        guided: a frozen `guide` writes the guidance.
    """
    played = [
        "policy",
        "panel",
        "games",
        "compiled_games",
        "params:environment",
        "params:rollout",
        "params:sampling",
        "params:run",
    ]
    return Pipeline(
        [
            Node(
                rollout,
                [*played, GUIDE] if guided else played,
                ["trajectories", "rollout_report"],
                name="rollout",
            ),
            Node(
                validate,
                ["trajectories", "rollout_report", "params:validate", "params:rollout"],
                ["validated", "quarantined"],
                name="validate",
            ),
            Node(
                aggregate,
                ["validated", "quarantined", "params:aggregate", "params:rollout", "params:coevolve"],
                ["rewards", "dials"],
                name="aggregate",
            ),
            Node(
                train,
                [
                    "policy",
                    "validated",
                    "rewards",
                    "dials",
                    "rollout_report",
                    "base_policy_folder",
                    "params:train",
                    "params:rollout",
                    "params:sampling",
                    "params:run",
                ],
                # The policy is saved last: a checkpoint that exists has its metrics beside it.
                ["metrics", "logprob_gaps", "trained_policy"],
                name="train",
            ),
        ]
    )
