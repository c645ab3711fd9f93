"""Peak memory of a part of a step: what a process held, and no longer holds."""

import os
import sys

import pytest
import torch

from sg_pipeline.runs.memory_use import PeakMemory, peak_of_process, peak_of_processes

CPU = torch.device("cpu")
MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can set a process's peak back")
def test_a_parts_peak_is_its_own():
    first = PeakMemory(CPU)
    table = torch.ones(64 * MIB)  # 256 MiB, which are given back when they are freed
    large = first.gib("first")["first"]
    del table
    second = PeakMemory(CPU)
    torch.ones(MIB)
    small = second.gib("second")["second"]
    assert large - small == pytest.approx(0.25, abs=0.1)
    assert first.gib("first")["first"] < large  # one watch at a time: the second has set it back


def test_other_processes_are_added_up():
    own = peak_of_process() / 2**30
    assert own > 0.05
    if sys.platform == "linux":
        assert peak_of_processes([os.getpid(), os.getpid()]) == pytest.approx(2 * own, rel=0.1)
    assert peak_of_processes([]) == peak_of_processes([2**22 + 1]) == 0


def test_a_gpu_tells_what_tensors_took_and_what_the_allocator_held(monkeypatch):
    """The figures are torch's; here stand those that its documentation names."""
    asked = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: asked.append(device))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 4 * 2**30)
    watch = PeakMemory(torch.device("cuda", 1))
    assert asked == [torch.device("cuda", 1)]
    assert watch.gib("training") == {"training": 3.0, "training_reserved": 4.0}
