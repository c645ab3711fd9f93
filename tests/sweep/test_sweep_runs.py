"""How a sweep starts its runs, and what it counts as saved."""

import json

import pytest
from played_sweep import load

from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.identity import fingerprint
from sg_pipeline.runs.shared_steps import SHARED, read_shared, validation_file
from sg_pipeline.sweep import runs
from sg_pipeline.sweep.runs import Runner, make_run, work_of

OFF = {"aggregate.schedule.kind": "off"}
CONSTANT = {"aggregate.schedule.kind": "constant", "aggregate.schedule.value": 1.0}


def write_identity(reports, parameters) -> None:
    """Write what a run with these parameters leaves in its run.json."""
    own = {n: v for n, v in fingerprint(load())["parameters"].items() if not n.startswith("aggregate.schedule.")}
    own |= {name: value for name, value in parameters.items() if name not in ("run.name", "run.share")}
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "run.json").write_text(json.dumps({"parameters": own, "inputs": {}}))


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Return what was started, in place of starting it; each validation that is asked for is there afterwards."""
    calls = []

    def run_child(pipeline, parameters, *, decided, command_line, project, options=()):
        passed_on = {n: v for n, v in command_line.parameters.items() if not n.startswith(decided)}
        calls.append((pipeline, {**passed_on, **parameters}, command_line.env, list(options)))
        for option in options:
            after = int(option.rpartition("_")[2])
            path = validation_file(tmp_path / "data", parameters["run.name"], after, parameters["coevolve.steps"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"after": after, "success_rate": 0.5}))
        write_identity(tmp_path / "data/08_reporting" / parameters["run.name"], parameters)

    monkeypatch.setattr(runs, "run_child", run_child)
    return calls


def test_validate_runs_a_segment_once(started, tmp_path) -> None:
    given = {"train.beta": 0.0, "run.name": "mine", "sweep.steps": 20, "aggregate.schedule.peak": 0.3}
    runner = Runner(CommandLine(env="smoke", parameters=given), tmp_path, load())
    run, other = (
        make_run("sweep/trial-0000", schedule, seed=0, steps=20, validate_every=5) for schedule in (OFF, CONSTANT)
    )
    assert runner.validate(run, 10)["success_rate"] == 0.5
    assert runner.validate(run, 10)["after"] == 10
    ((pipeline, parameters, env, options),) = started
    assert (pipeline, env, options) == ("validation", "smoke", ["--to-outputs=validation.after_010"])
    assert parameters == {
        "train.beta": 0.0, "run.name": "sweep/trial-0000", "run.share": True, "run.processes": 1, "run.seed": 0,
        "coevolve.steps": 20, "coevolve.checkpoint_every": 5, "aggregate.schedule.kind": "off",
    }  # fmt: skip
    runner.validate(other, 10)  # does not take the outputs of another sweep; the run itself refuses then
    assert len(started) == 2


def test_is_finished_needs_the_files_and_the_same_parameters(started, tmp_path) -> None:
    given = load()
    runner = Runner(CommandLine(), tmp_path, given)
    run = make_run("sweep/off-seed1", OFF, seed=1, steps=20, validate_every=5)
    assert not runner.is_finished(run)
    runner.finish(run)
    assert [pipeline for pipeline, *_ in started] == ["coevolve", "validation"]
    reports = tmp_path / "data/08_reporting/sweep/off-seed1"
    (reports / "summary.json").write_text("{}")
    assert runner.is_finished(run)
    write_identity(reports, {**run.parameters, "train.learning_rate": 0.5})
    assert not runner.is_finished(run)


def test_work_of_counts_shared_steps_and_saved_seconds(tmp_path) -> None:
    reports = tmp_path / "08_reporting" / "sweep/trial-0003"
    (reports / "steps").mkdir(parents=True)
    for step in range(8):
        (reports / "steps" / f"step_{step:03d}.json").write_text('{"seconds": {"total": 6.0, "training": 2.0}}')
    assert work_of(tmp_path, "sweep/trial-0003", 10) == {
        "steps": 8, "shared": 0, "retrained": 0, "seconds": 48.0, "seconds_saved": 0.0
    }  # fmt: skip
    (reports / SHARED).write_text(json.dumps([{"donor": "sweep/trial-0000", "first": 0, "last": 6}]))
    (tmp_path / "06_models/sweep/trial-0003/checkpoints/step_004").mkdir(parents=True)
    assert [part["donor"] for part in read_shared(tmp_path, "sweep/trial-0003")] == ["sweep/trial-0000"]
    # Step 5 lies behind the last checkpoint that was taken over: it was trained again.
    assert work_of(tmp_path, "sweep/trial-0003", 10) == {
        "steps": 8, "shared": 6, "retrained": 1, "seconds": 14.0, "seconds_saved": 34.0
    }  # fmt: skip
