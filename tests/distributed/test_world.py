"""Rank and size of a process; exchange and common termination of processes without TRL."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sg_pipeline.distributed.start import check_world, unused_gpus
from sg_pipeline.distributed.strategy import settle_strategy
from sg_pipeline.distributed.world import read_world, world
from sg_pipeline.errors import ConfigurationError, RankError

MEETING = str(Path(__file__).with_name("meeting.py"))


def test_world_without_a_launcher_has_one_process():
    here = read_world({})
    assert (here.rank, here.size, here.local_rank, here.alone, here.first) == (0, 1, 0, True, True)
    assert here.gather("x") == ["x"]
    assert here.broadcast("x") == here.on_first(lambda: "x") == "x"
    assert here.everywhere(lambda: 3) == [3]
    assert here.seconds == 0.0


def test_read_world_reads_the_launchers_variables():
    here = read_world({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    assert (here.rank, here.size, here.local_rank, here.alone, here.first) == (5, 8, 1, False, False)


def test_world_device_is_the_gpu_of_the_local_rank():
    alone, shared = read_world({}), read_world({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    assert [alone.device(name) for name in ("cpu", "cuda", "cuda:0")] == ["cpu", "cuda", "cuda:0"]
    with pytest.raises(ConfigurationError, match=r"base_model.device is 'cuda:1'.* set it to 'cuda', and CUDA_VISIBLE"):
        alone.device("cuda:1")
    assert [shared.device(name) for name in ("cpu", "cuda")] == ["cpu", "cuda:1"]
    with pytest.raises(ConfigurationError, match=r"base_model.device is 'cuda:0', but 8 processes"):
        shared.device("cuda:0")


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
        {"RANK": "0", "WORLD_SIZE": "two", "LOCAL_RANK": "0"},
        {"RANK": "1", "WORLD_SIZE": "2"},
        {"WORLD_SIZE": "2", "LOCAL_RANK": "0"},
    ],
)
def test_read_world_contradictory_variables_raise(environment):
    with pytest.raises(RankError, match=r"WORLD_SIZE=.*; start the run with torchrun"):
        read_world(environment)


def test_read_world_one_process_started_for_several_raises():
    """Case of `accelerate launch --cpu --num_processes 2`; for one requested process it sets no address."""
    single = {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "no"}
    assert read_world(single).alone
    with pytest.raises(RankError, match="asked for several processes, but has started one"):
        read_world({**single, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"})


def test_check_world_other_number_of_processes_raises():
    assert world().alone
    check_world(1, starts_runs=True)
    with pytest.raises(RankError, match=r"distributed.ranks is 4, but 1 process shares"):
        check_world(4, starts_runs=False)


@pytest.mark.timeout(300)
def test_world_three_processes_exchange_fail_and_end_together(tmp_path):
    """The assertions are in `meeting.py`, executed by each of three processes."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "3", MEETING, tmp_path],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert {path.name for path in tmp_path.glob("met_*")} == {"met_0", "met_1", "met_2"}, done.stderr
    assert len(list(tmp_path.glob("printed_*"))) == 1, "one process prints the error that all of them hit"
    # The third hangs longer than the timeout; the launcher may end one of the others before it prints.
    lines = [line for line in done.stderr.splitlines() if "lost: rank" in line]
    assert lines, done.stderr
    assert all("has died, hangs or was terminated" in line for line in lines)


@pytest.mark.parametrize(("device", "seen", "hint"), [("cuda:0", 8, True), ("cuda:0", 1, False), ("cpu", 8, False)])
def test_unused_gpus_of_a_single_process_are_mentioned(device, seen, hint, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    message = unused_gpus(torch.device(device))
    assert ("uses 1 of 8 GPUs, torchrun --nproc_per_node 8" in message) if hint else message == ""


@pytest.mark.parametrize(("strategy", "warned"), [("fsdp2", True), ("ddp", False), (None, False)])
def test_settle_strategy_fsdp2_with_one_process_warns(strategy, warned, caplog):
    settle_strategy(strategy)
    settle_strategy(None)  # reset for the next test
    assert ("the run has one process, so nothing is sharded: start it with torchrun" in caplog.text) == warned
