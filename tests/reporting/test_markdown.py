import re

import pytest
from reported_run import evaluation, metrics, played, summary

from sg_pipeline.evaluation.metrics import evaluate_table
from sg_pipeline.evaluation.parts import with_parts
from sg_pipeline.reporting.markdown import report_markdown
from sg_pipeline.reporting.page.run import run_sections
from sg_pipeline.reporting.text import NONE, duration, percent, points
from sg_pipeline.reporting.transcripts import pick_trajectories


@pytest.fixture(scope="module")
def report() -> str:
    return report_markdown(summary(), metrics(), pick_trajectories({"Final evaluation": played(24, step=8)}))


def row(report: str, start: str) -> list[str]:
    line = next(line for line in report.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_figures_of_the_summary(report):
    found = summary()
    cells = row(report, "valid_seen, with guidance")
    for column, part in ((1, "base"), (2, "final")):
        score = found[part]["valid_seen"]
        low, high = score["ci95"]
        assert cells[column] == f"{100 * score['success_rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    change = found["difference"]["valid_seen"]
    low, high = change["ci95"]
    assert cells[3] == f"+35.0 [{100 * low:+.1f}, {100 * high:+.1f}]"
    assert cells[4:] == ["14 / 0", "3.0 → 3.0", "0.0 % → 0.0 %", "40"]
    assert row(report, "valid_seen, without guidance")[1].startswith("30.0 %")
    for text in ("# Run `demo`", "f00d", "valid_seen sha256: `abc`", "2 min 5 s", "trajectories quarantined: 1"):
        assert text in report
    assert "(learning_curve.png)" in report


def test_says_plainly_what_is_noise(report):
    assert "**valid_seen**: the final policy wins 60.0 % of 40 episodes, the base 25.0 %" in report
    assert "which is **outside the noise**: an improvement." in report
    same = report_markdown(summary(final=evaluation(11, 12)), metrics())
    assert "which is **within the noise**: these games do not show a difference." in same
    assert "outside the noise" not in same
    worse = report_markdown(summary(base=evaluation(30, 12), final=evaluation(11, 12)), metrics())
    assert "which is **outside the noise**: a deterioration." in worse


def test_dials_by_phase(report):
    assert row(report, "1 warmup") == [
        "1 warmup", "2", "0.00", "26.6 %", "0.10", "50.0 %", "25.0 %", "25.0 %", "0.38", "-0.50", "12.5 %", NONE
    ]  # fmt: skip
    assert row(report, "3 full")[1:3] == ["2", "0.50"]


def test_calibration_and_time(report):
    assert row(report, "valid_seen, final")[1:3] == ["60.0 %", "60.0 % (33.3 %)"]
    assert row(report, "sampling")[1:] == ["16.0 s", "2.00", "50.0 %"]


def test_parts_of_the_score_only_where_there_are_any(report):
    assert "part of the score" not in report
    judged = with_parts(played(24, step=8), [(game, 0, (("r_type", 0.5),) if game < 30 else ()) for game in range(40)])
    found = summary(final={"with_guidance": evaluate_table(judged, 0)})
    cells = row(report_markdown(found, metrics()), "valid_seen, with guidance: r_type")
    assert cells[1] == NONE
    assert cells[2].startswith("50.0 % [")
    assert cells[3] == "0 → 30"
    assert "parts" in [section.anchor for section in run_sections(found, metrics(), b"<svg />")]
    assert "parts" not in [section.anchor for section in run_sections(summary(), metrics(), b"<svg />")]


def test_every_table_is_rectangular(report):
    for block in re.findall(r"(?:^\|.*\n)+", report, re.M):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_transcript_turn_by_turn(report):
    win = report.split("### Final evaluation: won in 3 turns")[1].split("###")[0]
    assert "valid_seen, pick_and_place_simple, `valid_seen-0`" in win
    assert win.split("```text\n")[1].split("\n```")[0].splitlines() == [
        "  0  You arrive at cabinet 0.",
        "     = find mug 0",
        "     > go to cabinet 1 [valid, reward 0]",
        "  1  You arrive at cabinet 1.",
        "     + find mug 1",
        "     > go to cabinet 2 [valid, reward 0]",
        "  2  You arrive at cabinet 2.",
        "     - find mug 2",
        "     > go to cabinet 3 [valid, reward 1]",
    ]
    assert "### Final evaluation: lost, truncated after 3 turns" in report


def test_undefined_figures_are_dashes():
    steps = [{"step": 0, "phase": "phase_1_warmup", "lambda": None, "training": None, "seconds": None}]
    report = report_markdown(summary(metrics=steps, base={}, final={}, wall_seconds=None, panel_sha256=None), steps)
    assert row(report, "1 warmup")[1:] == ["1", *[NONE] * 10]
    assert "None" not in report.replace("`None`", "")
    assert (percent(None), points(None), duration(None)) == (NONE, NONE, NONE)
    assert duration(59.96) == "1 min 0 s"


def test_same_report_twice(report):
    assert report_markdown(summary(), metrics(), pick_trajectories({"Final evaluation": played(24, step=8)})) == report
