"""Operations against torch's own counter."""

import pytest
import torch
from planned import small_config
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from sg_pipeline.planning.flops import ATTENTION_BACKWARD, Passes, attention_flops, forward_flops, training_flops
from sg_pipeline.planning.shape import shape_of

ROWS, WIDTH = 2, 96


def counted(config, checkpointing, backward):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    # Its counter does not know the fused attention of CPUs; the plain one is the same products.
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").train()
    if checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    with FlopCounterMode(display=False) as counter:
        loss = model(input_ids=torch.randint(5, 400, (ROWS, WIDTH)), use_cache=False).logits.float().sum()
        if backward:
            loss.backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("kind", ["qwen3", "qwen2"])
def test_forward(kind):
    config = small_config(kind)
    pairs = ROWS * WIDTH * WIDTH  # torch counts the future too, which causal kernels skip
    predicted = forward_flops(shape_of(config, kind, "test"), ROWS * WIDTH, pairs, ROWS * WIDTH)
    assert counted(config, False, False) == pytest.approx(predicted, rel=1e-6)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", ["qwen3", "qwen2"])
def test_training(kind, checkpointing):
    config = small_config(kind)
    shape = shape_of(config, kind, "test")
    passes = Passes(forward=1, backward=1, head=3, again=checkpointing)
    pairs = ROWS * WIDTH * WIDTH
    predicted = training_flops(shape, ROWS * WIDTH, pairs, ROWS * WIDTH, passes)
    # Plain attention goes back in twice its operations: it has kept the scores.
    predicted -= (ATTENTION_BACKWARD - 2) * attention_flops(shape, pairs)
    assert counted(config, checkpointing, True) == pytest.approx(predicted, rel=1e-6)


def test_fused_attention_goes_back_as_torch_counts_it():
    shape = (ROWS, 8, WIDTH, 16)
    assert sdpa_backward_flop_count(shape, shape, shape, shape) == ATTENTION_BACKWARD * sdpa_flop_count(
        shape, shape, shape
    )


def test_six_operations_a_weight_and_token():
    shape = shape_of(small_config(), "small", "test")
    plain = training_flops(shape, 1, 0, 1, Passes(1, 1, 3))
    assert plain == 6 * (shape.matrix_parameters + shape.head)
    again = training_flops(shape, 1, 0, 0, Passes(1, 1, 0, again=1)) / shape.matrix_parameters
    assert 7.3 < again < 8
