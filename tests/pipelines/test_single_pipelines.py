"""The pipelines on their own, in order, as a reader of the README would try them."""

import polars as pl
import pytest
from project_copy import SMALL

pytestmark = pytest.mark.slow

LAYERS = {
    "tasks": ("02", "panel.json"),
    "base_model": ("06", "base/policy.json"),
    "rollout": ("03", "single/trajectories.parquet"),
    "validate": ("03", "single/validated.parquet"),
    "aggregate": ("04", "single/rewards.parquet"),
    "train": ("06", "single/policy.json"),
}


def test_one_step_by_hand_is_the_first_step_of_the_main_job(project, finished):
    for pipeline, (layer, name) in LAYERS.items():
        project.run(pipeline, "byhand")
        assert (project.data(layer, "byhand") / name).is_file(), pipeline
    by_hand, main = (
        pl.read_parquet(project.data("03", run) / place / "trajectories.parquet")
        for run, place in (("byhand", "single"), (finished, "step_000"))
    )
    assert by_hand.equals(main)
    assert by_hand["group"].n_unique() == SMALL["rollout.tasks_per_step"]
    metrics = project.json("08", "byhand", "single/metrics.json")
    first = project.json("08", finished, "steps/step_000.json")
    assert {**metrics, "seconds": 0, "memory": 0} == {**first, "seconds": 0, "memory": 0}


def test_evaluation_and_report_are_made_again_on_their_own(project, finished):
    names = ("evaluation_base.json", "evaluation_final.json", "summary.json", "report.md")
    before = {name: (project.data("08", finished) / name).read_text() for name in names[:2]}
    for name in names:
        (project.data("08", finished) / name).unlink()
    project.run("evaluate", finished)
    assert {name: (project.data("08", finished) / name).read_text() for name in before} == before
    project.run("report", finished)
    assert all((project.data("08", finished) / name).is_file() for name in names)


def test_a_pipeline_without_what_comes_before_says_so(project):
    assert "nothing/base; run the pipeline that writes it first" in project.refuse("rollout", "nothing")
    assert "trajectories.parquet does not exist; run the pipeline" in project.refuse("validate", "nothing")
