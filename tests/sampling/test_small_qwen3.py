"""The forward pass of a small Qwen3 without its modules: when it is taken, and that nothing but rounding changes."""

import pytest
import torch
from rounding import LOGP
from test_transformers_sampler import make_model, play

import sg_pipeline.sampling.transformers_sampler as module
from sg_pipeline.sampling.small_qwen3 import LARGEST, small_qwen3


@pytest.mark.parametrize("pairs", [1, 2, 4])
def test_tokens_equal_those_of_the_modules(monkeypatch, pairs):
    model = make_model(num_key_value_heads=pairs)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:  # all ones in a new model
                weight.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    assert small_qwen3(model, "weights", 8) is not None
    tokens, logprobs, _ = play(model, range(8))
    monkeypatch.setattr(module, "small_qwen3", lambda *_: None)
    expected_tokens, expected_logprobs, _ = play(model, range(8))
    assert tokens == expected_tokens
    for row, values in expected_logprobs.items():
        found = [(a, b) for a, b in zip(logprobs[row], values, strict=True) if b is not None]
        assert found
        assert max(abs(a - b) for a, b in found) < LOGP


def test_weights_are_those_at_the_opening_of_a_session():
    model = make_model()
    before, _, _ = play(model, range(2))
    with torch.no_grad():
        model.lm_head.weight.neg_()
    after, _, _ = play(model, range(2))
    assert before != after


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(lambda: make_model("llama"), id="other architecture"),
        pytest.param(lambda: make_model(attention="eager"), id="other attention"),
        pytest.param(lambda: make_model(dtype=torch.bfloat16), id="other type"),
        pytest.param(lambda: make_model(attention_bias=True), id="biases"),
        pytest.param(
            lambda: make_model(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
            id="turned by length",
        ),
        pytest.param(lambda: make_model(vocab_size=LARGEST // 32), id="large"),
    ],
)
def test_other_models_run_their_own_code(model):
    assert small_qwen3(model(), "weights", 8) is None


def test_autocast_and_adapters_run_the_models_own_code():
    assert small_qwen3(make_model(), "bfloat16", 8) is None
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(make_model(), peft.LoraConfig(r=2, target_modules=["q_proj"]))
    assert small_qwen3(adapted.get_base_model(), "weights", 8) is None
