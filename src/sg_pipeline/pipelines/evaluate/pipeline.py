"""Evaluation: the same two or three nodes for the base policy and for the final one."""

from kedro.pipeline import Node, Pipeline, pipeline

from sg_pipeline.config.evaluation import WITH_GUIDANCE, EvaluationConfig
from sg_pipeline.pipelines.evaluate.nodes import play_with_guidance, play_without_guidance, score
from sg_pipeline.runs.steps import BASE_POLICY, FINAL_POLICY, GUIDE

EVALUATED = {"base": BASE_POLICY, "final": FINAL_POLICY}
"""Name in the report -> dataset of the policy."""


def create_pipeline(config: EvaluationConfig, guided: bool = False) -> Pipeline:
    """Return the evaluation of both policies, in the configured modes.

    Args:
        config: the modes.
        guided: a frozen `guide` writes the guidance.
    """
    one = _one_policy(config, guided)
    shared = {"panel", "games", "compiled_games"} | ({GUIDE} if guided else set())
    parameters = {"params:environment", "params:rollout", "params:sampling", "params:evaluate", "params:run"}
    return Pipeline(
        [
            pipeline(
                one,
                namespace=f"evaluate.{name}",
                inputs={"policy": policy, **{dataset: dataset for dataset in shared}},
                parameters={parameter: parameter for parameter in parameters},
            )
            for name, policy in EVALUATED.items()
        ]
    )


def _one_policy(config: EvaluationConfig, guided: bool) -> Pipeline:
    inputs = [
        "policy",
        "panel",
        "games",
        "compiled_games",
        "params:environment",
        "params:rollout",
        "params:sampling",
        "params:evaluate",
        "params:run",
    ]
    nodes = [
        Node(
            play_with_guidance if mode == WITH_GUIDANCE else play_without_guidance,
            [*inputs, GUIDE] if guided and mode == WITH_GUIDANCE else inputs,
            f"episodes_{mode}",
            name=f"play_{mode}",
        )
        for mode in config.modes
    ]
    scored = {"run": "params:run", **{mode: f"episodes_{mode}" for mode in config.modes}}
    return Pipeline([*nodes, Node(score, scored, "evaluation", name="score")])
