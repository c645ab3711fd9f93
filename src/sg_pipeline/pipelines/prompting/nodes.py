"""Nodes of the prompting pipeline."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from sg_pipeline.config.base_model import BaseModelConfig
from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import EvaluationConfig, Method, PromptingConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.config.sampling import SamplingConfig
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
from sg_pipeline.pipelines.base_model.nodes import load_base_policy
from sg_pipeline.pipelines.player import player_of
from sg_pipeline.reporting.prompting_table import comparison_markdown

logger = logging.getLogger(__name__)


def load_policy(
    config: BaseModelConfig,
    environment: EnvironmentConfig,
    project: Path,
    run: RunConfig,
    prompting: PromptingConfig,
) -> Any:
    """Load the language model that all methods prompt; it is not copied into the run's folders.

    Args:
        config: any policy but the tiny one.
        environment, project, run: as for the base policy.
        prompting: methods and prompts, to be checked with it.

    Returns:
        The live policy, shared by all nodes; none of them changes it.
    """
    if config.source == "warm_start":
        raise ConfigurationError(
            "base_model.source is 'warm_start', but the prompting methods need a language model that follows "
            "instructions: set base_model.source=pretrained and base_model.path to a chat model"
        )
    policy = load_base_policy(config, environment, project, run)
    check_policy(policy, prompting, environment)
    return policy


def player(method: Method, trial: int) -> Callable[..., tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]]:
    """Return the node function that plays trial `trial` of `method`."""

    def play(
        policy: Any,
        panel: dict[str, Any],
        games: Path,
        compiled: Path,
        environment: EnvironmentConfig,
        rollout: RolloutConfig,
        sampling: SamplingConfig,
        evaluation: EvaluationConfig,
        prompting: PromptingConfig,
        run: RunConfig,
        *earlier: pl.DataFrame,
    ) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
        """Play every game; with `earlier` (the last trial, then all reflections) those that failed."""
        with player_of(policy, panel, games, compiled, environment, rollout, sampling, run) as plain:
            prompted = with_prompts(plain, method, prompting, evaluation)
            if earlier:
                memory = prompting.reflexion.memory
                attempts = next_attempts(earlier[0], earlier[1:], prompted.prompts(), memory)
            else:
                attempts = first_attempts(panel, evaluation)
            return play_trial(prompted, attempts, trial)

    return play


def reflector(method: Method, trial: int) -> Callable[..., pl.DataFrame]:
    """Return the node function that writes notes on trial `trial` of `method`."""

    def look_back(
        policy: Any,
        panel: dict[str, Any],
        games: Path,
        compiled: Path,
        environment: EnvironmentConfig,
        rollout: RolloutConfig,
        sampling: SamplingConfig,
        evaluation: EvaluationConfig,
        prompting: PromptingConfig,
        run: RunConfig,
        played: pl.DataFrame,
    ) -> pl.DataFrame:
        """Write a note on each game that failed in `played`."""
        with player_of(policy, panel, games, compiled, environment, rollout, sampling, run) as plain:
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
    """Compare the methods.

    Args:
        run, environment, rollout, evaluation, prompting: parameters.
        identity: the run's fingerprint.
        panel: the prepared panel.
        evaluations: one a method.

    Returns:
        (comparison as JSON, the same as Markdown).
    """
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
