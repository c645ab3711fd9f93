"""Everything that the sampler computes stays on the model's device. Tested without a second real device:

Fake tensors have shapes, types and devices but no data, and refuse an operation on two devices as a GPU does.
"""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from transformers import Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.sampling import transformers_sampler
from sg_pipeline.sampling.transformers_sampler import TransformersSampler

ELSEWHERE = "meta"  # the one device other than the CPU that every build of torch can index on
VOCABULARY = 97


@pytest.fixture
def moved_model():
    """Return a small model on another device, in a mode in which tensors have no data."""
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, intermediate_size=48,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in model.modules():
            for name, weight in module._parameters.items():
                if weight is not None:
                    module._parameters[name] = torch.nn.Parameter(torch.empty_like(weight, device=ELSEWHERE))
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = torch.empty_like(buffer, device=ELSEWHERE)
        yield model


@pytest.fixture
def drawn(monkeypatch):
    """Let tensors without data return numbers; return the devices of those that did."""
    rng, places = np.random.default_rng(0), []

    def tolist(tensor):
        places.append(tensor.device.type)
        numbers = rng.random(len(tensor)) if tensor.is_floating_point() else rng.integers(VOCABULARY, size=len(tensor))
        return numbers.tolist()

    monkeypatch.setattr(FakeTensor, "tolist", tolist)
    return places


def play(model, temperature):
    """Two turns: a prefill in slices, a cache that grows, rows that stop early and are dropped."""
    session = TransformersSampler(model, temperature).open([np.random.default_rng(row) for row in range(6)], 600)
    stops = list(range(0, VOCABULARY, 3))
    session.extend(range(6), [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10], [1], [2]], stops, 8)
    session.extend([0, 2, 3, 5], [[1] * 300, [4, 5], [6], [7] * 20], stops, [3, 9, 1, 20])
    return session


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_everything_is_computed_on_the_models_device(moved_model, drawn, temperature, monkeypatch):
    monkeypatch.setattr(transformers_sampler, "PREFILL_TOKENS", 8)
    session = play(moved_model, temperature)
    assert session._cache.layers[0].keys.device.type == ELSEWHERE
    assert session._cache.placement.capacity == 512
    assert len(drawn) > 10
    assert set(drawn) == {ELSEWHERE}
