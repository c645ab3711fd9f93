"""A run's result as sentences and tables of text, rendered as Markdown or HTML elsewhere.

Sentences are plain text with `**strong**` and `` `code` ``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
        text_columns: so many columns from the left hold text, the others numbers.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    empty: str = ""
    text_columns: int = 1


def identity(summary: Mapping[str, Any]) -> list[str]:
    """Describe the run: environment, fingerprint, panels, steps."""
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


def verdicts(summary: Mapping[str, Any]) -> list[str]:
    """One sentence per split of the trained mode: is the difference more than noise?"""
    _, base_splits, final_splits, differences = _modes(summary)[0]
    sentences = []
    for split, change in differences.items():
        base, final = base_splits[split], final_splits[split]
        if change["difference"] is None:
            sentences.append(f"**{split}**: base and final played no game in common, so they cannot be compared.")
            continue
        sentence = (
            f"**{split}**: the final policy solves {percent(final['success_rate'])} of {final['episodes']} episodes, "
            f"the base {percent(base['success_rate'])}; on the same {change['games']} games that is "
            f"{points(change['difference'])} points, 95 % interval {interval(change['ci95'], points)}, "
        )
        if change["outside_noise"]:
            apart = "do not overlap" if change["intervals_apart"] else "still overlap"
            direction = "an improvement" if change["difference"] > 0 else "a deterioration"
            sentence += f"which is **outside the noise**: {direction}. The two policies' own intervals {apart}."
        elif (p_value := change.get("p_value")) is not None and change["ci95"][0] * change["ci95"][1] > 0:
            differing = change["better"] + change["worse"]
            sentence += (
                f"but only {differing} games came out differently, which chance alone does in {percent(p_value)} of "
                "cases (sign test): **within the noise**."
            )
        else:
            sentence += "which is **within the noise**: these games do not show a difference."
        if graded := change.get("score"):
            noise = "outside the noise" if graded["outside_noise"] else "within the noise"
            sentence += (
                f" Its mean score is {percent(graded_score(final)[0])}, the base's {percent(graded_score(base)[0])}: "
                f"{points(graded['difference'])} points, 95 % interval {interval(graded['ci95'], points)}, **{noise}**."
            )
        sentences.append(sentence)
    return sentences


def comparison(summary: Mapping[str, Any]) -> ReportTable:
    """Base and final policy, split by split, the trained mode first; with scores where episodes are graded."""
    rows = []
    graded = _is_graded(summary)
    for mode, base_splits, final_splits, differences in _modes(summary):
        for split, base, final in _pairs(base_splits, final_splits):
            change = differences.get(split, {})
            rows.append([
                f"{split}, {MODE_TITLES[mode]}", _rate(base), _rate(final), _change(change),
                f"{change.get('better', NONE)} / {change.get('worse', NONE)}",
                # Without graded episodes in this split, score and success are the same.
                *((_score(base), _score(final), _change(change.get("score", change))) if graded else ()),
                _both(base, final, "mean_turns", lambda value: number(value, 1)),
                _both(base, final, "invalid_action_share", percent),
                str((final or base).get("episodes", NONE)),
            ])  # fmt: skip
    head = [
        "split", "base", "final", "difference (paired)", "games better / worse",
        *(("score, base", "score, final", "difference (paired)") if graded else ()),
        "turns", "invalid", "episodes",
    ]  # fmt: skip
    note = (
        f"Success{' and mean score' if graded else ''} with 95 % intervals; turns and invalid actions as base → final. "
        "The intervals cover the choice of games and the chance within them, not the seed of training: another seed "
        "would give another result."
    )
    return ReportTable(head, rows, note)


def parts(summary: Mapping[str, Any]) -> ReportTable:
    """The parts of the scores; without rows where the benchmark reports none."""
    rows = []
    for mode, base_splits, final_splits, _ in _modes(summary):
        for split, base, final in _pairs(base_splits, final_splits):
            for name, before, after in _pairs(base.get("parts") or {}, final.get("parts") or {}):
                means = [f"{percent(one.get('mean'))} {interval(one.get('ci95'), bare_percent)}"
                         for one in (before, after)]  # fmt: skip
                counts = f"{before.get('episodes', 0)} → {after.get('episodes', 0)}"
                rows.append([f"{split}, {MODE_TITLES[mode]}: {name}", *means, counts])
    note = (
        "Means with 95 % intervals over the episodes that have the part; an episode that ended without being judged "
        "has none, and its score is 0."
    )
    return ReportTable(["part of the score", "base", "final", "episodes"], rows, note)


def task_types(summary: Mapping[str, Any]) -> ReportTable:
    """The comparison by task type, in the trained mode."""
    rows = []
    graded = _is_graded(summary)
    _, base_splits, final_splits, _ = _modes(summary)[0]
    for split, base, final in _pairs(base_splits, final_splits):
        for kind, before, after in _pairs(base.get("task_types") or {}, final.get("task_types") or {}):
            scores = [_score(before), _score(after)] if graded else []
            episodes = str((after or before).get("episodes", NONE))
            rows.append([f"{split}: {kind}", _rate(before), _rate(after), *scores, episodes])
    note = f"{MODE_TITLES[summary['mode']].capitalize()}; few episodes each, so read the intervals."
    head = ["task type", "base", "final", *(("score, base", "score, final") if graded else ()), "episodes"]
    return ReportTable(head, rows, note, empty="Not evaluated.")


_DIALS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("λ", "lambda", number),
    ("success", "success_rate", percent),
    ("R_sg", "r_sg", number),
    ("positive", "positive_share", percent),
    ("neutral", "neutral_share", percent),
    ("negative", "negative_share", percent),
    ("R_sg gap", "r_sg_gap", number),
    ("corr(R_sg, T)", "corr_r_sg_turns", number),
    ("right order", "verdict_concordance", number),
    ("guidance-only groups", "guidance_only_groups", percent),
    ("invalid", "invalid_action_share", percent),
)


def dials(metrics: Sequence[Mapping[str, Any]]) -> ReportTable:
    """Indicators of reward hacking: one row per phase."""
    phases: dict[str, list[Mapping[str, Any]]] = {}
    for step in sorted(metrics, key=lambda step: step["step"]):
        phases.setdefault(str(step.get("phase") or NONE), []).append(step)
    rows = [
        [phase.removeprefix("phase_").replace("_", " "), str(len(steps))]
        + [form(mean(step.get(name) for step in steps)) for _, name, form in _DIALS]
        for phase, steps in phases.items()
    ]
    note = (
        "Means per phase. Signs of reward hacking: negative labels vanish, the gap of R_sg between won and lost "
        "episodes falls to 0 or below, corr(R_sg, T) approaches 1 (long episodes are rewarded), verdicts no longer "
        "rank won episodes of a group above lost ones (right order 0), the gradient of many groups comes from guidance "
        "alone."
    )
    return ReportTable(["phase", "steps", *(title for title, _, _ in _DIALS)], rows, note, empty="No step was made.")


def earned_trust(metrics: Sequence[Mapping[str, Any]]) -> ReportTable:
    """Why lambda was what it was, at most eight steps; without rows where trust followed a plan."""
    steps = [step for step in sorted(metrics, key=lambda step: step["step"]) if step.get("trust_reason")]
    chosen = sorted({round(place * (len(steps) - 1) / 7) for place in range(8)}) if steps else []
    rows = [[str(steps[i]["step"]), number(steps[i]["lambda"], 2), steps[i]["trust_reason"]] for i in chosen]
    note = (
        "Verdicts in the right order: within groups, pairs of a won and a lost episode whose mean verdict (first two "
        "thirds) ranks the won one higher, minus those ranked lower; 0 is chance, 1 perfect."
    )
    return ReportTable(["step", "λ", "because"], rows, note, text_columns=3)


def calibration(summary: Mapping[str, Any]) -> ReportTable:
    """Guidance against outcomes, on the evaluation episodes; without rows where none was played with guidance."""
    rows = []
    for _, base_splits, final_splits, _ in _modes(summary):
        for part, splits in (("base", base_splits), ("final", final_splits)):
            for split, score in splits.items():
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
        "", "success", *(f"success if {polarity.value}" for polarity in Polarity), "AUC early / middle / late",
        "AUC R_sg", "AUC mean verdict", "unparsed",
    ]  # fmt: skip
    note = (
        "Does a verdict predict the outcome? P(success | label) over turns, with the label's share in brackets, next "
        "to the success rate of all turns; AUC of the verdict in each third of the episode, of the episode's R_sg and "
        "of its mean verdict (0.5 is chance)."
    )
    return ReportTable(head, rows, note)


def times(summary: Mapping[str, Any]) -> ReportTable:
    """Time of the steps by part."""
    seconds, steps = summary.get("seconds") or {}, summary["steps"]
    whole = seconds.get("total") or sum(seconds.values())
    measured = seconds if whole and steps else {}
    rows = [[name, duration(value), number(value / steps), percent(value / whole)] for name, value in measured.items()]
    return ReportTable(["part of the steps", "time", "seconds a step", "share"], rows, empty="Not recorded.")


Splits = Mapping[str, Mapping[str, Any]]


def _modes(summary: Mapping[str, Any]) -> list[tuple[str, Splits, Splits, Splits]]:
    """(mode, base, final, difference), each split -> values: the trained mode, then the other if it was evaluated."""
    other = next(mode for mode in MODE_TITLES if mode != summary["mode"])
    base, final, difference = (summary[part] for part in ("base", "final", "difference"))
    trained: list[Splits] = [{name: value for name, value in part.items() if name not in MODE_TITLES}
                             for part in (base, final, difference)]  # fmt: skip
    modes = [(summary["mode"], trained[0], trained[1], trained[2])]
    if base.get(other) or final.get(other):
        modes.append((other, base.get(other, {}), final.get(other, {}), difference.get(other, {})))
    return modes


def _pairs(base: Splits, final: Splits) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """(name, base, final) of every name in either, sorted; {} where one lacks it."""
    for name in sorted({*base, *final}):
        yield name, base.get(name) or {}, final.get(name) or {}


def _is_graded(summary: Mapping[str, Any]) -> bool:
    return is_graded(*(s for _, base, final, _ in _modes(summary) for s in (*base.values(), *final.values())))


def _rate(score: Mapping[str, Any]) -> str:
    return f"{percent(score['success_rate'])} {interval(score['ci95'], bare_percent)}" if score else NONE


def _score(score: Mapping[str, Any]) -> str:
    value, bounds = graded_score(score)
    return NONE if value is None else f"{percent(value)} {interval(bounds, bare_percent)}"


def _change(change: Mapping[str, Any]) -> str:
    return f"{points(change.get('difference'))} {interval(change.get('ci95'), points)}"


def _both(base: Mapping[str, Any], final: Mapping[str, Any], name: str, form: Callable[[float | None], str]) -> str:
    return f"{form(base.get(name))} → {form(final.get(name))}"
