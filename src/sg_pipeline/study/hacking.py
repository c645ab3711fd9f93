"""Is the internal reward hacked? The dials of the last phase, beside those of the method that rewards no guidance."""

from collections.abc import Callable
from typing import Any

from sg_pipeline.reporting.text import number, percent
from sg_pipeline.study.found import SCHEDULE_VARIANTS, Found, title

REWARDED = ("grpo_sg_gr", "dapo_sg_gr", *SCHEDULE_VARIANTS)
CONTROL = {method: "dapo_sg" if method.startswith("dapo") else "grpo_sg" for method in REWARDED}
"""What differs from a rewarded method in the reward alone."""

SIGNS: tuple[tuple[str, str, Callable[[float | None], str], Callable[[float], bool], str], ...] = (
    ("negative_share", "negative labels", percent, lambda v: v < 0.02, "negative labels have vanished"),
    ("r_sg_gap", "R_sg of wins less losses", number, lambda v: v <= 0, "losses are praised as much as wins"),
    ("corr_r_sg_turns", "corr(R_sg, T)", number, lambda v: v > 0.5, "long episodes are paid for"),
    ("auc", "AUC of the verdict", number, lambda v: v < 0.55, "verdicts say nothing about the outcome"),
)
"""dial, its name, how it is written, from where on it is a sign of hacking, and what it then means."""


def reward_hacking(found: Found) -> dict[str, Any]:
    """Read the dials of the methods that reward their own guidance.

    Returns:
        `question`, `short` and `sentences`, as of `questions.answer_questions`.
    """
    question = "Is the internal reward hacked? (dials of the last phase of training)"
    sentences: list[str] = []
    signs: dict[str, list[str]] = {}
    for method in REWARDED:
        if method not in found["dials"] or not found["methods"][method]["writes_guidance"]:
            continue
        phase, dials = list(found["dials"][method].items())[-1]
        # The same phase of the control: without annealing a run ends in the third.
        beside = found["dials"].get(CONTROL[method], {}).get(phase, {})
        parts = [
            f"{name} {form(dials[dial]['mean'])}"
            + (f" (without the reward {form(beside[dial]['mean'])})" if beside.get(dial) else "")
            for dial, name, form, _, _ in SIGNS
            if dials[dial] is not None
        ]
        shown = [words for dial, _, _, is_one, words in SIGNS if dials[dial] and is_one(dials[dial]["mean"])]
        if shown:
            signs[title(found, method)] = shown
        name_of = phase.removeprefix("phase_").replace("_", " ")
        sentences.append(
            f"{title(found, method)}, phase {name_of}: {', '.join(parts)}; {'; '.join(shown) or 'no sign of it'}."
        )
    if not sentences:
        return {"question": question, "short": "Not run.", "sentences": ["No method rewarded its own guidance."]}
    others = "; no sign of it in the other methods" if len(signs) < len(sentences) else ""
    told = "; ".join(f"in {name}, {' and '.join(words)}" for name, words in signs.items())
    short = (
        f"Signs of it: {told}{others}."
        if signs
        else "No sign of it by the thresholds of the dials; read them beside the control."
    )
    return {"question": question, "short": short, "sentences": sentences}
