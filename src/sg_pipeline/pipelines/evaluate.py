"""Evaluation of policies on frozen panels: the base and the final one, and one guided by its other checkpoints."""

import logging
from typing import Any

import polars as pl
from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.evaluation import WITH_GUIDANCE, WITHOUT_GUIDANCE, CrossCheckpointConfig, EvaluationConfig
from sg_pipeline.config.rewards import TrustSchedule
from sg_pipeline.config.run import CoevolveConfig, RunConfig
from sg_pipeline.evaluation.metrics import cross_table, evaluate_table
from sg_pipeline.evaluation.play import evaluate
from sg_pipeline.pipelines.player import PLAYER, in_namespace, player_of
from sg_pipeline.reporting.progress import cross_checkpoint_lines, evaluation_lines
from sg_pipeline.runs.steps import BASE_POLICY, FINAL_POLICY, GUIDE, unroll

logger = logging.getLogger(__name__)

EVALUATED = {"base": BASE_POLICY, "final": FINAL_POLICY}
"""Name in the report -> dataset of the policy."""


def create_pipeline(config: EvaluationConfig, guided: bool = False) -> Pipeline:
    """Return the evaluation of both policies in the configured modes; `guided`: a frozen guide writes the guidance."""
    nodes = [
        Node(
            play_with_guidance if mode == WITH_GUIDANCE else play_without_guidance,
            ["params:evaluate", *PLAYER, *([GUIDE] if guided and mode == WITH_GUIDANCE else [])],
            f"episodes_{mode}",
            name=f"play_{mode}",
        )
        for mode in config.modes
    ]
    scored = {"run": "params:run", **{mode: f"episodes_{mode}" for mode in config.modes}}
    one = Pipeline([*nodes, Node(score, scored, "evaluation", name="score")])
    return Pipeline([in_namespace(one, f"evaluate.{name}", policy) for name, policy in EVALUATED.items()])


def cross_checkpoint_pipeline(
    config: CrossCheckpointConfig, coevolve: CoevolveConfig, schedule: TrustSchedule
) -> Pipeline:
    """Return the evaluation of one policy of a finished run with guidance of earlier and later checkpoints."""
    policy, guides = config.steps(coevolve)
    written = {0: BASE_POLICY, **{place.index + 1: place.policy_out for place in unroll(coevolve, schedule)}}
    played = [written[policy] if name == "policy" else name for name in PLAYER]
    episodes = {guide: f"cross_checkpoint.policy_{policy:03d}_guide_{guide:03d}" for guide in guides}
    nodes = [
        Node(
            play_with_guidance,
            ["params:evaluate", *played, written[guide]],
            episodes[guide],
            name=f"play_guide_{guide:03d}",
            namespace="cross_checkpoint",
        )
        for guide in guides
    ]
    inputs = ["panel", "params:cross_checkpoint", "params:coevolve", "params:evaluate", "params:run"]
    compared = Node(
        compare_guides,
        [*inputs, *episodes.values()],
        "cross_checkpoint.table",
        name="compare_guides",
        namespace="cross_checkpoint",
    )
    return Pipeline([*nodes, compared])


def play_with_guidance(config: EvaluationConfig, panel: dict[str, Any], *player: Any) -> pl.DataFrame:
    """Play the evaluation panels; guidance is written before each action. `panel` and `player`: see `player_of`.

    Returns trajectories, one row a turn; `step` is the policy's.
    """
    with player_of(panel, *player) as playing:
        return evaluate(playing, panel, WITH_GUIDANCE, config)


def play_without_guidance(config: EvaluationConfig, panel: dict[str, Any], *player: Any) -> pl.DataFrame:
    """Play them as `play_with_guidance` does; the policy writes actions only."""
    with player_of(panel, *player) as playing:
        return evaluate(playing, panel, WITHOUT_GUIDANCE, config)


def score(run: RunConfig, **episodes: pl.DataFrame) -> dict[str, Any]:
    """Score the episodes of each mode: mode -> split -> `metrics.score_episodes`."""
    scores = {mode: evaluate_table(table, run.seed) for mode, table in episodes.items()}
    for line in evaluation_lines(scores, next(iter(episodes.values()))["step"][0]):
        logger.info("%s", line)
    return scores


def compare_guides(
    panel: dict[str, Any],
    cross: CrossCheckpointConfig,
    coevolve: CoevolveConfig,
    config: EvaluationConfig,
    run: RunConfig,
    *episodes: pl.DataFrame,
) -> list[dict[str, Any]]:
    """Score the guides, whose `episodes` are in the order of their steps: one row for each split and guide."""
    policy, guides = cross.steps(coevolve)
    of_guides = dict(zip(guides, episodes, strict=True))
    table = cross_table(of_guides, policy, panel_sha256=panel["sha256"], config=config, seed=run.seed)
    for line in cross_checkpoint_lines(table):
        logger.info("%s", line)
    return table
