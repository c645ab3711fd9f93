"""Several processes share a run: it is the run of one; a killed rank ends it; another number of processes goes on."""

import re
import signal
from pathlib import Path

import pytest
from project_copy import wait_for, written
from same_run import assert_same_run

from sg_pipeline.distributed.world import world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # processes that each import torch and TRL, on a busy machine

KILLING = str(Path(__file__).with_name("self_killing_run.py"))


def accelerate(project, strategy):
    """Return a launcher of two processes."""
    config = str(project.root / f"conf/accelerate/{strategy}.yaml")
    ranks = ("--num_processes", "2", "--main_process_port", "0")
    return ("-m", "accelerate.commands.launch", "--config_file", config, *ranks, "-m", "kedro")


def test_two_processes_make_the_run_of_one(project, finished):
    """Started by accelerate, trained on shards."""
    arguments = project.arguments("coevolve", "two", {"distributed.ranks": 2})
    for _ in range(2):  # as in test_sharing_train.py: a rank that dies in native code is tried again once
        process = project.process(*arguments, driver=accelerate(project, "fsdp2"))
        output, _ = process.communicate(timeout=400)
        if process.returncode == 0 or not re.search(r"exitcode: -(6|11)\b", output):
            break
    assert process.returncode == 0, output
    assert output.count("run 'two': coevolve, seed 0, shared by 2 processes (fsdp2)") == 1, output
    assert_same_run(project, finished, "two")


def test_a_killed_rank_ends_the_run_and_another_number_of_ranks_goes_on(project, finished):
    """Four processes share two groups, so that two play nothing; the third of them dies in the training of step 2.

    Torchrun has started them; accelerate starts those that go on.
    """
    wanted = {"distributed.ranks": 4, "distributed.timeout_s": 60}
    driver = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "4", KILLING, "in_train@2", "2")
    process = project.process(*project.arguments("coevolve", "several", wanted), driver=driver)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 1, output
    assert "shared by 4 processes (ddp)" in output
    errors = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert errors, output
    assert all("another process of this run has died" in line and "--only-missing-outputs" in line for line in errors)
    wait_for(lambda: not project.orphans())
    assert (project.data("06", "several") / "checkpoints" / "step_001").exists()
    assert not (project.data("06", "several") / "final").exists()
    played = written(project, "several", "03", "trajectories.parquet")
    assert len(played) == 3
    arguments = project.arguments("coevolve", "several", {"distributed.ranks": 2}, "--only-missing-outputs")
    process = project.process(*arguments, driver=accelerate(project, "ddp"))
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    assert "shared by 2 processes (ddp)" in output
    assert played.items() <= written(project, "several", "03", "trajectories.parquet").items(), (
        "trajectories were rolled out twice"
    )
    assert_same_run(project, finished, "several")


def test_kedro_run_starts_further_processes_and_ends_them_when_interrupted(project, finished):
    """The first Ctrl-C comes in the training of step 1; one process goes on."""
    process = project.process(*project.arguments("coevolve", "cores", {"run.processes": 2}))
    wait_for(lambda: written(project, "cores", "03", "trajectories.parquet"), 300)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "shared by 2 processes" in output
    assert [line.split(";")[0] for line in output.splitlines() if "Error" in line] == ["Error: interrupted"], output
    wait_for(lambda: not project.orphans())
    process = project.process(*project.arguments("coevolve", "cores", {"run.processes": 2}, "--only-missing-outputs"))
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    assert_same_run(project, finished, "cores")
    assert ", processes: 2," in project.json("08", "cores", "steps/step_003.json")["machine"]


def test_fewer_processes_than_asked_for_are_refused(project, monkeypatch):
    """As `accelerate launch --cpu --num_processes 2` starts them."""
    message = project.refuse("coevolve", "asked", {"distributed.ranks": 2})
    assert message.startswith("distributed.ranks is 2, but 1 process shares this run")
    assert "torchrun" in message
    for name, value in {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    world.cache_clear()
    try:
        assert "has started one" in project.refuse("coevolve", "alone")
    finally:
        world.cache_clear()
