"""A policy's weights by their names in a checkpoint, adapters merged."""

import pytest
import torch
from rounding import LOGP
from transformers import Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.weights import named_weights, plain_model


def model_of(tied=False):
    config = Qwen3Config(
        vocab_size=30, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=64, tie_word_embeddings=tied,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


@pytest.mark.parametrize("tied", [False, True])
def test_named_weights_include_a_tied_output_layer(tied):
    model = model_of(tied)
    weights = dict(named_weights(Policy(model, range(30))))
    untied = model_of(tied=False)
    assert weights.keys() == untied.state_dict().keys()
    untied.load_state_dict(weights)
    ids = torch.arange(20)[None]
    assert torch.equal(untied(ids).logits, model(ids).logits)


def test_named_weights_merge_adapters_without_changing_the_policy():
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"], modules_to_save=["lm_head"])
    adapted = peft.get_peft_model(model_of(), lora).eval()
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))))
    before = {name: weight.clone() for name, weight in adapted.state_dict().items()}
    policy = Policy(adapted, range(30))
    plain = model_of()
    plain.load_state_dict(dict(named_weights(policy)))
    ids = torch.arange(20)[None]
    assert (plain(ids).logits - adapted(ids).logits).abs().max() < LOGP
    assert all(torch.equal(weight, before[name]) for name, weight in adapted.state_dict().items())
    base = dict(named_weights(policy, adapters=False))
    assert base.keys() == plain.state_dict().keys()
    assert torch.equal(
        base["model.layers.0.mlp.up_proj.weight"],
        before["base_model.model.model.layers.0.mlp.up_proj.base_layer.weight"],
    )
    assert isinstance(plain_model(policy), Qwen3ForCausalLM)
