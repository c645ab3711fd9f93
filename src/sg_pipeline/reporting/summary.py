"""summary.json: the results of a run as numbers.

    {run, fingerprint, environment, panel, panel_sha256, steps, wall_seconds, mode,
     base, final:  {<split>: score, …, <other mode>: {<split>: score, …}},
     difference:   {<split>: final - base, …, <other mode>: {…}},
     lambda: [one per step], quarantined, machines: [hardware that computed the steps],
     seconds: {…}, curve: {metric: [one per step]}}

A score is the output of `evaluation.metrics.score_episodes` without its list of games; `mode` is the mode of the
top-level scores, in which the run trains.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sg_pipeline.config.evaluation import WITH_GUIDANCE, WITHOUT_GUIDANCE
from sg_pipeline.evaluation.metrics import paired_scores

Evaluation = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Mode -> split -> score."""

PER_GAME = ("per_game", "score_per_game")
"""Keys used to pair two evaluations, too long for a summary."""


def build_summary(
    *,
    run: str,
    fingerprint: str,
    environment: str,
    panel: str,
    panel_sha256: Any,
    wall_seconds: float,
    metrics: Sequence[Mapping[str, Any]],
    base: Evaluation,
    final: Evaluation,
    guidance: bool,
    seed: int,
) -> dict[str, Any]:
    """Summarize a run.

    Args:
        run, environment: names.
        fingerprint: digest of the parameters that affect results.
        panel: origin of the games in words; generated games are always named as such.
        panel_sha256: digest of the frozen panel, or one per split.
        wall_seconds: duration of the run.
        metrics: one mapping per step; a value may be missing or None.
        base, final: scores before and after training, from `evaluate_table`, per mode.
        guidance: whether the run trains with guidance; decides the mode of the top-level scores.
        seed: the run's seed, for the paired intervals.

    Returns:
        JSON-ready (non-finite numbers become None), see the module's docstring.
    """
    metrics = sorted(metrics, key=lambda step: step["step"])
    mode, other = (WITH_GUIDANCE, WITHOUT_GUIDANCE) if guidance else (WITHOUT_GUIDANCE, WITH_GUIDANCE)
    differences = {name: _differences(base.get(name, {}), final.get(name, {}), seed, name) for name in (mode, other)}

    def trained_first(by_mode: Mapping[str, Any]) -> dict[str, Any]:
        return {**by_mode.get(mode, {}), **({other: by_mode[other]} if by_mode.get(other) else {})}

    curve = step_curves(metrics)
    summary = {
        "run": run,
        "fingerprint": fingerprint,
        "environment": environment,
        "panel": panel,
        "panel_sha256": panel_sha256,
        "steps": len(metrics),
        "wall_seconds": wall_seconds,
        "mode": mode,
        "base": trained_first(_without_games(base)),
        "final": trained_first(_without_games(final)),
        "difference": trained_first(differences),
        "lambda": curve.pop("lambda", []),
        "machines": sorted({step["machine"] for step in metrics if "machine" in step}),
        "quarantined": int(sum(step.get("quarantined") or 0 for step in metrics)),
        "seconds": {
            name.removeprefix("seconds."): sum(value or 0.0 for value in values)
            for name, values in curve.items()
            if name.startswith("seconds.")
        },
        "curve": curve,
    }
    return json_ready(summary)


def step_curves(metrics: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return one list per metric of the steps, nested ones as "training.loss"; None where a step lacks it.

    Left out is what a step hands on to the next, `evidence`.
    """
    flat = [_flat({name: value for name, value in step.items() if name != "evidence"}) for step in metrics]
    names = dict.fromkeys(name for step in flat for name in step if name != "machine")
    return {name: [json_ready(step.get(name)) for step in flat] for name in names}


def json_ready(value: Any) -> Any:
    """Copy `value` to plain dicts, lists, strings, numbers and None: strict JSON has no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, Sequence):
        return [json_ready(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _without_games(evaluation: Evaluation) -> dict[str, Any]:
    return {
        mode: {split: {k: v for k, v in score.items() if k not in PER_GAME} for split, score in splits.items()}
        for mode, splits in evaluation.items()
    }


def _differences(
    base: Mapping[str, Mapping[str, Any]], final: Mapping[str, Mapping[str, Any]], seed: int, mode: str
) -> dict[str, Any]:
    differences = {}
    for split in sorted(set(base) & set(final)):
        low, high = base[split].get("ci95"), final[split].get("ci95")
        apart = None if low is None or high is None else low[1] < high[0] or high[1] < low[0]
        paired = paired_scores(base[split], final[split], seed, mode, split)
        differences[split] = {**paired, "intervals_apart": apart}
    return differences


def _flat(step: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in step.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value})
    return flat
