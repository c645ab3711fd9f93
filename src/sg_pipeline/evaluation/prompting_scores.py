"""Scores of prompting methods after each trial, their paired differences and their cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sg_pipeline.config.evaluation import REFERENCE, TITLES
from sg_pipeline.evaluation.metrics import evaluate_table, is_graded, paired_scores

_EPISODE = ["split", "group", "item"]

_GRADED = ("score", "score_ci95", "score_interval")
"""Shown where a score is more than success."""

_SHOWN = (
    "success_rate",
    "ci95",
    "interval",
    "episodes",
    "games",
    "invalid_action_share",
    "unparsed_action_share",
    "truncated_share",
    "cost",
)


def score_method(
    method: str,
    trials: Sequence[pl.DataFrame],
    thoughts: Sequence[pl.DataFrame],
    reports: Sequence[Mapping[str, Any]],
    reflections: Sequence[pl.DataFrame],
    seed: int,
) -> dict[str, Any]:
    """Score a method after each of its trials; a game that is solved in trial k counts as solved from k on.

    Args:
        method, seed: its name, and the run's seed for bootstrapped intervals.
        trials, thoughts, reports: of `prompting.play_trial`; a later trial holds the games that failed before.
        reflections: what was noted between the trials.

    Returns:
        JSON-ready: `method`, `title`, `policy`, `parameters`, and `after_trial`, a list with one entry a trial:
        `trial`, `counters` of its rollout, `splits`: split -> `metrics.score_episodes` (of each game's last trial) and
        `cost` (see `cost`).
    """
    after = []
    for trial in range(1, len(trials) + 1):
        scores = evaluate_table(after_trial(trials, trial), seed)
        parts = trials[:trial], thoughts[:trial], reflections[: trial - 1]
        splits = {split: {**score, "cost": cost(*parts, split)} for split, score in scores.items()}
        after.append({"trial": trial, "counters": reports[trial - 1]["counters"], "splits": splits})
    return {
        "method": method,
        "title": TITLES[method],
        "policy": reports[0]["policy"],
        "parameters": reports[0]["parameters"],
        "after_trial": after,
    }


def after_trial(trials: Sequence[pl.DataFrame], trial: int) -> pl.DataFrame:
    """Return each game's last episode among the first `trial` trials."""
    played = pl.concat(
        table.with_columns(trial=pl.lit(number, dtype=pl.Int64)) for number, table in enumerate(trials[:trial])
    )
    return played.filter(pl.col("trial") == pl.col("trial").max().over(_EPISODE)).drop("trial")


def cost(
    trials: Sequence[pl.DataFrame], thoughts: Sequence[pl.DataFrame], reflections: Sequence[pl.DataFrame], split: str
) -> dict[str, float | None]:
    """Return the cost of these trials on one split, reflections included.

    Returns:
        Means per game and repetition: `trials`, `turns`, `sampled_tokens`, `context_tokens` (what the policy read, each
        token once: a cache keeps it); `no_thought_share`: turns in which no thought was found.
    """
    played, thought = (pl.concat(tables).filter(pl.col("split") == split) for tables in (trials, thoughts))
    first = trials[0].filter(pl.col("split") == split).select(_EPISODE).n_unique()
    attempts = sum(table.filter(pl.col("split") == split).select(_EPISODE).n_unique() for table in trials)
    sampled, context = _tokens(played, "completion_ids"), _tokens(played, "context_ids")
    for notes in reflections:
        noted = notes.filter(pl.col("split") == split)
        sampled, context = sampled + _tokens(noted, "completion_ids"), context + _tokens(noted, "prompt_ids")
    totals = {"trials": attempts, "turns": played.height, "sampled_tokens": sampled, "context_tokens": context}
    return {
        **{name: total / first if first else None for name, total in totals.items()},
        "no_thought_share": thought["thought"].null_count() / thought.height if thought.height else None,
    }


def compare(
    evaluations: Sequence[Mapping[str, Any]], about: Mapping[str, Any], seed: int, reference: str = REFERENCE
) -> dict[str, Any]:
    """Compare methods by their `score_method`, of the same policy on the same games.

    Args:
        evaluations, seed: one a method; the run's seed.
        about: run, panel and limits, for the reader.
        reference: method whose first trial the others are compared with; without it there are no differences.

    Returns:
        JSON-ready: `about`; `reference` (None without it); `rows`, one for each split, method and trial: `split`,
        `method`, `title`, `trial`, `single_trial` (only such rows cost the reference's number of trials), the values
        named in `_SHOWN` (and `_GRADED`), and `difference` to the reference (`metrics.paired_scores`; None for the
        reference itself).
    """
    base = next((one for one in evaluations if one["method"] == reference), None)
    rows = []
    for split in sorted({split for one in evaluations for split in one["after_trial"][0]["splits"]}):
        for one in evaluations:
            for after in one["after_trial"]:
                row, score = {**one, **after}, after["splits"][split]
                other = None if base is None or one is base else base["after_trial"][0]["splits"][split]
                names = ("prompting", split, one["method"], after["trial"])
                rows.append({
                    "split": split,
                    **{name: row[name] for name in ("method", "title", "trial")},
                    "single_trial": after["trial"] == 1,
                    **{name: score[name] for name in (*_SHOWN, *(_GRADED if is_graded(score) else ()))},
                    "difference": None if other is None else paired_scores(other, score, seed, *names),
                })  # fmt: skip
    return {
        "about": {**about, "policy": evaluations[0]["policy"], "parameters": evaluations[0]["parameters"]},
        "reference": None if base is None else reference,
        "rows": rows,
    }


def _tokens(table: pl.DataFrame, column: str) -> int:
    return int(table[column].list.len().sum())
