"""Who a process is among those that share a run, and how processes that never import TRL meet, disagree and part."""

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


def test_a_process_without_a_launcher_is_alone():
    here = read_world({})
    assert (here.rank, here.size, here.local_rank, here.alone, here.first) == (0, 1, 0, True, True)
    assert here.gather("x") == ["x"]
    assert here.broadcast("x") == here.on_first(lambda: "x") == "x"
    assert here.everywhere(lambda: 3) == [3]
    assert here.seconds == 0.0


def test_the_launcher_says_who_we_are():
    here = read_world({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    assert (here.rank, here.size, here.local_rank, here.alone, here.first) == (5, 8, 1, False, False)


def test_each_process_has_a_gpu_of_its_own():
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
def test_an_environment_that_contradicts_itself_is_refused(environment):
    with pytest.raises(RankError, match=r"WORLD_SIZE=.* start them with torchrun"):
        read_world(environment)


def test_a_launcher_that_has_started_one_process_for_several_is_noticed():
    """`accelerate launch --cpu --num_processes 2`; with one process asked for, it sets no address."""
    single = {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "no"}
    assert read_world(single).alone
    with pytest.raises(RankError, match="asked for several processes, but has started one"):
        read_world({**single, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"})


def test_other_numbers_of_processes_than_asked_for_are_refused():
    assert world().alone
    check_world(1, starts_runs=True)
    with pytest.raises(RankError, match=r"distributed.ranks is 4, but 1 process shares"):
        check_world(4, starts_runs=False)


@pytest.mark.timeout(300)
def test_processes_exchange_agree_and_part(tmp_path):
    """See `meeting.py`: what is asserted there is asserted on each of three processes."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "3", MEETING, tmp_path],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert {path.name for path in tmp_path.glob("met_*")} == {"met_0", "met_1", "met_2"}, done.stderr
    assert len(list(tmp_path.glob("told_*"))) == 1, "one process tells what all of them have met"
    # The third hangs longer than anybody waits; the launcher may end one of the others before it could say so.
    told = [line for line in done.stderr.splitlines() if "told: rank" in line]
    assert told, done.stderr
    assert all("has died, hangs or was told to end" in line for line in told)


@pytest.mark.parametrize(("device", "seen", "hint"), [("cuda:0", 8, True), ("cuda:0", 1, False), ("cpu", 8, False)])
def test_gpus_that_a_single_process_leaves_alone_are_mentioned(device, seen, hint, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    told = unused_gpus(torch.device(device))
    assert ("uses 1 of 8 GPUs, torchrun --nproc_per_node 8" in told) if hint else told == ""


@pytest.mark.parametrize(("strategy", "warned"), [("fsdp2", True), ("ddp", False), (None, False)])
def test_shards_that_one_process_cannot_make_are_mentioned(strategy, warned, caplog):
    settle_strategy(strategy)
    settle_strategy(None)  # as the next run of this process has it
    assert ("one process shards nothing: start the run with torchrun" in caplog.text) == warned
