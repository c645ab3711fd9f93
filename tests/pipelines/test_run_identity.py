"""A run's name: one set of parameters, one set of inputs, one process at a time."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HOLD = """
import sys
from pathlib import Path
from sg_pipeline.runs.lock import RunLock

lock = RunLock()
lock.take(Path(sys.argv[1]), "held")
print("held", flush=True)
sys.stdin.read()
"""


def test_changed_parameters_over_old_outputs_are_named(project):
    for pipeline in ("tasks", "base_model", "rollout"):
        project.run(pipeline, "identity")
    # A pipeline is compared in what it reads, and in what the outputs that it reads were made with.
    message = project.refuse("rollout", "identity", {"rollout.group_size": 8, "tasks.limit": 3, "train.beta": 0.1})
    assert "run 'identity' has outputs that were made with other parameters" in message
    assert "(rollout.group_size was 4, is 8; tasks.limit was 4, is 3)" in message
    assert "--params run.name=NAME" in message
    many = {f"rollout.{name}": 9 for name in ("max_turns", "max_new_tokens", "max_length")} | {
        "run.seed": 3,
        "tasks.limit": 3,
    }
    assert "; and 1 more)" in project.refuse("rollout", "identity", many)
    project.run("tasks", "identity", {"rollout.group_size": 8, "train.beta": 0.1})


def test_parameters_that_change_no_result_are_free(project, finished):
    """By a pipeline that is compared in all of them."""
    before = project.json("08", finished, "run.json")
    project.run("report", finished, {"environment.pool.workers": 2, "evaluate.batch_rows": 3})
    assert project.json("08", finished, "run.json") == before
    assert "train.beta was 0.0, is 0.1" in project.refuse("report", finished, {"train.beta": 0.1})


def test_the_environment_variable_of_official_data_is_free_where_nobody_reads_it(project, monkeypatch):
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    project.run("tasks", "identity")
    monkeypatch.setenv("ALFWORLD_DATA", "/somewhere")
    project.run("tasks", "identity")
    assert "tasks.source was 'panel'" in project.refuse("tasks", "identity", {"tasks.source": "official"})


def test_a_name_without_outputs_is_free(project):
    assert "no/such/model" in project.refuse("base_model", "mistake", {"base_model.path": "no/such/model"})
    project.run("base_model", "mistake")


def test_another_base_policy_at_the_same_path_is_noticed(project, base_policy):
    place = project.root / "own_policy"
    shutil.copytree(base_policy, place)
    own = {"base_model.path": place.name}
    project.run("base_model", "inputs", own)
    manifest = place / "policy.json"
    manifest.write_text(manifest.read_text().replace('"notes": {}', '"notes": {"again": 1}'))
    message = project.refuse("base_model", "inputs", own)
    assert "base_model.path is 'own_policy' as before, but its content has changed" in message
    shutil.rmtree(place)
    # The run has its own copy: it goes on without the original.
    project.run("coevolve", "inputs", {**own, "coevolve.steps": 4}, "--only-missing-outputs")


def test_damaged_identity_is_reported(project):
    project.run("tasks", "damaged_identity")
    (project.data("08", "damaged_identity") / "run.json").write_text('{"parameters": ')
    assert "run.json is not a valid run identity; delete" in project.refuse("tasks", "damaged_identity")


def test_two_processes_on_one_run(project):
    lock = project.root / "data" / "08_reporting" / "held" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        message = project.refuse("tasks", "held")
        assert message.startswith(f"another process (pid {holder.pid}) is working on run 'held'")
        assert not project.data("02", "held").exists()
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    # A lock ends with its process, however that ended, and a run lets go of it whether it succeeds or fails.
    project.run("tasks", "held")
    project.refuse("rollout", "held")
    project.run("tasks", "held")


def test_half_written_files_of_a_killed_process_are_removed(project):
    project.run("tasks", "leftovers")
    left = project.data("02", "leftovers") / ".panel.json.abc123.tmp"
    left.write_text("half")
    project.run("tasks", "leftovers")
    assert not left.exists()


def test_the_clock_goes_on_where_a_killed_process_left_it(project, finished):
    clock = project.data("08", finished) / "clock.json"
    clock.write_text('{"wall_seconds": 5000.0}')
    project.run("report", finished)
    assert 5000 < project.json("08", finished, "summary.json")["wall_seconds"] < 5060
    assert project.json("08", finished, "clock.json")["wall_seconds"] == pytest.approx(
        project.json("08", finished, "summary.json")["wall_seconds"], abs=30
    )
    project.run("base_model", finished)  # begins anew
    assert project.json("08", finished, "clock.json")["wall_seconds"] < 60
