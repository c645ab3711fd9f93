"""study.json: the comparison of a study's runs. Tables, figures and the page are made from it alone.

    {setting, methods: {method: {title, mode, writes_guidance, seeds, runs}}, not_run, questions, dials, calibration,
     scores, pairs, inference, curves, speed, costs, cross_checkpoint}

`setting` describes what was played, by which policy and how often; the other parts are described where they are made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sg_pipeline.config.evaluation import WITH_GUIDANCE
from sg_pipeline.errors import DataError
from sg_pipeline.reporting.figures import moving_average
from sg_pipeline.reporting.summary import json_ready
from sg_pipeline.reporting.text import mean
from sg_pipeline.study.comparison import Study, cross_checkpoint, group_runs, guidance_at_inference, pairs, scores
from sg_pipeline.study.guidance import calibration, guidance_dials
from sg_pipeline.study.questions import answer_questions, own_scores
from sg_pipeline.study.records import RunRecord, check_comparable

CURVES = ("success_rate", "positive_share", "neutral_share", "negative_share", "r_sg_gap",
          "corr_r_sg_turns", "guidance_only_groups", "invalid_action_share")  # fmt: skip
"""The metrics that are drawn over the steps."""

QUARTERS = 4


def compare_runs(
    records: Sequence[RunRecord], titles: Mapping[str, str], cross: Sequence[Mapping[str, Any]] = (), seed: int = 0
) -> dict[str, Any]:
    """Compare the runs of a study.

    Args:
        records: its finished runs.
        titles: method -> its name in tables, in their order; methods without a run are listed as not run.
        cross: scores of the cross-checkpoint evaluation, see `comparison.cross_checkpoint`.
        seed: names the random streams of the intervals.

    Raises:
        DataError: there is no run, or two of them cannot be compared.
    """
    if not records:
        raise DataError("the study has no finished run: study.methods and study.seeds must name at least one.")
    check_comparable(records)
    study = group_runs(records, titles, seed)
    found: dict[str, Any] = {
        "setting": _setting(study),
        "methods": {
            method: {
                "title": study.titles[method],
                "mode": study.mode(method),
                "writes_guidance": study.mode(method) == WITH_GUIDANCE and not runs[0].parameters.get("rollout.guide"),
                "seeds": [run.seed for run in runs],
                "runs": [run.name for run in runs],
            }
            for method, runs in study.runs.items()
        },
        "not_run": {method: title for method, title in titles.items() if method not in study.runs},
        "dials": guidance_dials(study),
        "calibration": calibration(study),
        "scores": scores(study),
        "pairs": pairs(study),
        "inference": guidance_at_inference(study),
        "curves": learning_curves(study),
        "speed": learning_speed(study),
        "costs": costs(study),
        "cross_checkpoint": cross_checkpoint(study, cross),
    }
    found["questions"] = answer_questions(found)
    return dict(json_ready(found))


def headline(found: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what `dvc metrics` compares two versions of a study by: method -> split -> success with interval, gain."""
    rows: dict[str, Any] = {}
    for method in found["methods"]:
        for split, entry in own_scores(found, method).items():
            if "final" in entry:
                success = entry["final"]["mean"]
                row = {"success": success["value"], "low": success["ci95"][0], "high": success["ci95"][1]}
                rows.setdefault(method, {})[split] = row
                if entry.get("gain"):
                    row["gain"] = entry["gain"]["value"]
    return rows


def curve_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return training success by step, one row a step with a column a method, as `dvc plots` draws it."""
    rows: dict[int, dict[str, Any]] = {}
    for method, curve in found["curves"].items():
        for step, value in enumerate(curve.get("success_rate", {"mean": []})["mean"]):
            rows.setdefault(step, {"step": step})[method] = value
    return [rows[step] for step in sorted(rows)]


def learning_curves(study: Study) -> dict[str, Any]:
    """Return method -> {step, tokens, trust, window, seeds, metric: {mean, least, most}}, lists of one value a step.

    Each seed's metric is averaged over `window` steps around (the same games are played in a step by all methods of a
    seed, and other games in the next one, so single steps mostly show which games came up); then mean, least and most
    over the seeds. `trust` is lambda(u), the same for all of them; `tokens` is the mean over the seeds of the tokens
    sampled up to and with the step. A metric without any value is left out. A method whose runs differ in length ends
    where its shortest one does.
    """
    result: dict[str, Any] = {}
    for method, runs in study.runs.items():
        steps = min(len(run.metrics) for run in runs)
        if not steps:
            continue
        window = max(3, 2 * (steps // 20) + 1)
        tokens = np.array([np.cumsum([sampled_tokens(step) for step in run.metrics[:steps]]) for run in runs])
        entry: dict[str, Any] = {
            "step": list(range(steps)),
            "tokens": tokens.mean(axis=0).tolist(),
            "trust": [step.get("lambda") for step in runs[0].metrics[:steps]],
            "window": window,
            "seeds": len(runs),
        }
        for name in CURVES:
            values = np.array([[step.get(name) for step in run.metrics[:steps]] for run in runs], dtype=np.float64)
            known = values[np.isfinite(values).any(axis=1)]  # None has become NaN
            if len(known):
                smooth = np.array([moving_average(row, window) for row in known])
                bands = {"mean": smooth.mean(axis=0), "least": smooth.min(axis=0), "most": smooth.max(axis=0)}
                entry[name] = {band: [v if np.isfinite(v) else None for v in found.tolist()]
                               for band, found in bands.items()}  # fmt: skip
        result[method] = entry
    return result


def learning_speed(study: Study) -> dict[str, Any]:
    """Return how much was won while learning: method -> {quarters, all, lead}, each {mean, least, most} of the seeds.

    `quarters` is a list for the four quarters of training, `all` the mean of all steps; `lead` is `all` less that of
    the first method with the same seed, on the same games; None for that method itself, and without a common seed.
    """
    result: dict[str, Any] = {}
    first: dict[int, float] = {}
    for method, runs in study.runs.items():
        curves = {run.seed: np.array([step["success_rate"] for step in run.metrics], float) for run in runs}
        curves = {seed: curve for seed, curve in curves.items() if len(curve) >= QUARTERS}
        if not curves:
            continue
        parts = np.array([[part.mean() for part in np.array_split(curve, QUARTERS)] for curve in curves.values()])
        whole = {seed: float(curve.mean()) for seed, curve in curves.items()}
        lead = np.array([value - first[seed] for seed, value in whole.items() if seed in first])
        result[method] = {
            "quarters": [_range(part) for part in parts.T],
            "all": _range(np.array(list(whole.values()))),
            "lead": _range(lead) if len(lead) else None,
        }
        first = first or whole
    return result


def _range(values: np.ndarray) -> dict[str, float]:
    return {"mean": float(values.mean()), "least": float(values.min()), "most": float(values.max())}


def costs(study: Study) -> dict[str, Any]:
    """What training cost: method -> {quantity: mean over the seeds}.

    `steps`, `episodes`, `turns` (of the environment), `tokens_sampled` and `tokens_trained` (of the policy; what the
    environment says is not counted), `optimizer_steps`, `step_seconds` (rollout and training) and `wall_seconds` (the
    whole run with evaluation; steps taken over from another run with the same beginning are in that run's time).
    Evaluation episodes are in none of the others.
    """
    result = {}
    for method, runs in study.runs.items():
        rows = [
            {
                "steps": len(run.metrics),
                "episodes": sum(step["trajectories"] for step in run.metrics),
                "turns": sum(step["turns"] for step in run.metrics),
                "tokens_sampled": sum(map(sampled_tokens, run.metrics)),
                "tokens_trained": sum(step["training"]["tokens_trained"] for step in run.metrics),
                "optimizer_steps": sum(step["training"]["optimizer_steps"] for step in run.metrics),
                "step_seconds": sum(step["seconds"]["total"] for step in run.metrics),
                "wall_seconds": run.wall_seconds,
            }
            for run in runs
        ]
        result[method] = {name: mean(row[name] for row in rows) for name in rows[0]} | {"seeds": len(rows)}
    return result


def sampled_tokens(step: Mapping[str, Any]) -> int:
    """Tokens that the policy sampled in a step, those that were not trained on included; a guide's are not its own."""
    counters = step["rollout"]
    return int(counters["sampled_tokens"]) - int(counters.get("guide_tokens", 0))


def _setting(study: Study) -> dict[str, Any]:
    first = study.records[0]
    splits = first.final[first.mode]
    return {
        "policy_weights": first.policy_weights,
        "environment": first.parameters.get("environment.name"),
        "panel": first.panel,
        "panel_sha256": first.panel_sha256,
        "splits": {
            split: {"games": len(score["per_game"]), "episodes": score.get("episodes")}
            for split, score in sorted(splits.items())
        },
        "temperature": first.parameters.get("evaluate.temperature"),
        "steps": sorted({len(run.metrics) for run in study.records}),
        "seeds": sorted({run.seed for run in study.records}),
        "runs": len(study.records),
    }
