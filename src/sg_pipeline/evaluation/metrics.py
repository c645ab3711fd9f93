"""Scores of a policy on a panel: from evaluation episodes to JSON-ready metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sg_pipeline.config.evaluation import EvaluationConfig
from sg_pipeline.errors import DataError
from sg_pipeline.evaluation.calibration import guidance_calibration
from sg_pipeline.evaluation.intervals import paired_difference, score_interval, success_interval


def evaluate_table(frame: pl.DataFrame, seed: int) -> dict[str, dict[str, Any]]:
    """Score an evaluation table of one policy in one mode: split -> `score_episodes`, in the order of the names."""
    splits = sorted(set(frame["split"]))
    return {split: score_episodes(frame.filter(pl.col("split") == split), seed) for split in splits}


def score_episodes(frame: pl.DataFrame, seed: int) -> dict[str, Any]:
    """Score the episodes of one policy on one split in one mode (see `play.evaluate`); `seed` is for bootstraps.

    Returns:
        JSON-ready: `success_rate`, `ci95` [low, high], `interval` (its method), `episodes`, `games`, `score`,
        `mean_turns`, `mean_turns_won`, `truncated_share` (of episodes), `invalid_action_share`,
        `unparsed_action_share`, `unparsed_guidance_share` (of turns); `task_types`: type -> success_rate, ci95,
        interval, episodes; `calibration`: `guidance_calibration`; `per_game`: task_id -> [wins, episodes]. Undefined
        values are None. Where episodes are graded, so that a score is more than success, also `score_ci95`,
        `score_interval`, `score_per_game`: task_id -> [sum of scores, episodes], and by task type `score`,
        `score_ci95`, `score_interval`. Where the benchmark reports the parts of a score, also `parts`: `mean_parts`.

    Raises:
        DataError: the table mixes splits or policies.
    """
    for column, what in (("split", "splits"), ("step", "policies (steps)")):
        values = sorted(set(frame[column]))
        if len(values) > 1:
            raise DataError(
                f"An evaluation table mixes {what} in its column {column} ({', '.join(map(str, values))}), "
                f"but a score belongs to one: filter the table first."
            )
    episodes = frame.group_by("group", "item").agg(
        pl.col("task_id", "task_type", "won", "truncated", "score").first(), turns=pl.len()
    )
    split = frame["split"][0] if frame.height else ""
    guided = frame.filter(pl.col("polarity").is_not_null())
    graded = bool((episodes["score"] != episodes["won"].cast(pl.Float64)).any())
    parts = mean_parts(frame, seed, split)
    return {
        **_estimate(_SUCCESS, episodes, "won", seed, split),
        "games": episodes["task_id"].n_unique(),
        "score": _mean(episodes["score"]),
        **(_estimate(_SCORE, episodes, "score", seed, split) if graded else {}),
        **({"parts": parts} if parts else {}),
        "mean_turns": _mean(episodes["turns"]),
        "mean_turns_won": _mean(episodes.filter("won")["turns"]),
        "truncated_share": _mean(episodes["truncated"]),
        "invalid_action_share": _mean(~frame["action_valid"]),
        "unparsed_action_share": _mean(~frame["action_parsed"]),
        "unparsed_guidance_share": _mean(~guided["guidance_parsed"]),
        "task_types": {
            kind: {
                **_estimate(_SUCCESS, of_kind, "won", seed, split, kind),
                **(_estimate(_SCORE, of_kind, "score", seed, split, kind) if graded else {}),
            }
            for kind in sorted(set(episodes["task_type"]))
            for of_kind in [episodes.filter(pl.col("task_type") == kind)]
        },
        "calibration": guidance_calibration(frame),
        "per_game": _per_game(episodes, "won"),
        **({"score_per_game": _per_game(episodes, "score")} if graded else {}),
    }


def paired_scores(base: Mapping[str, Any], final: Mapping[str, Any], seed: int, *names: int | str) -> dict[str, Any]:
    """Compare two policies by their `score_episodes` on one split.

    Returns:
        `intervals.paired_difference` of success; where either was graded, that of the mean score as `score`.
    """
    success = paired_difference(base["per_game"], final["per_game"], seed, *names)
    if "score_per_game" not in base and "score_per_game" not in final:
        return success
    sides = (part.get("score_per_game", part["per_game"]) for part in (base, final))
    return {**success, "score": paired_difference(*sides, seed, "score", *names)}


def graded_score(score: Mapping[str, Any]) -> tuple[float | None, list[float] | None]:
    """Mean score of a `score_episodes`, and its interval; without grades those of success."""
    return score.get("score"), score.get("score_ci95") or score.get("ci95")


def is_graded(*scores: Mapping[str, Any]) -> bool:
    """Whether any of these has a score that is more than success."""
    return any("score_ci95" in score for score in scores)


def mean_parts(frame: pl.DataFrame, seed: int, *names: str) -> dict[str, dict[str, Any]]:
    """Mean of each part of the score over the episodes that have it: one without a purchase has no part of it right.

    Returns:
        JSON-ready: name -> `mean`, `ci95` [low, high], `interval` (its method), `episodes` (that have it), in the order
        of the names; empty where no episode has any.
    """
    if "parts" not in frame.columns:
        return {}
    each = frame.filter("terminal").select("task_id", "parts").explode("parts").drop_nulls("parts").unnest("parts")
    return {
        name: _estimate(_PART, each.filter(pl.col("name") == name), "value", seed, "part", name, *names)
        for name in sorted(set(each["name"]))
    }


def cross_table(
    episodes: Mapping[int, pl.DataFrame],
    policy_step: int,
    *,
    panel_sha256: str,
    config: EvaluationConfig,
    seed: int,
) -> list[dict[str, Any]]:
    """Score the guidance of several checkpoints by the success of one policy that it guides.

    Actions come from the same policy throughout, and all guides play the same games with the same chance, so a
    difference in success is due to the guidance. Source: Self-Guide (arXiv 2604.03098), policy fixed at checkpoint 40
    of 80 and guidance of checkpoints 10, 40 and 80.

    Args:
        episodes: steps that the guide has been trained for -> a `tables.EvaluationTable`.
        policy_step: steps that the policy has been trained for; it must be among the guides.
        panel_sha256, config: what was played, and how.
        seed: the run's seed, for bootstrapped intervals.

    Returns:
        One JSON-ready row for each split and guide: `policy_step`, `guide_step`, `split`, `success_rate`, `ci95`,
        `episodes`, `difference` (`paired_scores` against the policy's own guidance: positive where this guide's is
        better), `temperature`, `panel_sha256`, and `score`, all of `score_episodes`.
    """
    scores = {guide: evaluate_table(episodes[guide], seed) for guide in sorted(episodes)}
    return [
        {
            "policy_step": policy_step,
            "guide_step": guide,
            "split": split,
            **{name: of_splits[split][name] for name in ("success_rate", "ci95", "episodes")},
            "difference": paired_scores(own, of_splits[split], seed, "cross_checkpoint", split, policy_step, guide),
            "temperature": config.temperature,
            "panel_sha256": panel_sha256,
            "score": of_splits[split],
        }
        for split, own in scores[policy_step].items()
        for guide, of_splits in scores.items()
    ]


_SUCCESS = ("success_rate", "ci95", "interval", "episodes")
_SCORE = ("score", "score_ci95", "score_interval")
_PART = ("mean", "ci95", "interval", "episodes")
"""Names of the mean of a column over episodes, of its interval and the interval's method, and of their number."""


def _estimate(names: Sequence[str], episodes: pl.DataFrame, column: str, seed: int, *stream: str) -> dict[str, Any]:
    method = success_interval if column == "won" else score_interval
    interval, how = method(_per_game(episodes, column), seed, *stream)
    values = (_mean(episodes[column]), None if interval is None else list(interval), how, episodes.height)
    return dict(zip(names, values, strict=False))


def _per_game(episodes: pl.DataFrame, column: str) -> dict[str, list[float]]:
    """Return game -> [sum of a column, episodes]."""
    games = episodes.group_by("task_id").agg(pl.col(column).sort().sum(), episodes=pl.len()).sort("task_id")
    return {task_id: [total, played] for task_id, total, played in games.iter_rows()}


def _mean(values: pl.Series) -> float | None:
    """Mean as a float, sorted first: a sum's last bit depends on its order, and group_by's order is not fixed."""
    values = values.cast(pl.Float64).drop_nulls().drop_nans().sort()
    return float(values.mean()) if len(values) else None  # type: ignore[arg-type]
