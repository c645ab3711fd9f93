"""A run's result as sentences and tables of text, for whatever writes them down: Markdown or HTML.

Sentences are plain but for `**strong**` and `` `code` ``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sg_pipeline.config.evaluation import WITH_GUIDANCE, WITHOUT_GUIDANCE
from sg_pipeline.evaluation.metrics import graded_score, is_graded
from sg_pipeline.reporting.text import NONE, bare_percent, duration, interval, mean, number, percent, points
from sg_pipeline.trajectories.types import Polarity

MODE_TITLES = {WITH_GUIDANCE: "with guidance", WITHOUT_GUIDANCE: "without guidance"}


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table of text.

    Attributes:
        head: names of the columns; the first column names the row.
        rows: cells, as many as there are columns; a table without rows is not shown.
        note: how to read it.
        empty: what to say instead of a table without rows.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    empty: str = ""


def identity(summary: Mapping[str, Any]) -> list[str]:
    """Say what the run was: environment, fingerprint, panels, steps."""
    panel = summary.get("panel_sha256")
    hashes = panel if isinstance(panel, Mapping) else {"panel": panel}
    steps, quarantined = summary["steps"], summary["quarantined"]
    return [
        f"environment: {summary['environment']}, {summary['panel']}",
        f"parameters' fingerprint: `{summary['fingerprint']}`",
        *(f"{name} sha256: `{digest}`" for name, digest in hashes.items()),
        f"{steps} co-evolution steps in {duration(summary.get('wall_seconds'))}, trained "
        f"{MODE_TITLES[summary['mode']]}; trajectories quarantined: {quarantined}",
        *([f"computed on {'; '.join(machines)}"] if (machines := summary.get("machines")) else []),
    ]


def _modes(summary: Mapping[str, Any]) -> list[tuple[str, Callable[[str], Mapping[str, Any]]]]:
    """(mode, part -> its splits) of the trained mode first, then of the other where it was evaluated."""
    other = next(mode for mode in MODE_TITLES if mode != summary["mode"])

    def trained(part: str) -> Mapping[str, Any]:
        return {name: value for name, value in summary[part].items() if name not in MODE_TITLES}

    def untrained(part: str) -> Mapping[str, Any]:
        return summary[part].get(other, {})

    return [(summary["mode"], trained), *([(other, untrained)] if untrained("base") or untrained("final") else [])]


def verdicts(summary: Mapping[str, Any]) -> list[str]:
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
        sentences.append(sentence + _score_verdict(base, final, change.get("score")))
    return sentences


def _score_verdict(base: Mapping[str, Any], final: Mapping[str, Any], change: Mapping[str, Any] | None) -> str:
    """What there is to say of the mean score where episodes are graded."""
    if change is None:
        return ""
    before, after = graded_score(base)[0], graded_score(final)[0]
    noise = "**outside the noise**" if change["outside_noise"] else "**within the noise**"
    return (
        f" Its mean score is {percent(after)}, the base's {percent(before)}: {points(change['difference'])} points, "
        f"95 % interval {interval(change['ci95'], points)}, {noise}."
    )


def comparison(summary: Mapping[str, Any]) -> ReportTable:
    """Base beside final, split by split, the trained mode first; with scores where episodes are graded."""
    rows = []
    graded = _is_graded(summary)
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
                    *(_score_cells(base.get(split), final.get(split), change) if graded else ()),
                    _figure(base, final, split, "mean_turns", lambda v: number(v, 1)),
                    _figure(base, final, split, "invalid_action_share", percent),
                    str((final.get(split) or base.get(split) or {}).get("episodes", NONE)),
                ]
            )
    head = [
        "split", "base", "final", "difference (paired)", "games better / worse",
        *(("score, base", "score, final", "difference (paired)") if graded else ()),
        "turns", "invalid", "episodes",
    ]  # fmt: skip
    note = (
        f"Success{' and mean score' if graded else ''} with 95 % intervals; turns and invalid actions as base → final. "
        "The intervals cover the choice of games and the chance within them, not the seed of training: another seed "
        "would end elsewhere."
    )
    return ReportTable(head, rows, note)


def parts(summary: Mapping[str, Any]) -> ReportTable:
    """What the scores are made of; without rows where the benchmark does not say."""
    rows = []
    for mode, splits in _modes(summary):
        base, final = splits("base"), splits("final")
        for split in sorted(set(base) | set(final)):
            before, after = (part.get(split, {}).get("parts") or {} for part in (base, final))
            for name in sorted(set(before) | set(after)):
                each = [found.get(name) or {} for found in (before, after)]
                means = [f"{percent(one.get('mean'))} {interval(one.get('ci95'), bare_percent)}" for one in each]
                counts = " → ".join(str(one.get("episodes", 0)) for one in each)
                rows.append([f"{split}, {MODE_TITLES[mode]}: {name}", *means, counts])
    note = (
        "Means with 95 % intervals over the episodes that have the part; one that ended without being judged has none, "
        "and its score is 0."
    )
    return ReportTable(["part of the score", "base", "final", "episodes"], rows, note)


def task_types(summary: Mapping[str, Any]) -> ReportTable:
    """The same by task type, in the trained mode."""
    rows = []
    graded = _is_graded(summary)
    splits = _modes(summary)[0][1]
    base, final = splits("base"), splits("final")
    for split in sorted(set(base) | set(final)):
        before, after = (part.get(split, {}).get("task_types") or {} for part in (base, final))
        for kind in sorted(set(before) | set(after)):
            episodes = (after.get(kind) or before.get(kind) or {}).get("episodes", NONE)
            scores = [_score(part.get(kind)) for part in (before, after)] if graded else []
            rows.append([f"{split}: {kind}", _rate(before.get(kind)), _rate(after.get(kind)), *scores, str(episodes)])
    note = f"{MODE_TITLES[summary['mode']].capitalize()}; few episodes each, so read the intervals."
    head = ["task type", "base", "final", *(("score, base", "score, final") if graded else ()), "episodes"]
    return ReportTable(head, rows, note, empty="Not evaluated.")


DIALS_NOTE = (
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


def dials(metrics: Sequence[Mapping[str, Any]]) -> ReportTable:
    """Where reward hacking shows first: one row a phase."""
    phases: dict[str, list[Mapping[str, Any]]] = {}
    for step in sorted(metrics, key=lambda step: step["step"]):
        phases.setdefault(str(step.get("phase") or NONE), []).append(step)
    rows = [
        [phase.removeprefix("phase_").replace("_", " "), str(len(steps))]
        + [form(mean(step.get(name) for step in steps)) for _, name, form in _DIALS]
        for phase, steps in phases.items()
    ]
    head = ["phase", "steps", *(title for title, _, _ in _DIALS)]
    return ReportTable(head, rows, DIALS_NOTE, empty="No step was made.")


def calibration(summary: Mapping[str, Any]) -> ReportTable:
    """Guidance against outcomes, on the evaluation episodes; without rows where nothing was played with guidance."""
    rows = []
    for _, splits in _modes(summary):
        for part in ("base", "final"):
            for split, score in splits(part).items():
                found = score.get("calibration")
                if not found:
                    continue
                labels, auc = [found["labels"][polarity.value] for polarity in Polarity], found["auc"]
                rows.append(
                    [f"{split}, {part}", percent(found["win_rate_of_turns"])]
                    + [f"{percent(label['win_rate'])} ({percent(label['share'])})" for label in labels]
                    + [" / ".join(number(auc[name]) for name in ("early", "middle", "late"))]
                    + [number(auc["r_sg"]), number(auc["mean_verdict"]), percent(found["unparsed_share"])]
                )
    head = [
        "", "wins", *(f"wins if {polarity.value}" for polarity in Polarity), "AUC early / middle / late",
        "AUC R_sg", "AUC mean verdict", "unparsed",
    ]  # fmt: skip
    note = (
        "Does a verdict foretell the outcome? P(win | label) over turns, with the label's share in brackets, beside "
        "the win rate of all turns; AUC of the verdict in each third of the episode, of the episode's R_sg and of its "
        "mean verdict (0.5 is chance)."
    )
    return ReportTable(head, rows, note)


def times(summary: Mapping[str, Any]) -> ReportTable:
    """Where the steps' time went."""
    seconds, steps = summary.get("seconds") or {}, summary["steps"]
    whole = seconds.get("total") or sum(seconds.values())
    measured = seconds if whole and steps else {}
    rows = [[name, duration(value), number(value / steps), percent(value / whole)] for name, value in measured.items()]
    return ReportTable(["part of the steps", "time", "seconds a step", "share"], rows, empty="Not recorded.")


def _rate(score: Mapping[str, Any] | None) -> str:
    return f"{percent(score['success_rate'])} {interval(score['ci95'], bare_percent)}" if score else NONE


def _score(score: Mapping[str, Any] | None) -> str:
    value, bounds = graded_score(score or {})
    return NONE if value is None else f"{percent(value)} {interval(bounds, bare_percent)}"


def _score_cells(
    base: Mapping[str, Any] | None, final: Mapping[str, Any] | None, change: Mapping[str, Any]
) -> list[str]:
    """Mean score of base and final, and their difference; of success, which is the same, where nothing is graded."""
    found = change.get("score", change)
    return [
        _score(base),
        _score(final),
        f"{points(found.get('difference'))} {interval(found.get('ci95'), points)}",
    ]


def _is_graded(summary: Mapping[str, Any]) -> bool:
    return is_graded(
        *(score for _, splits in _modes(summary) for part in ("base", "final") for score in splits(part).values())
    )


def _figure(
    base: Mapping[str, Any], final: Mapping[str, Any], split: str, name: str, form: Callable[[float | None], str]
) -> str:
    return " → ".join(form(part.get(split, {}).get(name)) for part in (base, final))
