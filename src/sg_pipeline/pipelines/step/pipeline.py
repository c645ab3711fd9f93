"""The step: roll out -> validate -> aggregate -> train."""

from kedro.pipeline import Node, Pipeline, pipeline

from sg_pipeline.pipelines.step.nodes import aggregate, rollout, train, validate
from sg_pipeline.runs.steps import GUIDE

SINGLE = "step.single"
"""Namespace of one step on its own: `kedro run --pipeline=rollout`, then validate, aggregate, train."""

_SHARED = {"panel", "games", "compiled_games", "base_policy_folder"}
_PARAMETERS = {
    f"params:{name}"
    for name in ("run", "environment", "rollout", "sampling", "validate", "aggregate", "train", "coevolve")
}


def create_pipeline(namespace: str, policy_in: str, policy_out: str, *, guided: bool = False) -> Pipeline:
    """Return the four nodes of a step.

    Args:
        namespace: of its nodes and datasets.
        policy_in, policy_out: datasets of the policy before and after.
        guided: a frozen `guide` writes the guidance.
    """
    return pipeline(
        _nodes(guided),
        namespace=namespace,
        inputs={"policy": policy_in, **{name: name for name in (_SHARED | {GUIDE} if guided else _SHARED)}},
        outputs={"trained_policy": policy_out},
        parameters={name: name for name in _PARAMETERS},
    )


def _nodes(guided: bool) -> Pipeline:
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
                # The policy is saved last: where a checkpoint exists, its metrics exist as well.
                ["metrics", "logprob_gaps", "trained_policy"],
                name="train",
            ),
        ]
    )
