"""What is shown of a study: tables, figures, the document, and the published figures apart from ours."""

import json
import re
import struct
from dataclasses import replace

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from study_runs import TITLES, evaluation, graded, record, records, write_run

from sg_pipeline.errors import DataError
from sg_pipeline.study import figures, published
from sg_pipeline.study.document import study_markdown, study_parts, study_sections
from sg_pipeline.study.figures import FIGURES, draw_figures
from sg_pipeline.study.records import read_record
from sg_pipeline.study.results import compare_runs, headline
from sg_pipeline.study.tables import paper_layout, schedule_table

CROSS = [
    {"method": "grpo_sg_gr", "seed": seed, "policy_step": policy, "guide_step": guide, "split": split, "score": score}
    for seed in range(3)
    for policy in (4, 8)
    for guide in (0, 4, 8)
    for split, score in evaluation(seed, 10 + 2 * guide)["with_guidance"].items()
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    guided = []
    for seed in range(3):
        write_run(data, f"run{seed}", seed)
        guided.append(read_record(data, "grpo_sg_gr", seed, f"run{seed}"))
    titles = {**TITLES, "dapo": "DAPO"}
    runs = records({"grpo": 16, "grpo_sg": 28, "immediate": 20})
    return compare_runs([*runs, *guided], titles, CROSS)


def cells(table, start: str) -> list[str]:
    return next(list(row) for row in table.rows if row[0] == start)


def test_same_runs_same_study_and_strict_json(found):
    json.dumps(found, allow_nan=False)
    again = compare_runs(records({"grpo": 16, "grpo_sg": 28}), TITLES, CROSS)
    turned = compare_runs(list(reversed(records({"grpo": 16, "grpo_sg": 28}))), TITLES, list(reversed(CROSS)))
    assert json.dumps(again) == json.dumps(turned)


def test_no_run_is_an_error():
    with pytest.raises(DataError, match="the study has no finished run"):
        compare_runs([], TITLES)


def test_ours_and_published_stand_apart(found):
    table = paper_layout(found)
    ours = [name for name in table.head if name.startswith("OURS")]
    theirs = [name for name in table.head if name.startswith("PUBLISHED")]
    assert table.head == ["method", *ours, *theirs]
    for name in ours:
        for part in (
            "policy of 1.04 M parameters",
            "generated games, panel demo abcdefabcdef",
            "48 games a split",
            "3 seeds",
        ):
            assert part in name
        assert "Qwen" not in name
    assert [re.search(r"Qwen[\w.-]+", name)[0] for name in theirs] == ["Qwen3-1.7B", "Qwen3-4B", "Qwen2.5-7B-Instruct"]
    assert cells(table, "GRPO")[-3:] == ["72.7", "86.7", "83.6"]
    assert cells(table, "GRPO w/ SG & GR")[1].startswith("62.5 [")
    assert cells(table, "DAPO")[1:] == ["not run", "not run", "–", "–", "–"]  # noqa: RUF001


def test_schedules_ours_beside_published(found):
    table = schedule_table(found)
    assert [row[0] for row in table.rows] == [row.method for row in published.SCHEDULES]
    assert cells(table, "immediate full reward")[-1] == "39.7"
    assert cells(table, "entry at step 15")[1:3] == ["not run", "not run"]
    # 30 wins with every seed against 20, 21 and 22.
    assert cells(table, "immediate full reward")[3].startswith("+18.8 [")


def test_published_figures_are_the_papers():
    full = {row.model: row.figures for row in published.MAIN if row.method == "GRPO w/ SG & GR"}
    assert full["Qwen3-1.7B"] == {"ALFWorld success": 89.8, "ScienceWorld score": 28.0, "WebShop score": 79.4}
    assert full["Qwen3-4B"] == {"ALFWorld success": 96.9, "ScienceWorld score": 61.6, "WebShop score": 87.8}
    assert full["Qwen2.5-7B-Instruct"] == {"ALFWorld success": 95.3, "ScienceWorld score": 72.6, "WebShop score": 90.1}
    assert [row.success for row in published.SCHEDULES] == [32.0, 49.2, 39.7, 49.4, 53.8, 53.2, 56.3]
    assert [(row.guide_step, row.score, row.success) for row in published.GUIDES] == [
        (10, 39.8, 18.0), (40, 51.2, 25.0), (80, 60.5, 27.0),
    ]  # fmt: skip


def test_guides_of_other_checkpoints(found):
    trend = found["cross_checkpoint"]["trends"][0]
    assert (trend["policy_step"], trend["earliest"], trend["latest"]) == (4, 0, 8)
    assert trend["value"] == pytest.approx(16 / 48)
    assert len(found["cross_checkpoint"]["cells"]) == 12


def test_document_holds_every_table_and_every_answer(found):
    text = study_markdown(found, {name: f"{name}.png" for name in FIGURES})
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block
    for answer in found["questions"]:
        assert f"### {answer['question']}" in text
    assert "Not run: DAPO." in text
    assert "None" not in text
    assert "nan" not in text
    for name in FIGURES:
        assert f"({name}.png)" in text
    assert text.index("the dials") < text.index("## Success")


def test_sections_of_a_page(found):
    png = b"\x89PNG\r\n\x1a\n"
    sections = study_sections(found, dict.fromkeys(FIGURES, png))
    anchors = [section.anchor for section in sections]
    assert len(set(anchors)) == len(anchors)
    assert anchors[:3] == ["setting", "answers", "dials"]
    text = "".join(section.html for section in sections)
    assert text.count("<figure>") == len(FIGURES)
    assert "GRPO w/ SG &amp; GR" in text
    assert {part.anchor for part in study_parts(found) if part.tables} <= set(anchors)


def test_the_comparison_shows_scores_where_episodes_are_graded(found, monkeypatch):
    def drawn(study):
        figure = Figure()
        monkeypatch.setattr(figures, "render", lambda size, heading, draw: draw(figure))
        figures.comparison_figure(study)
        return {text.get_text() for text in figure.legends[0].texts}, figure.axes[0]

    plain, ax = drawn(found)
    assert "mean score" not in plain
    assert "score" not in ax.get_xlabel()
    runs = [replace(record("grpo_sg", seed, 28), base=graded(seed, 16), final=graded(seed, 28)) for seed in range(3)]
    graded_study = compare_runs(runs, TITLES)
    labels, ax = drawn(graded_study)
    assert labels == plain | {"mean score", "base, mean score"}
    assert ax.get_xlabel().startswith("success and mean score")
    diamond = next(line for line in ax.lines if line.get_marker() == "D")
    score = graded_study["scores"]["grpo_sg"]["with_guidance"]["valid_seen"]["final"]["score"]["value"]
    assert list(diamond.get_xdata()) == [pytest.approx(100 * score)]
    assert score == pytest.approx((28 + 20 / 2) / 48)


def test_figures_are_the_same_bytes_whatever_the_users_settings(found):
    once = draw_figures(found)
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30}):
        assert draw_figures(json.loads(json.dumps(found))) == once
    for png in once.values():
        width, height = struct.unpack(">II", png[16:24])
        assert min(width, height) > 200
        assert b"Software" not in png
    assert set(once) == set(FIGURES)


def test_a_study_of_one_method_is_drawn_too():
    alone = compare_runs([record("grpo", 0, 20, guided=False)], {"grpo": "GRPO"})
    assert set(draw_figures(alone)) == set(FIGURES) - {"cross_checkpoint"}
    text = study_markdown(alone, {})
    assert "No run had guidance." in text
    assert "The cross-checkpoint evaluation was not run." in text


def test_headline_is_small(found):
    mean = found["scores"]["grpo_sg"]["with_guidance"]["valid_seen"]["final"]["mean"]
    figures = headline(found)["grpo_sg"]["valid_seen"]
    assert figures["success"] == pytest.approx(29 / 48)
    assert [figures["low"], figures["high"]] == mean["ci95"]
    assert figures["gain"] == pytest.approx(13 / 48)
