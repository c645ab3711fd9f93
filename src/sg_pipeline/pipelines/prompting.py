"""Prompting methods without training: ReAct, ReAct with self-guidance, Reflexion, ReflAct.

The trials of each method with the notes between them, its scores; then one comparison.
"""

import logging
from collections.abc import Callable
from typing import Any

import polars as pl
from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.base_model import BaseModelConfig
from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import EvaluationConfig, Method, PromptingConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.evaluation.prompting import (
    check_policy,
    first_attempts,
    next_attempts,
    play_trial,
    reflect,
    with_prompts,
)
from sg_pipeline.evaluation.prompting_scores import compare, score_method
from sg_pipeline.pipelines.base_model import LOADED, load_base_policy
from sg_pipeline.pipelines.player import PLAYER, in_namespace, player_of
from sg_pipeline.reporting.prompting_table import comparison_markdown

logger = logging.getLogger(__name__)

POLICY = "prompting.policy"


def create_pipeline(config: PromptingConfig) -> Pipeline:
    """Return the pipeline that plays, scores and compares the methods that the configuration names."""
    loading = Node(load_policy, ["params:prompting", *LOADED], POLICY, name="load_policy")
    methods = [
        in_namespace(_one_method(method, config.trials(method)), f"prompting.{method}", POLICY)
        for method in config.methods
    ]
    parameters = [f"params:{name}" for name in ("run", "environment", "rollout", "evaluate", "prompting")]
    evaluations = [f"prompting.{method}.evaluation" for method in config.methods]
    comparing = Node(
        compare_methods,
        [*parameters, "run_identity", "panel", *evaluations],
        ["prompting.comparison", "prompting.table"],
        name="compare_methods",
    )
    return Pipeline([loading, *methods, comparing])


def _one_method(method: Method, trials: int) -> Pipeline:
    numbers = range(1, trials + 1)
    played = ["params:evaluate", "params:prompting", *PLAYER]
    noted = [f"reflections_{number}" for number in numbers[:-1]]
    nodes = []
    for number in numbers:
        earlier = [f"trial_{number - 1}", *noted[: number - 1]] if number > 1 else []
        outputs = [f"trial_{number}", f"thoughts_{number}", f"report_{number}"]
        nodes.append(Node(player(method, number), [*played, *earlier], outputs, name=f"play_{number}"))
    for number, notes in enumerate(noted, start=1):
        nodes.append(Node(reflector(method, number), [f"trial_{number}", *played], notes, name=f"reflect_{number}"))
    parts = [f"{kind}_{number}" for kind in ("trial", "thoughts", "report") for number in numbers]
    return Pipeline([*nodes, Node(scorer(method, trials), ["params:run", *parts, *noted], "evaluation", name="score")])


def load_policy(prompting: PromptingConfig, config: BaseModelConfig, environment: EnvironmentConfig, *rest: Any) -> Any:
    """Load the language model that all methods prompt, and check it with their prompts.

    It is not copied into the run's folders; none of the nodes that share it changes it.
    """
    if config.source == "warm_start":
        raise ConfigurationError(
            "base_model.source is 'warm_start', but the prompting methods need a language model that follows "
            "instructions: set base_model.source=pretrained and base_model.path to a chat model"
        )
    policy = load_base_policy(config, environment, *rest)
    check_policy(policy, prompting, environment)
    return policy


def player(method: Method, trial: int) -> Callable[..., tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]]:
    """Return the node function that plays trial `trial` of `method`."""

    def play(
        evaluation: EvaluationConfig, prompting: PromptingConfig, *given: Any
    ) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
        """Play every game; later trials those that failed, after the last trial and all reflections in `given`."""
        playing, earlier = given[: len(PLAYER)], given[len(PLAYER) :]
        with player_of(*playing) as plain:
            prompted = with_prompts(plain, method, prompting, evaluation)
            if earlier:
                memory = prompting.reflexion.memory
                attempts = next_attempts(earlier[0], earlier[1:], prompted.prompts(), memory)
            else:
                attempts = first_attempts(playing[0], evaluation)
            return play_trial(prompted, attempts, trial)

    return play


def reflector(method: Method, trial: int) -> Callable[..., pl.DataFrame]:
    """Return the node function that writes notes on trial `trial` of `method`."""

    def look_back(
        played: pl.DataFrame, evaluation: EvaluationConfig, prompting: PromptingConfig, *player: Any
    ) -> pl.DataFrame:
        """Write a note on each game that failed in `played`."""
        with player_of(*player) as plain:
            return reflect(with_prompts(plain, method, prompting, evaluation), played, trial, prompting)

    return look_back


def scorer(method: Method, trials: int) -> Callable[..., dict[str, Any]]:
    """Return the node function that scores `method` after each of its trials."""

    def score(run: RunConfig, *parts: Any) -> dict[str, Any]:
        """Score it; `parts` are trajectories, thoughts and reports of each trial, then reflections."""
        played, thoughts, reports = (parts[kind * trials : (kind + 1) * trials] for kind in range(3))
        evaluation = score_method(method, played, thoughts, reports, parts[3 * trials :], run.seed)
        for after in evaluation["after_trial"]:
            scores = ", ".join(f"{split} {score['success_rate']:.1%}" for split, score in after["splits"].items())
            logger.info("%s, up to trial %d: %s", evaluation["title"], after["trial"], scores)
        return evaluation

    return score


def compare_methods(
    run: RunConfig,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    evaluation: EvaluationConfig,
    prompting: PromptingConfig,
    identity: dict[str, Any],
    panel: dict[str, Any],
    *evaluations: dict[str, Any],
) -> tuple[dict[str, Any], str]:
    """Compare the methods, of which each has one of `evaluations`: as JSON, and the same as Markdown."""
    about = {
        "run": run.name,
        "fingerprint": identity["fingerprint"],
        "seed": run.seed,
        "environment": environment.name,
        "panel": panel["source"],
        "panel_sha256": panel["sha256"],
        "temperature": evaluation.temperature,
        "max_turns": evaluation.max_turns or rollout.max_turns,
        "max_new_tokens": prompting.max_new_tokens,
        "max_length": rollout.max_length,
    }
    comparison = compare(evaluations, about, run.seed)
    logger.info("comparison: data/08_reporting/%s/prompting.md", run.name)
    return comparison, comparison_markdown(comparison)
