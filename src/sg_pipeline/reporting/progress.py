"""Log lines: progress of a run, its evaluations and its result."""

from collections.abc import Sequence
from typing import Any

from sg_pipeline.config.base_model import WarmStartStage
from sg_pipeline.evaluation.metrics import graded_score, is_graded
from sg_pipeline.rollouts.result import shares

_SHOWN = 0.05
"""Smallest share of a step's time that is shown."""


def progress_line(metrics: dict[str, Any], steps: int) -> str:
    """Return step/total, phase, lambda, success, R_env, R_sg, label shares (+ = -) and seconds of one step.

    The seconds include the parts that took most of them; success includes the mean score where episodes are graded.
    """
    names = zip("+=-", ("positive", "neutral", "negative"), strict=True)
    known = {s: share for s, name in names if (share := metrics.get(f"{name}_share")) is not None}
    labels = (
        " ".join(f"{s}{100 * share:.0f}%" for s, share in known.items()) if len(known) == len("+=-") else "no guidance"
    )
    parts = [f"{column} {share:.0%}" for column, share in shares(metrics["seconds"]).items() if share >= _SHOWN]
    line = (
        f"step {metrics['step'] + 1:>{len(str(steps))}}/{steps}  {metrics['phase']:<18}  "
        f"lambda {metrics['lambda']:.2f}  "
        f"success {_formatted(metrics['success_rate'], '5.1%')}  {_score_of(metrics)}"
        f"R_env {_formatted(metrics['r_env'], '.3f')}  "
        f"R_sg {_formatted(metrics['r_sg'], '+.3f')}  {labels}  "
        f"{metrics['seconds']['total']:.1f} s" + (f" ({', '.join(parts)})" if parts else "")
    )
    held_back = metrics.get("quarantined") or 0
    return line + (f"  quarantined {held_back}" if held_back else "")


def warm_start_line(report: dict[str, Any], stages: Sequence[WarmStartStage]) -> str:
    """Return stage, part, tokens, held-out loss and speed of one part of a warm start."""
    return (
        f"warm start, stage {report['stage']} of {len(stages)}, part {report['part']} of "
        f"{stages[report['stage'] - 1].parts}: {report['tokens']:,} tokens, held-out loss "
        f"{report['held_out_loss']:.4f}, {report['tokens_per_second']:.0f} tokens/s"
    )


def result_lines(summary: dict[str, Any]) -> list[str]:
    """Return the result of a finished run: base and final success on each split, and the path of the report."""
    lines = []
    for split, difference in summary["difference"].items():
        base, final = summary["base"].get(split), summary["final"].get(split)
        if base is None or final is None or "success_rate" not in base:
            continue
        lines.append(
            f"{split}: base {_interval(base)} -> final {_interval(final)}, {final['episodes']} episodes, "
            f"{100 * difference['difference']:+.1f} points ({_noise(difference)})"
        )
        if "score" in difference:
            lines.append(
                f"{split}: score base {_score_interval(base)} -> final {_score_interval(final)}, "
                f"{100 * difference['score']['difference']:+.1f} points ({_noise(difference['score'])})"
            )
    return [*lines, f"report: data/08_reporting/{summary['run']}/report.md ({summary['wall_seconds']:.0f} s)"]


def evaluation_lines(scores: dict[str, dict[str, Any]], step: int) -> list[str]:
    """Return one line per mode of an evaluation: success with its interval on every split."""
    return [
        f"policy after {step} steps, {mode.replace('_', ' ')}: "
        + ", ".join(
            f"{split} {_interval(score)}" + (f" (score {_score_interval(score)})" if is_graded(score) else "")
            for split, score in splits.items()
        )
        for mode, splits in scores.items()
    ]


def cross_checkpoint_lines(table: list[dict[str, Any]]) -> list[str]:
    """Return one line per row of a cross-checkpoint table."""
    return [
        f"{row['split']}: policy after {row['policy_step']} steps, guidance of {row['guide_step']}: {_interval(row)}"
        + (f" (score {_score_interval(row['score'])})" if is_graded(row["score"]) else "")
        + ("" if row["guide_step"] == row["policy_step"] else f", {_points(row['difference'])}")
        for row in table
    ]


def distillation_line(figures: dict[str, Any]) -> str:
    """Return how well a distilled guide reproduces the guidance of its source."""
    before, after = (figures["held_out"][when] for when in ("before", "after"))
    return (
        f"guide of run '{figures['source']}': {figures['trajectories']['training']} trajectories, "
        f"{figures['training']['tokens']} tokens in {figures['training']['seconds']:.0f} s; on held-out games, "
        f"equal verdicts {_formatted(before['verdict'], '.1%')} -> {_formatted(after['verdict'], '.1%')}, "
        f"equal guidance {_formatted(before['guidance'], '.1%')} -> {_formatted(after['guidance'], '.1%')}"
    )


def _noise(difference: dict[str, Any]) -> str:
    return "outside the noise" if difference.get("outside_noise") else "within the noise"


def _points(difference: dict[str, Any]) -> str:
    success = f"{100 * difference['difference']:+.1f} points"
    graded = difference.get("score")
    return success if graded is None else f"{success}, of score {100 * graded['difference']:+.1f}"


def _interval(score: dict[str, Any]) -> str:
    return _bounded(score["success_rate"], score["ci95"])


def _score_interval(score: dict[str, Any]) -> str:
    return _bounded(*graded_score(score))


def _bounded(value: float | None, bounds: list[float] | None) -> str:
    low, high = bounds or (float("nan"), float("nan"))
    return f"{value:.1%} [{low:.1%}, {high:.1%}]"


def _score_of(metrics: dict[str, Any]) -> str:
    score = metrics.get("score")
    return "" if score is None or score == metrics["success_rate"] else f"score {score:5.1%}  "


def _formatted(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
