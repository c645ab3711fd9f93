"""Rank and size of a process; exchange and common termination of processes without TRL."""

import os
from pathlib import Path

import pytest
import torch
from launcher import torchrun

from sg_pipeline.distributed.cores import usable_cores
from sg_pipeline.distributed.start import check_world, unused_gpus
from sg_pipeline.distributed.strategy import settle_strategy
from sg_pipeline.distributed.world import read_world, world
from sg_pipeline.errors import ConfigurationError, RankError

MEETING = str(Path(__file__).with_name("meeting.py"))


ALONE, SHARED = read_world({}), read_world({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})


def test_read_world_reads_the_launchers_variables():
    assert (SHARED.rank, SHARED.size, SHARED.local_rank, SHARED.alone, SHARED.first) == (5, 8, 1, False, False)
    assert (ALONE.rank, ALONE.size, ALONE.local_rank, ALONE.alone, ALONE.first) == (0, 1, 0, True, True)
    assert ALONE.broadcast("x") == ALONE.on_first(lambda: "x") == ALONE.gather("x")[0] == "x"
    assert ALONE.everywhere(lambda: 3) == [3]


def test_world_device_is_the_gpu_of_the_local_rank():
    assert [ALONE.device(name) for name in ("cpu", "cuda", "cuda:0")] == ["cpu", "cuda", "cuda:0"]
    assert [SHARED.device(name) for name in ("cpu", "cuda")] == ["cpu", "cuda:1"]
    with pytest.raises(ConfigurationError, match=r"base_model.device is 'cuda:1'.* set it to 'cuda', and CUDA_VISIBLE"):
        ALONE.device("cuda:1")
    with pytest.raises(ConfigurationError, match=r"base_model.device is 'cuda:0', but 8 processes"):
        SHARED.device("cuda:0")


@pytest.mark.parametrize("ranks", [("2", "2", "0"), ("0", "two", "0"), ("1", "2", None), (None, "2", "0")])
def test_read_world_contradictory_variables_raise(ranks):
    named = zip(("RANK", "WORLD_SIZE", "LOCAL_RANK"), ranks, strict=True)
    with pytest.raises(RankError, match=r"WORLD_SIZE=.*; start the run with torchrun"):
        read_world({name: value for name, value in named if value is not None})


def test_read_world_one_process_started_for_several_raises():
    """Case of `accelerate launch --cpu --num_processes 2`; for one requested process it sets no address."""
    single = {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "no"}
    assert read_world(single).alone
    with pytest.raises(RankError, match="asked for several processes, but has started one"):
        read_world({**single, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"})


def test_check_world_other_number_of_processes_raises():
    assert world().alone
    check_world(1, None, starts_runs=True)
    with pytest.raises(RankError, match=r"distributed.ranks is 4, but 1 process shares"):
        check_world(4, None, starts_runs=False)


def test_check_world_processes_that_nobody_can_start_raise():
    check_world(None, 1, starts_runs=False)
    check_world(None, 2, starts_runs=True)  # of its runs
    with pytest.raises(RankError, match=r"run.processes is 2, but only the command `kedro run`"):
        check_world(None, 2, starts_runs=False)


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 3), ("200000 100000", 2), ("50000 100000", 1), ("", 3)])
def test_usable_cores_is_the_affinity_or_the_containers_quota(quota, cores, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5})
    (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path / "cpu.max") == cores
    assert usable_cores(tmp_path / "none") == 3


@pytest.mark.timeout(300)
def test_world_three_processes_exchange_fail_and_end_together(tmp_path):
    """The assertions are in `meeting.py`, executed by each of three processes."""
    done = torchrun(3, MEETING, tmp_path)
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
