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


def test_changed_parameters_over_old_outputs_are_named(project, monkeypatch):
    for pipeline in ("tasks", "base_model", "rollout"):
        project.run(pipeline, "identity")
    # A pipeline is compared in what it reads, and in what the outputs that it reads were made with.
    message = project.refuse("rollout", "identity", {"rollout.group_size": 8, "tasks.limit": 3, "train.beta": 0.1})
    assert "run 'identity' has outputs that were made with other parameters" in message
    assert "(rollout.group_size was 4, is 8; tasks.limit was 4, is 3)" in message
    assert "--params run.name=NAME" in message
    changed = ("run.seed", "tasks.limit", "rollout.max_turns", "rollout.max_new_tokens", "rollout.max_length")
    many = dict.fromkeys(changed, 2)
    assert "; and 1 more)" in project.refuse("rollout", "identity", many)
    monkeypatch.setenv("ALFWORLD_DATA", "/somewhere")  # which nobody reads here
    project.run("tasks", "identity", {"rollout.group_size": 8, "train.beta": 0.1})


def test_a_name_without_outputs_is_free(project):
    assert "no/such/model" in project.refuse("base_model", "mistake", {"base_model.path": "no/such/model"})
    project.run("base_model", "mistake")


def test_identity_that_has_changed_or_is_damaged_is_reported(project, base_policy):
    place = project.root / "own_policy"
    shutil.copytree(base_policy, place)
    own = {"base_model.path": place.name}
    project.run("base_model", "inputs", own)
    manifest = place / "policy.json"
    manifest.write_text(manifest.read_text().replace('"notes": {}', '"notes": {"again": 1}'))
    message = project.refuse("base_model", "inputs", own)
    assert "base_model.path is 'own_policy' as before, but its content has changed" in message
    shutil.rmtree(place)
    # The run has its own copy: it goes on without the original, and with parameters that change no result.
    more = {**own, "coevolve.steps": 1, "environment.pool.workers": 2, "evaluate.batch_rows": 3}
    project.run("coevolve", "inputs", more, "--only-missing-outputs")
    (project.data("08", "inputs") / "run.json").write_text('{"parameters": ')
    assert "run.json is not a valid run identity; delete" in project.refuse("tasks", "inputs")


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
    left = project.data("02", "held") / ".panel.json.abc123.tmp"  # as of a killed process
    left.write_text("half")
    project.run("tasks", "held")
    assert not left.exists()


def test_the_clock_goes_on_where_a_killed_process_left_it(project, finished):
    clock = project.data("08", finished) / "clock.json"
    clock.write_text('{"wall_seconds": 5000.0}')
    project.run("report", finished)
    for name in ("summary.json", "clock.json"):
        assert 5000 < project.json("08", finished, name)["wall_seconds"] < 5060
    project.run("base_model", finished)  # begins anew
    assert project.json("08", finished, "clock.json")["wall_seconds"] < 60
