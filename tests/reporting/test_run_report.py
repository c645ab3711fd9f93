import dataclasses
import re

import polars as pl
import pytest
from played_episodes import N, P, Z, episode
from reported_run import evaluation, metrics, played, summary

from sg_pipeline.evaluation.metrics import evaluate_table
from sg_pipeline.reporting.run_report import outcome, pick_trajectories, report_markdown, run_sections, transcript
from sg_pipeline.reporting.text import NONE
from sg_pipeline.trajectories.frame import to_frame

PNG = b"\x89PNG\r\n\x1a\n..."


@pytest.fixture(scope="module")
def report() -> str:
    return report_markdown(summary(), metrics(), pick_trajectories({"Final evaluation": played(24, step=8)}))


def row(report: str, start: str) -> list[str]:
    line = next(line for line in report.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_report_comparison_shows_the_values_of_the_summary(report):
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
    for block in re.findall(r"(?:^\|.*\n)+", report, re.M):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_report_says_why_trust_was_what_it_was():
    assert "why λ" not in report_markdown(summary(), metrics())
    earned = [{**step, "trust_reason": f"reason {step['step']}"} for step in metrics()]
    text = report_markdown(summary(), earned)
    assert "## Trust: why λ is what it is" in text
    assert row(text, "0") == ["0", "0.00", "reason 0"]


def test_report_verdict_distinguishes_noise_improvement_and_deterioration(report):
    assert "**valid_seen**: the final policy solves 60.0 % of 40 episodes, the base 25.0 %" in report
    assert "which is **outside the noise**: an improvement." in report
    same = report_markdown(summary(final=evaluation(11, 12)), metrics())
    assert "which is **within the noise**: these games do not show a difference." in same
    assert "outside the noise" not in same
    few = report_markdown(summary(base=evaluation(10, 12), final=evaluation(15, 12)), metrics())
    assert "but only 5 games came out differently, which chance alone does in 6.2 % of cases (sign test)" in few
    worse = report_markdown(summary(base=evaluation(30, 12), final=evaluation(11, 12)), metrics())
    assert "which is **outside the noise**: a deterioration." in worse


def test_report_dials_are_means_per_phase(report):
    assert row(report, "1 warmup") == [
        "1 warmup", "2", "0.00", "26.6 %", "0.10", "50.0 %", "25.0 %", "25.0 %", "0.38", "-0.50", NONE, "12.5 %", NONE
    ]  # fmt: skip
    assert row(report, "3 full")[1:3] == ["2", "0.50"]


def test_report_calibration_and_time_by_hand(report):
    assert row(report, "valid_seen, final")[1:3] == ["60.0 %", "60.0 % (33.3 %)"]
    assert row(report, "sampling")[1:] == ["16.0 s", "2.00", "50.0 %"]


def test_report_score_parts_are_shown_only_where_reported(report):
    assert "part of the score" not in report
    table = played(24, step=8)
    parts = pl.Series("parts", [[{"name": "r_type", "value": 0.5}] if game < 30 else [] for game in table["group"]])
    found = summary(final={"with_guidance": evaluate_table(table.with_columns(parts), 0)})
    cells = row(report_markdown(found, metrics()), "valid_seen, with guidance: r_type")
    assert cells[1] == NONE
    assert cells[2].startswith("50.0 % [")
    assert cells[3] == "0 → 30"
    assert "parts" in [section.anchor for section in run_sections(found, metrics(), PNG)]
    assert "parts" not in [section.anchor for section in run_sections(summary(), metrics(), PNG)]


def test_report_transcript_shows_every_turn(report):
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


def test_report_undefined_values_are_dashes():
    steps = [{"step": 0, "phase": "phase_1_warmup", "lambda": None, "training": None, "seconds": None}]
    found = summary(metrics=steps, base={}, final={}, wall_seconds=None, panel_sha256=None)
    report = report_markdown(found, steps)
    assert row(report, "1 warmup")[1:] == ["1", *[NONE] * 11]
    assert "None" not in report.replace("`None`", "")
    anchors = [section.anchor for section in run_sections(found, steps, PNG)]
    assert anchors == ["result", "dials", "task-types", "time", "identity"]


def test_run_sections_have_the_tables_of_the_report():
    found = summary()
    html = {section.anchor: section.html for section in run_sections(found, metrics(), PNG)}
    assert list(html) == ["result", "dials", "calibration", "task-types", "time", "identity"]
    assert "25.0 % [14.2, 40.2]" in html["result"]
    assert "data:image/png;base64," in html["result"]
    assert '<th scope="row">1 warmup</th><td class="figure">2</td><td class="figure">0.00</td>' in html["dials"]
    assert "reward hacking" in html["dials"]
    assert '<th scope="row">sampling</th><td class="figure">16.0 s</td>' in html["time"]
    assert "<code>f00d</code>" in html["identity"]


def test_pick_trajectories_takes_the_median_length_of_each_outcome():
    lengths = {0: 9, 1: 2, 2: 4, 3: 4, 4: 3}  # wins, in order of length 2 3 4 4 9: the median has 4, the first is 2
    table = to_frame(
        [episode(group, 0, (P,) * turns, won=True) for group, turns in lengths.items()]
        + [episode(2, 1, (N,) * 6), episode(1, 1, (N,) * 8), episode(0, 1, (N,) * 7), episode(4, 1, (N,) * 5)]
    )
    picked = pick_trajectories({"Step 0": table, "empty": table.head(0), "losses": table.filter(~table["won"])})
    assert [(title, t.group, t.item, t.won) for title, t in picked] == [
        ("Step 0", 2, 0, True), ("Step 0", 2, 1, False), ("losses", 2, 1, False)
    ]  # fmt: skip
    assert picked == pick_trajectories({"Step 0": table.reverse(), "losses": table.filter(~table["won"]).reverse()})


def test_pick_trajectories_equal_numbers_in_two_splits_are_kept_apart():
    seen, unseen = (episode(0, 0, (Z, P), won=True, split=split) for split in ("valid_seen", "valid_unseen"))
    assert pick_trajectories({"x": to_frame([unseen, seen])}) == [("x", seen)]


def test_transcript_marks_unparsed_and_invalid_turns():
    odd = episode(0, 0, (Z, N), unparsed=(0,), invalid=(1,))
    first = dataclasses.replace(odd.turns[0], action_parsed=False, observation="A\n\n  B " + "long " * 40)
    lines = transcript(dataclasses.replace(odd, turns=(first, odd.turns[1]))).splitlines()
    assert len(transcript(episode(0, 0, (None,))).splitlines()) == 2, "no line for guidance"
    assert lines[0] == "  0  A"
    assert lines[1].startswith("     B long long")
    assert lines[2].startswith("     long")
    assert max(map(len, lines)) <= 110
    assert "     ? (no guidance found)" in lines
    assert "     > go to cabinet 1 [no action tag, valid, reward 0]" in lines
    assert lines[-2:] == ["     - find mug 1", "     > go to cabinet 2 [invalid, reward 0]"]


def test_outcome_names_result_and_length():
    assert outcome(episode(0, 0, (Z,), won=True)) == "won in 1 turn"
    assert outcome(episode(0, 0, (Z, Z))) == "lost, truncated after 2 turns"
    assert outcome(dataclasses.replace(episode(0, 0, (Z, Z)), truncated=False)) == "lost after 2 turns"
