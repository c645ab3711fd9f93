"""Does the guidance itself get better? One policy, its guidance written by earlier, the same and later checkpoints.

Actions come from the same weights throughout, and all guides play the same games with the same chance, so the success
that differs is the guidance's. Source: Self-Guide (arXiv 2604.03098), policy fixed at checkpoint 40 of 80 and guidance
of checkpoints 10, 40 and 80.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from sg_pipeline.config.evaluation import EvaluationConfig
from sg_pipeline.evaluation.metrics import evaluate_table, paired_scores


def cross_table(
    episodes: Mapping[int, pl.DataFrame],
    policy_step: int,
    *,
    panel_sha256: str,
    config: EvaluationConfig,
    seed: int,
) -> list[dict[str, Any]]:
    """Score each guide by the success of the policy that it guides.

    Args:
        episodes: steps that the guide has been trained for -> an evaluation table of `evaluation.play`.
        policy_step: steps that the policy has been trained for; it must be among the guides.
        panel_sha256: of the panel that was played.
        config: how it was played.
        seed: the run's seed, for bootstrapped intervals.

    Returns:
        One JSON-ready row for each split and guide: `policy_step`, `guide_step`, `split`, `success_rate`, `ci95`,
        `episodes`, `difference` (`intervals.paired_difference` against the policy's own guidance: positive where this
        guide's is better; with the same of the mean score as `score` where episodes are graded), `temperature`,
        `panel_sha256`, and `score`, all of `metrics.score_episodes`.
    """
    scores = {guide: evaluate_table(episodes[guide], seed) for guide in sorted(episodes)}
    rows = []
    for split, own in scores[policy_step].items():
        for guide, of_splits in scores.items():
            score = of_splits[split]
            names = ("cross_checkpoint", split, policy_step, guide)
            rows.append(
                {
                    "policy_step": policy_step,
                    "guide_step": guide,
                    "split": split,
                    **{name: score[name] for name in ("success_rate", "ci95", "episodes")},
                    "difference": paired_scores(own, score, seed, *names),
                    "temperature": config.temperature,
                    "panel_sha256": panel_sha256,
                    "score": score,
                }
            )
    return rows
