"""The sweep as its user meets it: workers that are killed, steps that are shared, a winner that can be run."""

import os
import signal
import time

import pytest
import yaml
from project_copy import ProjectCopy

pytestmark = pytest.mark.slow

LITTLE = {
    "presets": ["off"], "n_trials": 3, "startup": 3, "steps": 2, "validate_every": 1, "candidates": 1,
    "space": {"activation": {"low": 0.4, "high": 0.9}, "ramp": 0.0, "annealing": 0.0, "peak": 1.0, "shape": "linear"},
    "confirm_seeds": [1],
}  # fmt: skip
GIVEN = {"evaluate.plain": "false", "validation.games": 2}


@pytest.fixture(scope="module")
def swept(tmp_path_factory, base_policy) -> ProjectCopy:
    """Return a project with a sweep whose first worker was killed in the middle of a trial."""
    project = ProjectCopy(tmp_path_factory.mktemp("sweep"), base_policy)
    project.configure("sweep", **LITTLE)
    arguments = project.arguments("sweep", "unused", GIVEN)
    worker = project.process(*arguments)
    first = project.root / "data/08_reporting/smoke-sweep/trial-0000/validation/after_001.json"
    ended = time.monotonic() + 240
    while not first.exists():
        assert worker.poll() is None, worker.stdout.read()
        assert time.monotonic() < ended
        time.sleep(0.1)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    project.validated = first.stat().st_mtime_ns
    result = project.kedro(*arguments)
    assert result.exit_code == 0, result.output
    return project


def test_trial_of_a_killed_worker_is_taken_over_with_number_and_checkpoint(swept) -> None:
    found = swept.json("08", "smoke-sweep", "sweep.json")
    trials = found["search"]["trials"]
    assert [trial["number"] for trial in trials] == [0, 1, 2]
    assert trials[0]["state"] == "complete"
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}
    again = swept.data("08", "smoke-sweep/trial-0000") / "validation/after_001.json"
    assert again.stat().st_mtime_ns == swept.validated
    log = (swept.data("08", "smoke-sweep/trial-0000") / "log.txt").read_text()
    assert log.count("step 1/2") == 1


def test_steps_before_the_schedules_part_are_made_once(swept) -> None:
    search = swept.json("08", "smoke-sweep", "sweep.json")["search"]
    assert search["saved"]["shared"] >= 1
    assert search["saved"]["seconds_saved"] > 0
    first, second = (
        (swept.data("03", f"smoke-sweep/trial-000{number}") / "step_000/trajectories.parquet").read_bytes()
        for number in (0, 1)
    )
    assert first == second


def test_trial_never_plays_the_evaluation_panel(swept) -> None:
    assert not list(swept.data("07", "smoke-sweep/trial-0001").glob("*"))
    panel = swept.json("02", "smoke-sweep/trial-0001", "validation_panel.json")
    score = swept.json("08", "smoke-sweep/trial-0001", "validation/after_001.json")
    assert score["panel_sha256"] == panel["sha256"]
    assert score["games"] == 2


def test_winner_is_confirmed_and_written_as_a_method(swept) -> None:
    found = swept.json("08", "smoke-sweep", "sweep.json")
    assert len(found["confirmation"]["contenders"]) == 2
    assert found["verdict"] in (swept.data("08", "smoke-sweep") / "sweep.md").read_text()
    best = yaml.safe_load((swept.data("08", "smoke-sweep") / "best.yml").read_text())
    assert best["aggregate"]["schedule"]["kind"] == found["winner"]["parameters"]["aggregate.schedule.kind"]
    assert (swept.data("08", "smoke-sweep") / "figures/history.png").exists()


def test_sweep_with_other_settings_is_refused_before_anything_runs(swept) -> None:
    message = swept.refuse("sweep", "unused", {**GIVEN, "train.learning_rate": 2e-3})
    assert "the sweep 'smoke-sweep' was begun with other settings (train.learning_rate was 0.001, is 0.002)" in message
    message = swept.refuse("sweep", "unused", {**GIVEN, "run.seed": 1})
    assert "sweep.confirm_seeds has 1, which is the seed of the search" in message


def test_validation_games_of_the_runs_own_panel_are_refused(swept) -> None:
    message = swept.refuse("validation", "mixed", {"validation.panel": "small"})
    assert "are also games of" in message
