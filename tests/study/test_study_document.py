"""Tables, figures and the document of a study, with the published values apart from ours."""

import json
import re
from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from study_runs import TITLES, evaluation, graded, record, records, write_run

from sg_pipeline.errors import DataError
from sg_pipeline.study.document import study_markdown, study_parts, study_sections
from sg_pipeline.study.figures import FIGURES, comparison_figure, draw_figures
from sg_pipeline.study.records import read_record
from sg_pipeline.study.results import compare_runs, curve_rows, headline
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


@pytest.fixture(scope="module")
def graded_study():
    runs = [replace(record("grpo_sg", seed, 28), base=graded(seed, 16), final=graded(seed, 28)) for seed in range(3)]
    runs += [replace(record("grpo", seed, 16), base=graded(seed, 16), final=graded(seed, 16)) for seed in range(3)]
    return compare_runs(runs, TITLES)


def cells(table, start: str) -> list[str]:
    return next(list(row) for row in table.rows if row[0] == start)


def test_same_runs_make_the_same_study_as_strict_json(found):
    json.dumps(found, allow_nan=False)
    again = compare_runs(records({"grpo": 16, "grpo_sg": 28}), TITLES, CROSS)
    turned = compare_runs(list(reversed(records({"grpo": 16, "grpo_sg": 28}))), TITLES, list(reversed(CROSS)))
    assert json.dumps(again) == json.dumps(turned)
    with pytest.raises(DataError, match="the study has no finished run"):
        compare_runs([], TITLES)


def test_paper_layout_keeps_ours_and_published_apart(found):
    table = paper_layout(found)
    ours = [name for name in table.head if name.startswith("OURS")]
    theirs = [name for name in table.head if name.startswith("PUBLISHED")]
    assert table.head == ["method", *ours, *theirs]
    setting = "policy of 1.04 M parameters; generated games, panel demo abcdefabcdef; 48 games a split; 3 seeds"
    assert all(setting in name and "Qwen" not in name for name in ours)
    assert [re.search(r"Qwen[\w.-]+", name)[0] for name in theirs] == ["Qwen3-1.7B", "Qwen3-4B", "Qwen2.5-7B-Instruct"]
    assert cells(table, "GRPO")[-3:] == ["72.7", "86.7", "83.6"]
    assert cells(table, "GRPO w/ SG & GR")[1].startswith("62.5 [")
    assert cells(table, "DAPO")[1:] == ["not run", "not run", "–", "–", "–"]  # noqa: RUF001


def test_schedule_table_has_ours_and_published(found):
    table = schedule_table(found)
    assert cells(table, "immediate")[-1] == "39.7"
    assert cells(table, "entry_15")[1:3] == ["not run", "not run"]
    # 30 wins with every seed against 20, 21 and 22.
    assert cells(table, "immediate")[3].startswith("+18.8 [")


def test_cross_checkpoint_compares_the_latest_guide_with_the_earliest(found):
    trend = found["cross_checkpoint"]["trends"][0]
    assert (trend["policy_step"], trend["earliest"], trend["latest"]) == (4, 0, 8)
    assert trend["value"] == pytest.approx(16 / 48)
    assert len(found["cross_checkpoint"]["cells"]) == 12


def test_markdown_has_every_table_answer_and_figure(found):
    text = study_markdown(found, {name: f"{name}.png" for name in FIGURES})
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block
    for answer in found["questions"]:
        assert f"| {answer['question']} |  |  | {answer['answer']} |" in text
    assert "Not run: DAPO." in text
    assert "None" not in text
    assert "nan" not in text
    assert all(f"({name}.png)" in text for name in FIGURES)
    assert text.index("## Answers") < text.index("the dials") < text.index("## Success")


def test_page_has_the_same_parts(found):
    sections = study_sections(found, draw_figures(json.loads(json.dumps(found))))
    assert [section.anchor for section in sections] == [part.anchor for part in study_parts(found)]
    assert "".join(section.html for section in sections).count("<figure>") == len(FIGURES)


def test_graded_study_shows_scores(found, graded_study):
    def drawn(study):
        figure = Figure()
        comparison_figure(figure, study)
        return {text.get_text() for text in figure.legends[0].texts}, figure.axes[0]

    plain, _ = drawn(found)
    labels, ax = drawn(graded_study)
    assert labels - plain == {"mean score", "base, mean score"}
    score = graded_study["scores"]["grpo_sg"]["with_guidance"]["valid_seen"]["final"]["score"]["value"]
    diamond = next(line for line in ax.lines if line.get_marker() == "D" and line.get_xdata()[0] > 75)
    assert list(diamond.get_xdata()) == [pytest.approx(100 * score)]
    assert score == pytest.approx((28 + 20 / 2) / 48)
    text = study_markdown(graded_study, {})
    for shown in ("valid_seen: mean score", "points of score", "valid_seen, mean score"):
        assert shown in text
        assert shown not in study_markdown(found, {})


def test_study_of_one_method_is_shown_too():
    alone = compare_runs([record("grpo", 0, 20, guided=False)], {"grpo": "GRPO"})
    assert set(draw_figures(alone)) == set(FIGURES) - {"cross_checkpoint"}
    text = study_markdown(alone, {})
    assert "No run had guidance." in text
    assert "The cross-checkpoint evaluation was not run." in text


def test_headline_and_curves_are_what_dvc_reads(found):
    mean = found["scores"]["grpo_sg"]["with_guidance"]["valid_seen"]["final"]["mean"]
    row = headline(found)["grpo_sg"]["valid_seen"]
    assert row["success"] == pytest.approx(29 / 48)
    assert [row["low"], row["high"]] == mean["ci95"]
    assert row["gain"] == pytest.approx(13 / 48)
    rows = curve_rows(found)
    assert rows[0].keys() == {"step", "grpo", "grpo_sg", "grpo_sg_gr", "immediate"}
    assert rows[7].keys() == {"step", "grpo", "grpo_sg", "immediate"}  # the others have 4 steps
