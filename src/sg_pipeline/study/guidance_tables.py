"""What became of the guidance, as tables of text: the dials by phase, calibration, guides of other checkpoints."""

from collections.abc import Callable, Mapping
from typing import Any

from sg_pipeline.reporting.run_tables import ReportTable
from sg_pipeline.reporting.text import NONE, interval, number, percent
from sg_pipeline.study import published
from sg_pipeline.study.calibration import LABELS
from sg_pipeline.study.found import Found, title
from sg_pipeline.study.tables import BASE, change, with_interval

_DIALS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("λ", "lambda", number),
    ("success", "success_rate", percent),
    ("positive", "positive_share", percent),
    ("neutral", "neutral_share", percent),
    ("negative", "negative_share", percent),
    ("R_sg of wins", "r_sg_wins", number),
    ("of losses", "r_sg_losses", number),
    ("gap", "r_sg_gap", number),
    ("corr(R_sg, T)", "corr_r_sg_turns", number),
    ("guidance-only groups", "guidance_only_groups", percent),
    ("AUC", "auc", number),
    ("early", "auc_early", number),
    ("middle", "auc_middle", number),
    ("late", "auc_late", number),
    ("invalid actions", "invalid_action_share", percent),
)


def dials_table(found: Found) -> ReportTable:
    """The dials of the methods that train with guidance, by phase."""
    rows = []
    for method, phases in found["dials"].items():
        if found["methods"][method]["mode"] != "with_guidance":
            continue
        for phase, dials in phases.items():
            span = f"steps {dials['first']} to {dials['last']}"
            name = f"{phase.removeprefix('phase_').replace('_', ' ')}, {span}" if phase.startswith("phase_") else span
            cells = [_with_range(dials[dial], form) for _, dial, form in _DIALS]
            rows.append([title(found, method), name, *cells])
    note = (
        "Means over the seeds, in brackets the least and the greatest seed. Signs of reward hacking: negative labels "
        "vanish, the gap of R_sg between wins and losses falls to 0 or below, corr(R_sg, T) nears 1 (long episodes "
        "are paid for), many groups whose gradient comes from guidance alone, and an AUC of the verdict that sinks to "
        "0.5 (chance). AUC early, middle, late: of the turns in each third of their episode."
    )
    return ReportTable(["method", "phase", *(name for name, _, _ in _DIALS)], rows, note, empty="No run had guidance.")


def calibration_table(found: Found) -> ReportTable:
    """Verdicts against outcomes on the evaluation panels, before and after training."""
    rows = []
    for row in found["calibration"]:
        after = [
            f"{with_interval(row[f'win_rate.{label}'])} ({percent(row[f'share.{label}']['value'])})" for label in LABELS
        ]
        moved = row.get("moved")
        rows.append([
            BASE if row["method"] == "base" else title(found, row["method"]), row["split"], *after,
            _figure(row["auc.turns"]),
            " / ".join(number(row[f"auc.{third}"]["value"]) for third in ("early", "middle", "late")),
            _figure(row["brier.score"]),
            " − ".join(number(row[f"brier.{part}"]["value"]) for part in ("reliability", "resolution"))  # noqa: RUF001
            + f" + {number(row['brier.uncertainty']['value'])}",
            f"{_figure(moved['auc.turns'])}, {row['auc_verdict']}" if moved else NONE,
        ])  # fmt: skip
    head = ["policy", "split", *(f"wins if {label}" for label in LABELS), "AUC", "early / middle / late", "Brier score",
            "reliability − resolution + uncertainty", "AUC: final − base"]  # noqa: RUF001  # fmt: skip
    note = (
        "P(win | label) in per cent of turns, with 95 % intervals over seeds and games and the label's share in "
        "brackets. The Brier score reads the verdict as a forecast of 0, 1/2 or 1; lower is better. What moves is the "
        "mix of turns as well as the guidance: a policy that repeats itself less has fewer easy verdicts."
    )
    return ReportTable(head, rows, note, empty="No evaluation episodes with guidance are on the disk.")


def cross_table(found: Found) -> ReportTable:
    """Success of one policy under guides of several checkpoints, and what is published of it."""
    cells = found["cross_checkpoint"]["cells"]
    guides = sorted({cell["guide_step"] for cell in cells})
    policies = dict.fromkeys((cell["method"], cell["split"], cell["policy_step"]) for cell in cells)
    trends = {(t["method"], t["split"], t["policy_step"]): t for t in found["cross_checkpoint"]["trends"]}
    scores = {(c["method"], c["split"], c["policy_step"], c["guide_step"]): c for c in cells}
    rows = []
    for policy in policies:
        method, split, step = policy
        trend = trends.get(policy)
        rows.append([
            f"{title(found, method)}, step {step}" if method else f"step {step}", split,
            *(_cell(scores.get((*policy, guide))) for guide in guides),
            f"{change(trend)}, {trend['verdict']}" if trend else NONE,
        ])  # fmt: skip
    theirs = ", ".join(f"guide {row.guide_step}: {row.score} ({row.success:.0f} %)" for row in published.GUIDES)
    note = (
        f"Success in per cent of a fixed policy (row) whose guidance the checkpoint of another step writes (column); "
        f"the last column is the latest guide against the earliest, paired by seed and game. PUBLISHED, not comparable "
        f"({published.SOURCE}; {published.GUIDES_SETTING}; score, and success in brackets): {theirs}."
    )
    head = ["policy", "split", *(f"guide of step {guide}" for guide in guides), "latest − earliest"]  # noqa: RUF001
    return ReportTable(head, rows, note, empty="The cross-checkpoint evaluation was not run.")


def _cell(found: Mapping[str, Any] | None) -> str:
    """Success, and the mean score behind it where episodes are graded."""
    score = (found or {}).get("score")
    return with_interval(found) + (f"; score {with_interval(score)}" if score else "")


def _with_range(dial: Mapping[str, Any] | None, form: Callable[[float | None], str]) -> str:
    if dial is None:
        return NONE
    bare = form(dial["mean"])
    if dial["least"] == dial["most"]:
        return bare
    return f"{bare} [{form(dial['least'])}, {form(dial['most'])}]".replace(" %", "")


def _figure(figure: Mapping[str, Any]) -> str:
    return f"{number(figure['value'])} {interval(figure['ci95'], number)}" if figure["value"] is not None else NONE
