"""Prompting: the trials of each method with the notes between them, its scores; then one comparison."""

from kedro.pipeline import Node, Pipeline, pipeline

from sg_pipeline.config.evaluation import Method, PromptingConfig
from sg_pipeline.pipelines.prompting.nodes import compare_methods, load_policy, player, reflector, scorer

POLICY = "prompting.policy"
_GAMES = ["panel", "games", "compiled_games"]
_LIMITS = ["params:rollout", "params:sampling", "params:evaluate", "params:prompting", "params:run"]


def create_pipeline(config: PromptingConfig) -> Pipeline:
    """Return the pipeline that plays, scores and compares the methods that the configuration names."""
    loading = Node(
        load_policy,
        [
            "params:base_model",
            "params:environment",
            "project_folder",
            "params:run",
            "params:prompting",
        ],
        POLICY,
        name="load_policy",
    )
    methods = [
        pipeline(
            _one_method(method, config.trials(method)),
            namespace=f"prompting.{method}",
            inputs={"policy": POLICY, **{dataset: dataset for dataset in _GAMES}},
            parameters={parameter: parameter for parameter in ("params:environment", *_LIMITS)},
        )
        for method in config.methods
    ]
    comparing = Node(
        compare_methods,
        [
            "params:run",
            "params:environment",
            "params:rollout",
            "params:evaluate",
            "params:prompting",
            "run_identity",
            "panel",
            *(f"prompting.{method}.evaluation" for method in config.methods),
        ],
        ["prompting.comparison", "prompting.table"],
        name="compare_methods",
    )
    return Pipeline([loading, *methods, comparing])


def _one_method(method: Method, trials: int) -> Pipeline:
    numbers = range(1, trials + 1)
    noted = [f"reflections_{number}" for number in numbers[:-1]]
    nodes = []
    for number in numbers:
        earlier = [f"trial_{number - 1}", *noted[: number - 1]] if number > 1 else []
        nodes.append(
            Node(
                player(method, number),
                ["policy", *_GAMES, "params:environment", *_LIMITS, *earlier],
                [f"trial_{number}", f"thoughts_{number}", f"report_{number}"],
                name=f"play_{number}",
            )
        )
        if number < trials:
            nodes.append(
                Node(
                    reflector(method, number),
                    ["policy", *_GAMES, "params:environment", *_LIMITS, f"trial_{number}"],
                    f"reflections_{number}",
                    name=f"reflect_{number}",
                )
            )
    parts = [f"{kind}_{number}" for kind in ("trial", "thoughts", "report") for number in numbers]
    return Pipeline([*nodes, Node(scorer(method, trials), ["params:run", *parts, *noted], "evaluation", name="score")])
