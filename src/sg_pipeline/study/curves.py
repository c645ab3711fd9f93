"""Learning curves of methods, and what the runs cost: against steps, and against the tokens that were sampled."""

from typing import Any

import numpy as np

from sg_pipeline.reporting.figures import moving_average
from sg_pipeline.reporting.text import mean
from sg_pipeline.study.comparison import Study
from sg_pipeline.study.records import RunRecord

CURVES = ("success_rate", "positive_share", "neutral_share", "negative_share", "r_sg_gap",
          "corr_r_sg_turns", "guidance_only_groups", "invalid_action_share")  # fmt: skip
"""The figures that are drawn over the steps."""

BAND = "the band reaches from the lowest to the highest seed"
"""With so few seeds a percentile band would be no other."""


def learning_curves(study: Study) -> dict[str, Any]:
    """Return method -> {step, tokens, trust, window, seeds, figure: {mean, least, most}}, lists of one value a step.

    Each seed's figure is averaged over `window` steps around (the same games are played in a step by all methods of a
    seed, and other games in the next one, so single steps mostly show which games came up); then mean, least and most
    over the seeds. `trust` is lambda(u), the same for all of them; `tokens` is the mean over the seeds of the tokens
    sampled up to and with the step. A figure without any value is left out. A method whose runs differ in length ends
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
            values = np.array(
                [[np.nan if step.get(name) is None else step[name] for step in run.metrics[:steps]] for run in runs],
                dtype=np.float64,
            )
            known = values[np.isfinite(values).any(axis=1)]
            if len(known):
                smooth = np.array([moving_average(row, window) for row in known])
                entry[name] = {"mean": _plain(smooth.mean(axis=0)), "least": _plain(smooth.min(axis=0)),
                               "most": _plain(smooth.max(axis=0))}  # fmt: skip
        result[method] = entry
    return result


def costs(study: Study) -> dict[str, Any]:
    """What training cost: method -> {figure: mean over the seeds}.

    `steps`, `episodes`, `turns` (of the environment), `tokens_sampled` and `tokens_trained` (of the policy; what the
    environment says is not counted), `optimizer_steps`, `step_seconds` (rollout and training) and `wall_seconds` (the
    whole run with evaluation; what was taken over from another run with the same beginning cost that run its time).
    Evaluation episodes are in none of the others.
    """
    result = {}
    for method, runs in study.runs.items():
        rows = [_cost(run) for run in runs]
        result[method] = {name: mean(row[name] for row in rows) for name in rows[0]} | {"seeds": len(rows)}
    return result


def sampled_tokens(step: Any) -> int:
    """Tokens that the policy sampled in a step, those that were not trained on included; a guide's are not its own."""
    counters = step.get("rollout") or {}
    counted = counters.get("sampled_tokens")
    sampled = int(step.get("policy_tokens") or 0) if counted is None else int(counted)
    return sampled - int(counters.get("guide_tokens") or 0)


def _cost(run: RunRecord) -> dict[str, float]:
    training = [step.get("training") or {} for step in run.metrics]
    return {
        "steps": len(run.metrics),
        "episodes": sum(int(step.get("trajectories") or 0) for step in run.metrics),
        "turns": sum(int(step.get("turns") or 0) for step in run.metrics),
        "tokens_sampled": sum(sampled_tokens(step) for step in run.metrics),
        "tokens_trained": sum(int(step.get("tokens_trained") or 0) for step in training),
        "optimizer_steps": sum(int(step.get("optimizer_steps") or 0) for step in training),
        "step_seconds": sum(float((step.get("seconds") or {}).get("total") or 0.0) for step in run.metrics),
        "wall_seconds": run.wall_seconds,
    }


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
