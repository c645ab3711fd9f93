"""Whole runs, small ones, on the real engine; and the pipelines on their own, as a reader of the README tries them."""

import re
from typing import Any

import polars as pl
import pytest
from project_copy import REPOSITORY, SMALL, written

from sg_pipeline.runs.lock import RunLock
from sg_pipeline.runs.outputs import LOCK

pytestmark = pytest.mark.slow

STEPS = SMALL["coevolve.steps"]
LAYERS = {
    "tasks": ("02", "panel.json"),
    "base_model": ("06", "base/policy.json"),
    "rollout": ("03", "single/trajectories.parquet"),
    "validate": ("03", "single/validated.parquet"),
    "aggregate": ("04", "single/rewards.parquet"),
    "train": ("06", "single/policy.json"),
}
"""A pipeline of one step -> (layer, file) of what it makes."""


def test_the_main_job_leaves_what_the_report_promises(project, finished):
    summary = project.json("08", finished, "summary.json")
    assert (summary["run"], summary["environment"], summary["steps"]) == (finished, "alfworld", STEPS)
    assert summary["fingerprint"] == project.json("08", finished, "run.json")["fingerprint"]
    assert summary["panel_sha256"] == project.json("02", finished, "panel.json")["sha256"]
    for policy in ("base", "final"):
        for mode in (summary[policy], summary[policy]["without_guidance"]):
            assert {mode[split]["episodes"] for split in ("valid_seen", "valid_unseen")} == {SMALL["evaluate.games"]}
    for name in ("learning_curve.png", "report.md", "report.html"):
        assert (project.data("08", finished) / name).stat().st_size > 1000
    # activation at 0, full trust from 0.25, annealing from 0.875 on: of 4 steps the first lies on the ramp
    assert summary["lambda"] == pytest.approx([0.0, 1.0, 1.0, 1.0])
    for step, phase in enumerate(["phase_2_activation", *["phase_3_full"] * 3]):
        metrics = project.json("08", finished, f"steps/step_{step:03d}.json")
        assert (metrics["step"], metrics["phase"]) == (step, phase)
        assert {"success_rate", "r_env", "r_sg", "training", "seconds", "memory", "rollout"} <= set(metrics)
        files = {path.name for path in (project.data("03", finished) / f"step_{step:03d}").iterdir()}
        assert files == {"trajectories.parquet", "rollout_report.json", "quarantined.parquet"}


def test_the_policy_learns_and_transformers_reads_it(project, finished):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sg_pipeline.policies.checkpoint import load_policy

    assert project.weights(finished, "base") != project.weights(finished)
    folder = project.data("06", finished)
    assert AutoModelForCausalLM.from_pretrained(folder / "final").config.model_type == "qwen3"
    assert AutoTokenizer.from_pretrained(folder / "final").chat_template
    assert load_policy(folder / "final").step == STEPS
    assert [path.name for path in sorted((folder / "checkpoints").iterdir())] == ["step_001"]
    assert load_policy(folder / "checkpoints" / "step_001").step == 2


def test_the_same_seed_gives_the_same_bits_whatever_the_workers(project, finished):
    project.run("coevolve", "again", {"environment.pool.workers": 2})
    assert project.weights("again") == project.weights(finished)
    one, other = (project.json("08", run, "summary.json") for run in ("again", finished))
    assert _results(one) == _results(other)


def test_another_seed_gives_another_policy(project, finished):
    project.run("coevolve", "seed1", {"run.seed": 1})
    assert project.weights("seed1", "base") == project.weights(finished, "base")
    assert project.weights("seed1") != project.weights(finished)


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


def test_a_pipeline_without_what_comes_before_says_so(project):
    assert "nothing/panel.json does not exist; run the pipeline" in project.refuse("rollout", "nothing")
    assert "trajectories.parquet does not exist; run the pipeline" in project.refuse("validate", "nothing")


def _results(summary):
    """What must repeat: everything but names and the clock."""
    curve = {key: value for key, value in summary["curve"].items() if not key.startswith(("seconds.", "memory."))}
    return {**summary, "curve": curve, "run": None, "wall_seconds": None, "seconds": None}


def test_a_run_is_sent_to_a_tracker_and_is_the_same_run(project, finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    project.run("coevolve", "tracked", {"tracking.to": "tensorboard"})
    read = EventAccumulator(str(project.data("08", "tracked") / "tensorboard"))
    read.Reload()
    assert [scalar.step for scalar in read.Scalars("trust/lambda")] == [*range(STEPS)]
    assert [scalar.step for scalar in read.Scalars("eval/with_guidance/valid_seen/success_rate")] == [0, STEPS]
    assert [image.step for image in read.Images("learning_curve")] == [STEPS]
    assert project.weights("tracked") == project.weights(finished)


def test_a_run_under_way_is_reported_beside_it(project, finished):
    name = project.copied(finished, "under_way")
    reports = project.data("08", name)
    for file in ("steps/step_002.json", "steps/step_003.json", "evaluation_final.json", "report.html"):
        (reports / file).unlink()
    there = written(project, name)
    lock = RunLock()
    lock.take(reports / LOCK, name)  # as the process that works on it
    try:
        project.run("live", name, {"rollout.temperature": 0.5})  # of other parameters no word: none is read
    finally:
        lock.release()
    page = (reports / "live.html").read_text(encoding="utf-8")
    assert f"2 of {STEPS} steps" in page
    assert (reports / "live.png").stat().st_size > 1000
    made = {f"08_reporting/{name}/live.{kind}" for kind in ("html", "png")}
    assert {file: time for file, time in written(project, name).items() if file not in made} == there
    assert "run 'nothing' has finished no step" in project.refuse("live", "nothing")


def test_the_notebook_page_loads_a_run_by_the_catalog(project, finished, monkeypatch, capsys):
    (code,) = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "docs/notebook.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert code.count('"smoke"') == code.count("step_006") == 1
    monkeypatch.chdir(project.root)
    found: dict[str, Any] = {}
    exec(code.replace('"smoke"', f'"{finished}"').replace("step_006", "step_002"), found)
    assert len(found["plt"].gca().lines) == 2
    found["plt"].close()
    assert found["turns"]["step"].unique().to_list() == [2]
    assert found["policy"].step == STEPS
    assert "r_sg" in capsys.readouterr().out
