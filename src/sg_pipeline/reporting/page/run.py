"""The sections of a single run's page, from the same figures as its report.md."""

from collections.abc import Mapping, Sequence
from typing import Any

from sg_pipeline.reporting.page.elements import Section, bullets, figure_html, paragraph, report_table
from sg_pipeline.reporting.run_tables import (
    calibration,
    comparison,
    dials,
    identity,
    parts,
    task_types,
    times,
    verdicts,
)


def run_sections(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], curve_png: bytes) -> list[Section]:
    """Say what a run came to.

    The dials stand first among the details: reward hacking shows there before it shows in the success rate.

    Args:
        summary: of `summary.build_summary`.
        metrics: one mapping per step, as given to `build_summary`.
        curve_png: of `figures.learning_curve`.

    Returns:
        Result, parts of the score (where there are any), dials by phase, calibration (where guidance was evaluated), by
        task type, time, what was run.
    """
    curve = figure_html(
        curve_png,
        "Success, trust λ, guidance labels and training over the co-evolution steps; evaluations with 95 % intervals.",
        alt="Learning curves: success rate, trust, shares of the guidance labels, reward-hacking dials and training",
    )
    judged, graded = calibration(summary), parts(summary)
    return [
        Section(
            "result", "Result", "\n".join([paragraph(*verdicts(summary), kind="verdict"),
                                           report_table(comparison(summary)), curve])
        ),
        *([Section("parts", "Parts of the score", report_table(graded))] if graded.rows else []),
        Section("dials", "Guidance: dials by phase", report_table(dials(metrics))),
        *([Section("calibration", "Guidance: calibration", report_table(judged))] if judged.rows else []),
        Section("task-types", "By task type", report_table(task_types(summary))),
        Section("time", "Time", report_table(times(summary))),
        Section("identity", "What was run", bullets(identity(summary))),
    ]  # fmt: skip
