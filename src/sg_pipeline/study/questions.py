"""The questions that a reader brings, each answered by sentences made from the figures.

An answer is worded by the verdicts alone: it says the same when the effect is nil or goes the other way, and a method
that was not run is named as such. The short answer covers all of a question's comparisons.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from sg_pipeline.reporting.text import bare_percent, interval, number, percent, points
from sg_pipeline.study.found import SCHEDULE_VARIANTS, Found, main_guided, title
from sg_pipeline.study.hacking import reward_hacking
from sg_pipeline.study.statistics import BETTER, NOISE, WORSE

NOT_RUN = "not run"

DEARER = 1.2
"""Methods whose tokens differ by less than this factor cost the same."""


def answer_questions(found: Found) -> list[dict[str, Any]]:
    """Answer the questions.

    Args:
        found: of `results.compare_runs`, without "questions".

    Returns:
        For each `question`: `short` (a few words), `sentences` (one a comparison, with its interval and verdict).
    """
    return [
        _answer("Does guidance help at inference?", *_inference(found)),
        _answer(
            "Does guidance help training?",
            *_compared(found, [("grpo_sg", "grpo"), ("dapo_sg", "dapo")]),
        ),
        _answer(
            "Does the internal reward add to that?",
            *_compared(found, [("grpo_sg_gr", "grpo_sg"), ("dapo_sg_gr", "dapo_sg")]),
        ),
        _answer(
            "Does the full method beat plain training?",
            *_compared(found, [("grpo_sg_gr", "grpo"), ("dapo_sg_gr", "dapo")]),
        ),
        _answer(
            "Does the schedule matter: is the full trapezoid better than the others?",
            *_compared(found, [("grpo_sg_gr", variant) for variant in SCHEDULE_VARIANTS]),
        ),
        _answer(
            "Is an internal reward from the first step on better than none? (The paper found it worse.)",
            *_compared(found, [("immediate", "grpo_sg")]),
        ),
        _answer("Does the guidance itself foretell the outcome better after training?", *_calibrated(found)),
        reward_hacking(found),
        _answer("Does a policy win more with the guidance of a later checkpoint?", *_cross(found)),
        _answer(
            "Is guidance distilled from a stronger policy better than one's own?",
            *_compared(found, [("offline_sg", "grpo_sg"), ("offline_sg_gr", "grpo_sg_gr")]),
        ),
        _answer(
            "Does distilled guidance help training, and does rewarding it add to that?",
            *_of_one_guide(*_compared(found, [("offline_sg", "grpo"), ("offline_sg_gr", "offline_sg")])),
        ),
    ]


def caution(found: Found) -> str:
    """Say how many comparisons were looked at, and what of them holds when that is taken into account."""
    pairs = found["pairs"]
    told = [row for row in pairs["rows"] if row["verdict"] != NOISE]
    held = sum(row["survives"] for row in told)
    seeds = found["setting"]["seeds"]
    if not pairs["rows"]:
        return "No two methods have a seed in common, so none were compared."
    reach = median((row["ci95"][1] - row["ci95"][0]) / 2 for row in pairs["rows"])
    text = (
        f"{pairs['looked_at']} pairs of methods (each split counts) were compared; of {pairs['looked_at']} comparisons "
        f"without any effect, {0.05 * pairs['looked_at']:.1f} would leave the noise by chance. {len(told)} did, and "
        f"{held} of them also hold after Holm's correction for that number. The median interval reaches "
        f"{bare_percent(reach)} points to either side: smaller differences are not to be seen here. What is said "
        f"of playing with and without guidance, of calibration and of other checkpoints is not among them and not "
        f"corrected."
    )
    if len(seeds) == 1:
        text += " There is one seed: the intervals are of the games only, and another seed may end elsewhere."
    return text


def _answer(question: str, verdicts: Sequence[str], sentences: Sequence[str]) -> dict[str, Any]:
    return {"question": question, "short": _short(verdicts), "sentences": list(sentences)}


def _short(verdicts: Sequence[str]) -> str:
    """One phrase for all comparisons of a question."""
    known = [verdict for verdict in verdicts if verdict != NOT_RUN]
    if not known:
        return "Not run."
    better, worse = known.count(BETTER), known.count(WORSE)
    count = {1: "the one comparison", 2: "both comparisons"}.get(len(known), f"all {len(known)} comparisons")
    if better == len(known):
        text = f"Yes: better in {count}."
    elif worse == len(known):
        text = f"No, the other way round: worse in {count}."
    elif not better and not worse:
        text = f"Not seen: {count} within the noise."
    elif better and worse:
        text = f"Mixed: better in {better}, worse in {worse} of {len(known)} comparisons."
    elif better:
        text = f"In part: {BETTER} in {better} of {len(known)} comparisons, the others within the noise."
    else:
        text = f"No: {WORSE} in {worse} of {len(known)} comparisons, the others within the noise."
    return text + (" Some comparisons were not run." if len(known) < len(verdicts) else "")


def _compared(found: Found, chosen: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    verdicts: list[str] = []
    sentences: list[str] = []
    named = {*found["methods"], *found["not_run"]}
    chosen = [both for both in chosen if named.issuperset(both)]
    if not chosen:
        return [NOT_RUN], ["The study does not have these methods."]
    for left, right in chosen:
        missing = [title(found, method) for method in (left, right) if method not in found["methods"]]
        if missing:
            verdicts.append(NOT_RUN)
            sentences.append(f"{title(found, left)} against {title(found, right)}: {' and '.join(missing)} not run.")
            continue
        rows = [row for row in found["pairs"]["rows"] if (row["left"], row["right"]) == (left, right)]
        if not rows:
            verdicts.append(NOT_RUN)
            sentences.append(
                f"{title(found, left)} against {title(found, right)}: no seed in common, so they cannot be paired."
            )
        for row in rows:
            verdicts.append(row["verdict"])
            sentences.append(
                f"{row['split']}: {title(found, left)} {percent(row['left_mean'])}, {title(found, right)} "
                f"{percent(row['right_mean'])}, difference {_change(row)}{_corrected(row)}."
            )
        sentences += _price(found, left, right) if rows else []
    return verdicts, sentences


def _price(found: Found, left: str, right: str) -> list[str]:
    """Say so where one of two methods samples clearly more tokens in as many steps."""
    costs = [found["costs"][method]["tokens_sampled"] for method in (left, right)]
    if not all(costs) or 1 / DEARER < costs[0] / costs[1] < DEARER:
        return []
    return [
        f"{title(found, left)} samples {costs[0]:,.0f} tokens a run and {title(found, right)} {costs[1]:,.0f}: at the "
        f"same number of tokens the comparison is another one (see the learning curves)."
    ]


def _inference(found: Found) -> tuple[list[str], list[str]]:
    """Of the base policy and of the main methods that write their own guidance."""
    guided = main_guided(found)
    rows = [row for row in found["inference"] if row["method"] == "base" or row["method"] in guided]
    sentences = [
        f"{row['split']}, {_whose(found, row['method'])}: with guidance {percent(row['left_mean'])}, without "
        f"{percent(row['right_mean'])}, difference {_change(row)}."
        for row in rows
    ]
    if not rows:
        return [NOT_RUN], ["Not evaluated in both modes (evaluate.guided, evaluate.plain)."]
    return [row["verdict"] for row in rows], sentences


def _calibrated(found: Found) -> tuple[list[str], list[str]]:
    guided = main_guided(found)
    rows = [row for row in found["calibration"] if row["method"] in guided and row.get("auc_verdict")]
    if not rows:
        return [NOT_RUN], ["No run that trains guidance has its evaluation episodes on the disk."]
    sentences = []
    for row in rows:
        moved, after = row["moved"]["auc.turns"], row["auc.turns"]
        brier = row["moved"]["brier.score"]
        sentences.append(
            f"{row['split']}, {title(found, row['method'])}: AUC of the verdict "
            f"{number(after['value'] - moved['value'])} → {number(after['value'])}, change {number(moved['value'])} "
            f"{interval(moved['ci95'], number)}, {row['auc_verdict']}; Brier score moved by {number(brier['value'])} "
            f"{interval(brier['ci95'], number)} (lower is better)."
        )
    sentences.append(
        "AUC and Brier score are over turns, and training changes the turns: a policy that no longer repeats itself "
        "leaves its guide fewer easy verdicts. So a fall here is not yet worse guidance; the comparison by checkpoint "
        "is."
    )
    return [row["auc_verdict"] for row in rows], sentences


def _cross(found: Found) -> tuple[list[str], list[str]]:
    trends = found["cross_checkpoint"]["trends"]
    if not trends:
        return [NOT_RUN], ["The cross-checkpoint evaluation was not run."]
    sentences = [
        f"{row['split']}, {_of_method(found, row)}policy of step {row['policy_step']}: guided by step "
        f"{row['earliest']} {percent(row['right_mean'])}, by step {row['latest']} {percent(row['left_mean'])}, "
        f"difference {_change(row)}."
        for row in trends
    ]
    return [row["verdict"] for row in trends], sentences


def _of_one_guide(verdicts: list[str], sentences: list[str]) -> tuple[list[str], list[str]]:
    """Add what no interval of the offline methods covers."""
    note = "All seeds are guided by one guide, distilled once: how much another one would differ is in no interval."
    return verdicts, [*sentences, *([note] if set(verdicts) != {NOT_RUN} else [])]


def _whose(found: Found, method: str) -> str:
    return "the base policy" if method == "base" else f"final policy of {title(found, method)}"


def _of_method(found: Found, row: Mapping[str, Any]) -> str:
    return f"{title(found, row['method'])}, " if row["method"] else ""


def _change(row: Mapping[str, Any]) -> str:
    seeds = "1 seed, so of the games alone" if row["seeds"] == 1 else f"{row['seeds']} seeds"
    return f"{points(row['value'])} points {interval(row['ci95'], points)} ({seeds}), {row['verdict']}"


def _corrected(row: Mapping[str, Any]) -> str:
    if row["verdict"] == NOISE or row["survives"]:
        return ""
    return ", though not after the correction for the number of comparisons"
