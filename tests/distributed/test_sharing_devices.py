"""What processes exchange of a training step lies on no GPU on its way: shown by a device without data."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sg_pipeline.distributed.world import World
from sg_pipeline.training import sharing

ELSEWHERE = torch.device("meta")


@pytest.fixture
def exchanged(monkeypatch):
    """Pretend to be one of two processes; return what has been handed over."""
    handed = []

    class Pair(World):
        def gather(self, value):
            handed.append(value)
            return [value, {7: torch.ones(2)}]

    monkeypatch.setattr(sharing, "world", lambda: Pair(rank=0, size=2))
    return handed


def test_tensors_travel_by_way_of_the_cpu(exchanged):
    with FakeTensorMode(allow_non_fake_inputs=True):
        rows = sharing.merged({3: torch.zeros(4, device=ELSEWHERE)}, ELSEWHERE)
    assert [tensor.device.type for tensor in exchanged[0].values()] == ["cpu"]
    assert {row: tensor.device for row, tensor in rows.items()} == {3: ELSEWHERE, 7: ELSEWHERE}
