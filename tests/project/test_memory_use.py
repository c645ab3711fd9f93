"""Peak memory of a part of a step, including memory freed since."""

import os
import sys

import pytest
import torch

from sg_pipeline.runs.memory_use import PeakMemory, peak_of_process, peak_of_processes

CPU = torch.device("cpu")
MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset a process's peak")
def test_peak_memory_excludes_earlier_parts():
    first = PeakMemory(CPU)
    table = torch.ones(64 * MIB)  # 256 MiB, returned to the system when freed
    large = first.gib("first")["first"]
    del table
    second = PeakMemory(CPU)
    torch.ones(MIB)
    small = second.gib("second")["second"]
    assert large - small == pytest.approx(0.25, abs=0.1)
    assert first.gib("first")["first"] < large  # one measurement at a time: the second reset it


def test_peak_of_processes_is_their_sum():
    own = peak_of_process() / 2**30
    assert own > 0.05
    if sys.platform == "linux":
        assert peak_of_processes([os.getpid(), os.getpid()]) == pytest.approx(2 * own, rel=0.1)
    assert peak_of_processes([]) == peak_of_processes([2**22 + 1]) == 0


def test_peak_memory_on_a_gpu_reports_allocated_and_reserved(monkeypatch):
    """The functions of torch are replaced as its documentation describes them."""
    asked = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: asked.append(device))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 4 * 2**30)
    watch = PeakMemory(torch.device("cuda", 1))
    assert asked == [torch.device("cuda", 1)]
    assert watch.gib("training") == {"training": 3.0, "training_reserved": 4.0}
