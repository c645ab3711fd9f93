"""Tensors of a training step are exchanged on the CPU, shown with a device without data."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sg_pipeline.distributed.world import World
from sg_pipeline.training import sharing

ELSEWHERE = torch.device("meta")


def test_merged_rows_are_exchanged_on_the_cpu(monkeypatch):
    exchanged = []

    class Pair(World):
        def gather(self, value):
            exchanged.append(value)
            return [value, {7: torch.ones(2)}]

    monkeypatch.setattr(sharing, "world", lambda: Pair(rank=0, size=2))
    with FakeTensorMode(allow_non_fake_inputs=True):
        rows = sharing.merged({3: torch.zeros(4, device=ELSEWHERE)}, ELSEWHERE)
    assert [tensor.device.type for tensor in exchanged[0].values()] == ["cpu"]
    assert {row: tensor.device for row, tensor in rows.items()} == {3: ELSEWHERE, 7: ELSEWHERE}
