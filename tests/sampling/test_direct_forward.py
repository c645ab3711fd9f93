"""The forward pass without transformers' modules: when it is taken, and that nothing but rounding changes."""

import pytest
import torch
from rounding import BFLOAT16, LOGP
from test_transformers_sampler import gaps, make_model, play

import sg_pipeline.sampling.direct_forward as direct
import sg_pipeline.sampling.transformers_sampler as module
from sg_pipeline.sampling.direct_forward import direct_forward
from sg_pipeline.training.gaps import ROUNDINGS


def strong(kind="qwen3", adapters=None, **changes):
    """A model whose norms and adapters matter: in a new one they are all ones and have no effect."""
    model = make_model(kind, **changes)
    if adapters is not None:
        peft = pytest.importorskip("peft", reason="PEFT is not installed")
        model = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=8, **adapters)).get_base_model()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            generator = torch.Generator().manual_seed(len(name))
            if "norm" in name or "layernorm" in name:
                weight.uniform_(0.5, 1.5, generator=generator)
            elif ".lora_B." in name:
                weight.normal_(0, 0.2, generator=generator)
    return model


LINEAR = {"target_modules": "all-linear"}
MODELS = [
    pytest.param({"num_key_value_heads": 1}, id="one key head"),
    pytest.param({"num_key_value_heads": 4}, id="a key head for each"),
    pytest.param({"tie_word_embeddings": True}, id="tied"),
    pytest.param({"kind": "llama"}, id="llama"),
    pytest.param({"kind": "llama", "adapters": LINEAR}, id="llama with adapters"),
    pytest.param({"adapters": {"target_modules": ["q_proj", "down_proj"], "lora_dropout": 0.5}}, id="some adapters"),
]


@pytest.mark.parametrize("given", MODELS)
def test_tokens_equal_those_of_the_modules(monkeypatch, given):
    model = strong(**given)
    assert direct_forward(model, "weights", 8) is not None
    tokens, logprobs, _ = play(model, range(8))
    monkeypatch.setattr(module, "direct_forward", lambda *_: None)
    expected_tokens, expected_logprobs, _ = play(model, range(8))
    assert tokens == expected_tokens
    for row, values in expected_logprobs.items():
        found = [(a, b) for a, b in zip(logprobs[row], values, strict=True) if b is not None]
        assert found
        assert max(abs(a - b) for a, b in found) < LOGP


@pytest.mark.parametrize("given", MODELS)
def test_autocast_differs_by_its_rounding(given):
    model = strong(**given)
    if direct_forward(model, "bfloat16", 8) is None:
        pytest.skip("oneDNN has no bfloat16 on this processor")
    found = gaps(model, compute="bfloat16")
    assert 0 < sum(found) / len(found) < ROUNDINGS * BFLOAT16


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
        pytest.param(lambda: make_model("mistral"), id="other architecture"),
        pytest.param(lambda: make_model(attention="eager"), id="other attention"),
        pytest.param(lambda: make_model(dtype=torch.bfloat16), id="other type"),
        pytest.param(lambda: make_model(attention_bias=True), id="biases"),
        pytest.param(lambda: make_model("llama", mlp_bias=True), id="biases of the MLP"),
        pytest.param(
            lambda: make_model(rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
            id="turned by length",
        ),
        pytest.param(lambda: strong(adapters=LINEAR | {"use_dora": True}), id="adapters of another kind"),
        pytest.param(lambda: strong(adapters=LINEAR | {"lora_bias": True}), id="adapters with biases"),
    ],
)
def test_other_models_run_their_own_code(model):
    assert direct_forward(model(), "weights", 8) is None


def test_large_models_run_their_own_code(monkeypatch):
    monkeypatch.setattr(direct, "LARGEST", 1000)
    assert direct_forward(make_model(), "weights", 8) is None


def test_adapters_that_are_off_or_merged_and_hooks_are_respected():
    model = strong(adapters=LINEAR)
    layer = model.model.layers[1].mlp.down_proj
    assert direct_forward(model, "weights", 8) is not None
    layer.enable_adapters(False)
    assert direct_forward(model, "weights", 8) is None
    layer.enable_adapters(True)
    layer.merge()
    assert direct_forward(model, "weights", 8) is None
    layer.unmerge()
    hook = model.model.layers[0].register_forward_hook(lambda *_: None)
    assert direct_forward(model, "weights", 8) is None
    hook.remove()
    assert direct_forward(model, "weights", 8) is not None


def test_without_bfloat16_in_onednn_autocast_runs_the_models_own_code(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert direct_forward(make_model(), "bfloat16", 8) is None
