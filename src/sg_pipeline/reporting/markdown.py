"""report.md: what a run came to, for reading."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sg_pipeline.evaluation.metrics import WITH_GUIDANCE, WITHOUT_GUIDANCE
from sg_pipeline.reporting.text import NONE, bare_percent, duration, interval, mean, number, percent, points, table
from sg_pipeline.reporting.transcripts import MARKS, outcome, transcript
from sg_pipeline.trajectories.types import Trajectory

MODE_TITLES = {WITH_GUIDANCE: "with guidance", WITHOUT_GUIDANCE: "without guidance"}


def report_markdown(
    summary: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    trajectories: Sequence[tuple[str, Trajectory]] = (),
    figure: str = "learning_curve.png",
) -> str:
    """Write a run's report.

    Args:
        summary: of `summary.build_summary`.
        metrics: one mapping per step, as given to `build_summary`.
        trajectories: of `transcripts.pick_trajectories`.
        figure: path of the learning curve, relative to the report.

    Returns:
        Markdown. Undefined figures are dashes.
    """
    parts = [
        f"# Run `{summary['run']}`",
        _identity(summary),
        "## Result",
        *_verdicts(summary),
        _comparison(summary),
        f"![Learning curve: success, trust, guidance labels and training]({figure})",
        "## By task type",
        _task_types(summary),
        "## Guidance: dials by phase",
        _dials_note(),
        _dials(metrics),
        *_calibration(summary),
        "## Time",
        _times(summary),
        *_transcripts(trajectories),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _identity(summary: Mapping[str, Any]) -> str:
    panel = summary.get("panel_sha256")
    hashes = panel if isinstance(panel, Mapping) else {"panel": panel}
    steps, quarantined = summary["steps"], summary["quarantined"]
    lines = [
        f"- environment: {summary['environment']}, {summary['panel']}",
        f"- parameters' fingerprint: `{summary['fingerprint']}`",
        *(f"- {name} sha256: `{digest}`" for name, digest in hashes.items()),
        f"- {steps} co-evolution steps in {duration(summary.get('wall_seconds'))}, trained "
        f"{MODE_TITLES[summary['mode']]}; trajectories quarantined: {quarantined}",
    ]
    return "\n".join(lines)


def _modes(summary: Mapping[str, Any]) -> list[tuple[str, Callable[[str], Mapping[str, Any]]]]:
    """(mode, part -> its splits) of the trained mode first, then of the other where it was evaluated."""
    other = next(mode for mode in MODE_TITLES if mode != summary["mode"])

    def trained(part: str) -> Mapping[str, Any]:
        return {name: value for name, value in summary[part].items() if name not in MODE_TITLES}

    def untrained(part: str) -> Mapping[str, Any]:
        return summary[part].get(other, {})

    return [(summary["mode"], trained), *([(other, untrained)] if untrained("base") or untrained("final") else [])]


def _verdicts(summary: Mapping[str, Any]) -> list[str]:
    """One sentence a split of the trained mode: is the difference more than noise?"""
    splits = _modes(summary)[0][1]
    sentences = []
    for split, change in splits("difference").items():
        base, final = splits("base")[split], splits("final")[split]
        if change["difference"] is None:
            sentences.append(f"**{split}**: base and final have played no game in common, so nothing can be compared.")
            continue
        sentence = (
            f"**{split}**: the final policy wins {percent(final['success_rate'])} of {final['episodes']} episodes, "
            f"the base {percent(base['success_rate'])}; on the same {change['games']} games that is "
            f"{points(change['difference'])} points, 95 % interval {interval(change['ci95'], points)}, "
        )
        if change["outside_noise"]:
            apart = "do not overlap" if change["intervals_apart"] else "still overlap"
            direction = "an improvement" if change["difference"] > 0 else "a deterioration"
            sentence += f"which is **outside the noise**: {direction}. The two policies' own intervals {apart}."
        else:
            sentence += "which is **within the noise**: these games do not show a difference."
        sentences.append(sentence)
    return sentences


def _comparison(summary: Mapping[str, Any]) -> str:
    rows = []
    for mode, splits in _modes(summary):
        base, final, difference = splits("base"), splits("final"), splits("difference")
        for split in sorted(set(base) | set(final)):
            change = difference.get(split, {})
            rows.append(
                [
                    f"{split}, {MODE_TITLES[mode]}",
                    _rate(base.get(split)),
                    _rate(final.get(split)),
                    f"{points(change.get('difference'))} {interval(change.get('ci95'), points)}",
                    f"{change.get('better', NONE)} / {change.get('worse', NONE)}",
                    _figure(base, final, split, "mean_turns", lambda v: number(v, 1)),
                    _figure(base, final, split, "invalid_action_share", percent),
                    str((final.get(split) or base.get(split) or {}).get("episodes", NONE)),
                ]
            )
    head = ["split", "base", "final", "difference (paired)", "games better / worse", "turns", "invalid", "episodes"]
    note = (
        "Success with 95 % intervals; turns and invalid actions as base → final. The intervals cover the choice of "
        "games and the chance within them, not the seed of training: another seed would end elsewhere."
    )
    return f"{table(head, rows)}\n\n{note}"


def _task_types(summary: Mapping[str, Any]) -> str:
    rows = []
    for mode, splits in _modes(summary)[:1]:
        base, final = splits("base"), splits("final")
        for split in sorted(set(base) | set(final)):
            before, after = (part.get(split, {}).get("task_types") or {} for part in (base, final))
            for kind in sorted(set(before) | set(after)):
                episodes = (after.get(kind) or before.get(kind) or {}).get("episodes", NONE)
                rows.append([f"{split}: {kind}", _rate(before.get(kind)), _rate(after.get(kind)), str(episodes)])
        note = f"{MODE_TITLES[mode].capitalize()}; few episodes each, so read the intervals."
    return f"{table(['task type', 'base', 'final', 'episodes'], rows)}\n\n{note}" if rows else "Not evaluated."


def _dials_note() -> str:
    return (
        "Means per phase. Signs of reward hacking: negative labels vanish, the gap of R_sg between wins and losses "
        "falls to 0 or below, corr(R_sg, T) nears 1 (long episodes are paid for), many groups whose gradient comes "
        "from guidance alone."
    )


_DIALS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("λ", "lambda", number),
    ("success", "success_rate", percent),
    ("R_sg", "r_sg", number),
    ("positive", "positive_share", percent),
    ("neutral", "neutral_share", percent),
    ("negative", "negative_share", percent),
    ("R_sg gap", "r_sg_gap", number),
    ("corr(R_sg, T)", "corr_r_sg_turns", number),
    ("guidance-only groups", "guidance_only_groups", percent),
    ("invalid", "invalid_action_share", percent),
)


def _dials(metrics: Sequence[Mapping[str, Any]]) -> str:
    phases: dict[str, list[Mapping[str, Any]]] = {}
    for step in sorted(metrics, key=lambda step: step["step"]):
        phases.setdefault(str(step.get("phase") or NONE), []).append(step)
    rows = [
        [phase.removeprefix("phase_").replace("_", " "), str(len(steps))]
        + [form(mean(step.get(name) for step in steps)) for _, name, form in _DIALS]
        for phase, steps in phases.items()
    ]
    return table(["phase", "steps", *(title for title, _, _ in _DIALS)], rows) if rows else "No step was made."


def _calibration(summary: Mapping[str, Any]) -> list[str]:
    """Guidance against outcomes, on the evaluation episodes."""
    rows = []
    for _, splits in _modes(summary):
        for part in ("base", "final"):
            for split, score in splits(part).items():
                found = score.get("calibration")
                if not found:
                    continue
                labels, auc = found["labels"], found["auc"]
                rows.append(
                    [f"{split}, {part}", percent(found["win_rate_of_turns"])]
                    + [f"{percent(label['win_rate'])} ({percent(label['share'])})" for label in labels.values()]
                    + [" / ".join(number(auc[name]) for name in ("early", "middle", "late"))]
                    + [number(auc["r_sg"]), number(auc["mean_verdict"]), percent(found["unparsed_share"])]
                )
    if not rows:
        return []
    head = ["", "wins", *(f"wins if {label}" for label in labels), "AUC early / middle / late"]
    note = (
        "Does a verdict foretell the outcome? P(win | label) over turns, with the label's share in brackets, beside "
        "the win rate of all turns; AUC of the verdict in each third of the episode, of the episode's R_sg and of its "
        "mean verdict (0.5 is chance)."
    )
    return ["## Guidance: calibration", note, table([*head, "AUC R_sg", "AUC mean verdict", "unparsed"], rows)]


def _times(summary: Mapping[str, Any]) -> str:
    seconds, steps = summary.get("seconds") or {}, summary["steps"]
    whole = seconds.get("total") or sum(seconds.values())
    if not whole or not steps:
        return "Not recorded."
    rows = [[name, duration(value), number(value / steps), percent(value / whole)] for name, value in seconds.items()]
    return table(["part of the steps", "time", "seconds a step", "share"], rows)


def _transcripts(trajectories: Sequence[tuple[str, Trajectory]]) -> list[str]:
    if not trajectories:
        return []
    marks = ", ".join(f"`{mark}` {polarity.value}" for polarity, mark in MARKS.items())
    parts = [
        "## Trajectories",
        f"Whole episodes of typical length, a win and a loss each. Guidance is marked {marks}, `?` unparseable; `>` is "
        f"the action, then whether the environment accepted it and what it paid.",
    ]
    for title, trajectory in trajectories:
        text = transcript(trajectory)
        fence = "```"
        while fence in text:
            fence += "`"
        task = trajectory.task
        heading = f"### {title}: {outcome(trajectory)}"
        origin = f"{task.split}, {task.task_type}, `{task.task_id}`"
        parts.append(f"{heading}\n\n{origin}\n\n{fence}text\n{text}\n{fence}")
    return parts


def _rate(score: Mapping[str, Any] | None) -> str:
    return f"{percent(score['success_rate'])} {interval(score['ci95'], bare_percent)}" if score else NONE


def _figure(
    base: Mapping[str, Any], final: Mapping[str, Any], split: str, name: str, form: Callable[[float | None], str]
) -> str:
    return " → ".join(form(part.get(split, {}).get(name)) for part in (base, final))
