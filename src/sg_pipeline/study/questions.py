"""Answer the study's questions: for each a count of verdicts, and the numbers of every comparison behind it.

An answer follows from the verdicts alone: it reads the same when the effect is nil or goes the other way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sg_pipeline.reporting.text import interval, number, percent, points
from sg_pipeline.study.comparison import QUESTIONS, SCHEDULE_VARIANTS
from sg_pipeline.study.statistics import BETTER, NOISE, WORSE

Found = Mapping[str, Any]
"""Of `results.compare_runs`."""

NOT_RUN = "not run"

SIGNS = {
    "negative_share": ("negative labels", lambda v: v < 0.02),  # they have vanished
    "r_sg_gap": ("R_sg gap", lambda v: v <= 0),  # losses are rewarded as much as wins
    "corr_r_sg_turns": ("corr(R_sg, T)", lambda v: v > 0.5),  # long episodes are rewarded
    "auc": ("AUC", lambda v: v < 0.55),  # verdicts do not predict the outcome
}
"""Dial -> (its name, whether a value is a sign of reward hacking)."""

SIGNS_NOTE = "Signs of hacking: negative labels < 0.02, R_sg gap <= 0, corr(R_sg, T) > 0.5, AUC < 0.55."

_MAIN_GUIDED = ("grpo_sg", "grpo_sg_gr", "dapo_sg", "dapo_sg_gr")
_REWARDED = ("grpo_sg_gr", "dapo_sg_gr", *SCHEDULE_VARIANTS)


def title(found: Found, method: str) -> str:
    """Return a method's name in tables, whether it was run or not."""
    if method == "base":
        return "base (no training)"
    about = found["methods"].get(method)
    return str(about["title"] if about else found["not_run"].get(method, method))


def own_scores(found: Found, method: str) -> Mapping[str, Any]:
    """Return split -> scores of a method in the mode that it trains."""
    scores: Mapping[str, Any] = found["scores"][method]
    return scores.get(found["methods"][method]["mode"], {})


def answer_questions(found: Found) -> list[dict[str, Any]]:
    """Return for each `question` the `answer`, which counts the verdicts, and `rows` with the numbers as text."""
    # The methods whose own guidance is asked about: the main ones, or else all that write any.
    writers = [method for method, about in found["methods"].items() if about["writes_guidance"]]
    guided = [method for method in writers if method in _MAIN_GUIDED] or writers
    inference = [
        _row(title(found, row["method"]), row["split"], _difference(row), row["verdict"])
        for row in found["inference"]
        if row["method"] in ("base", *guided)
    ]
    calibrated = [
        _row(title(found, row["method"]), row["split"], _moved_auc(row), row["auc_verdict"])
        for row in found["calibration"]
        if row["method"] in guided and row.get("auc_verdict")
    ]
    crossed = [
        _row(
            f"{title(found, row['method'])}, policy of step {row['policy_step']}: guide of step {row['latest']} "
            f"against {row['earliest']}", row["split"], _difference(row), row["verdict"],
        )
        for row in found["cross_checkpoint"]["trends"]
    ]  # fmt: skip
    return [
        _answer("Does guidance help at inference?", inference),
        *(_answer(question, rows) for question, chosen in QUESTIONS if (rows := _compared(found, chosen))),
        _answer("Does the guidance predict the outcome better after training?", calibrated),
        _hacking(found),
        _answer("Does a policy solve more with the guidance of a later checkpoint?", crossed),
    ]


def _answer(question: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    counts = {v: sum(row["verdict"].startswith(v) for row in rows) for v in (BETTER, WORSE, NOISE)}
    known = sum(counts.values())
    counted = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items() if count)
    missing = " (some comparisons were not run)" if 0 < known < len(rows) else ""
    answer = f"{counted} of {known}{missing}" if known else NOT_RUN
    return {"question": question, "answer": answer, "rows": list(rows)}


def _compared(found: Found, chosen: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    rows = []
    named = {*found["methods"], *found["not_run"]}
    for left, right in (both for both in chosen if named.issuperset(both)):
        comparison = f"{title(found, left)} against {title(found, right)}"
        own = [row for row in found["pairs"]["rows"] if (row["left"], row["right"]) == (left, right)]
        rows += [_row(comparison, row["split"], _difference(row), corrected_verdict(row)) for row in own]
        if not own:
            missing = [title(found, method) for method in (left, right) if method not in found["methods"]]
            rows.append(_row(comparison, "", "", f"{' and '.join(missing)} {NOT_RUN}" if missing else "no common seed"))
    return rows


def _hacking(found: Found) -> dict[str, Any]:
    """Read the dials of the last phase of the methods that reward their own guidance.

    The control differs from a rewarded method in the reward alone; its numbers are those of the same phase.
    """
    rows, signs = [], []
    for method in _REWARDED:
        if method not in found["dials"] or not found["methods"][method]["writes_guidance"]:
            continue
        phase, dials = list(found["dials"][method].items())[-1]
        control = found["dials"].get("dapo_sg" if method.startswith("dapo") else "grpo_sg", {}).get(phase, {})
        values = {dial: dials[dial]["mean"] for dial in SIGNS if dials[dial] is not None}
        beside = {dial: f" ({number(control[dial]['mean'])})" for dial in SIGNS if control.get(dial)}
        shown = [SIGNS[dial][0] for dial, value in values.items() if SIGNS[dial][1](value)]
        signs += [title(found, method)] if shown else []
        numbers = ", ".join(f"{SIGNS[d][0]} {number(value)}{beside.get(d, '')}" for d, value in values.items())
        comparison = f"{title(found, method)}, {phase.removeprefix('phase_').replace('_', ' ')} (control in brackets)"
        rows.append(_row(comparison, "training", numbers, f"signs: {', '.join(shown)}" if shown else "no sign"))
    answer = f"signs in {len(signs)} of {len(rows)}{': ' * bool(signs)}{', '.join(signs)}" if rows else NOT_RUN
    return {"question": "Is the internal reward hacked?", "answer": answer, "rows": rows}


def corrected_verdict(row: Mapping[str, Any]) -> str:
    """Return the verdict of a row of `comparison.compare_pairs`, with a note where Holm's correction removes it."""
    return row["verdict"] + ("" if row["verdict"] == NOISE or row["survives"] else " (not after Holm)")


def _difference(row: Mapping[str, Any]) -> str:
    seeds = ", 1 seed: games only" if row["seeds"] == 1 else ""
    return (
        f"{percent(row['left_mean'])} against {percent(row['right_mean'])}: {points(row['value'])} "
        f"{interval(row['ci95'], points)}{seeds}"
    )


def _moved_auc(row: Mapping[str, Any]) -> str:
    after, moved = row["auc.turns"]["value"], row["moved"]["auc.turns"]
    change = f"{moved['value']:+.2f} {interval(moved['ci95'], number)}"
    return f"AUC {number(after - moved['value'])} → {number(after)}: {change}"


def _row(comparison: str, split: str, numbers: str, verdict: str) -> dict[str, str]:
    return {"comparison": comparison, "split": split, "numbers": numbers, "verdict": verdict}
