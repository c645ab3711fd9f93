"""Activation memory against what autograd really keeps, storage by storage."""

import pytest
import torch
from live_memory import LiveMemory, counting_saved
from planned import small_config

from sg_pipeline.planning.activations import backward_bytes, kept_bytes
from sg_pipeline.planning.shape import shape_of

ROWS, WIDTH = 2, 300
MODELS = {
    "qwen3": small_config(),
    "one key head each": small_config(num_key_value_heads=8),
    "wide": small_config(intermediate_size=512),
    "qwen2": small_config("qwen2"),
}


def build(config, dtype, checkpointing=False):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).train()
    if checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    return model, torch.randint(5, 400, (ROWS, WIDTH))


def position_bytes(config, dtype):
    """Cosines and sines of the positions: one table for all layers and rows, too small for the formula."""
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * WIDTH * width * dtype.itemsize


def storages(model, *tensors):
    made = [*model.parameters(), *(weight.grad for weight in model.parameters()), *tensors]
    return {tensor.untyped_storage()._cdata for tensor in made}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_is_the_formula(name, dtype):
    model, ids = build(MODELS[name], dtype)
    with counting_saved() as kept:
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    own = storages(model, ids, hidden)
    saved = sum(size for key, size in kept.items() if key not in own)
    predicted = ROWS * WIDTH * kept_bytes(shape_of(MODELS[name], name, "test"), dtype.itemsize, checkpointing=False)
    assert saved == predicted + position_bytes(MODELS[name], dtype)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_the_peak_is_the_formula(name, dtype, checkpointing):
    model, ids = build(MODELS[name], dtype, checkpointing)
    tokens, shape = ROWS * WIDTH, shape_of(MODELS[name], name, "test")
    memory = LiveMemory()
    memory.ignore(storages(model, ids))
    with memory:
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        after = memory.live
        loss = hidden[0, 0, 0]
        del hidden
        memory.peak = 0
        loss.backward()
    kept = tokens * kept_bytes(shape, dtype.itemsize, checkpointing=checkpointing)
    passing = tokens * backward_bytes(shape, dtype.itemsize, checkpointing=checkpointing)
    output = tokens * shape.hidden * dtype.itemsize
    positions = position_bytes(MODELS[name], dtype) + 8 * WIDTH
    assert after == pytest.approx(kept + output + positions, rel=0.001)
    assert memory.peak == pytest.approx(kept + passing, rel=0.08)


def test_autocast_keeps_the_residual_stream_in_float32():
    config = MODELS["qwen3"]
    model, ids = build(config, torch.float32)
    with counting_saved() as kept, torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        own = storages(model, ids, hidden)
    shape = shape_of(config, "qwen3", "test")
    # The linear maps' weights are saved as they were cast.
    saved = sum(size for key, size in kept.items() if key not in own) - 2 * shape.matrix_parameters
    predicted = ROWS * WIDTH * kept_bytes(shape, 4, checkpointing=False, autocast=True)
    assert saved == predicted + position_bytes(config, torch.float32)


def test_checkpointing_saves_what_it_says():
    shape = shape_of(MODELS["wide"], "wide", "test")
    assert kept_bytes(shape, 4, checkpointing=True) < kept_bytes(shape, 4, checkpointing=False) / 10
    assert backward_bytes(shape, 4, checkpointing=True) > backward_bytes(shape, 4, checkpointing=False)
