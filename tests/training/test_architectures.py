"""The trainer computes the policy that was sampled, whatever the architecture does in training mode."""

import pytest
import torch
from learning_tools import TEMPERATURE, sampled
from transformers import AutoConfig, AutoModelForCausalLM

from sg_pipeline.config.base_model import LoraConfig
from sg_pipeline.config.loader import section
from sg_pipeline.policies.adapters import add_adapters
from sg_pipeline.policies.policy import Policy
from sg_pipeline.training.demonstrations import EncodedDemonstration
from sg_pipeline.training.imitation import WarmStartConfig, imitation_loss, warm_start
from sg_pipeline.training.learner import train_step

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA = {**SIZE, "num_key_value_heads": 1, "head_dim": 16, "intermediate_size": 48, "attention_dropout": 0.5}
EXPERTS = {**LLAMA, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.5}
NOISY = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5},
    "llama": LLAMA,
    "seed_oss": {**LLAMA, "residual_dropout": 0.5},
    "opt": {**SIZE, "ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.5, "attention_dropout": 0.5,
            "layerdrop": 0.5},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2, "hidden_dropout": 0.5, "attention_dropout": 0.5},
    "mixtral": {**EXPERTS, "num_local_experts": 4, "router_jitter_noise": 0.5},
}  # fmt: skip
MIXTURES = {
    "mixtral": NOISY["mixtral"],
    "qwen3_moe": {**EXPERTS, "num_experts": 4, "moe_intermediate_size": 16},
    "gpt_oss": {**EXPERTS, "num_local_experts": 4, "sliding_window": 512, "rope_parameters": {"rope_theta": 1e4}},
}


@pytest.fixture
def build(tokenizer):
    """Return a maker of a policy with random weights of an architecture."""

    def make(kind: str, values: dict) -> Policy:
        torch.manual_seed(0)
        tokens = {"vocab_size": len(tokenizer), "max_position_embeddings": 512, "initializer_range": 0.1}
        config = AutoConfig.for_model(kind, pad_token_id=0, **tokens, **values)
        return Policy(model=AutoModelForCausalLM.from_config(config).eval(), tokenizer=tokenizer, name=kind)

    return make


def moments(policy):
    return torch.cat([v.flatten() for key, v in sorted(policy.optimizer_state.items()) if key.startswith("exp_avg/")])


@pytest.mark.parametrize("kind", NOISY)
def test_training_step_computes_without_noise(build, make_experience, kind):
    policies = {}
    for recompute in (False, True):
        policy = policies[recompute] = build(kind, NOISY[kind])
        rows = make_experience(policy)
        config = section("train", gradient_checkpointing=recompute)
        metrics = train_step(policy, rows, config, seed=5, step=0, temperature=TEMPERATURE).metrics
        assert metrics["logp_gap_max"] < 1e-3
        assert metrics["clip_share_high"] == metrics["clip_share_low"] == 0
    similarity = torch.nn.functional.cosine_similarity(*(moments(policy) for policy in policies.values()), dim=0)
    assert float(similarity) > 0.9999


@pytest.mark.parametrize("kind", NOISY)
def test_imitation_computes_without_noise(build, kind):
    policy = build(kind, NOISY[kind])
    example = EncodedDemonstration([11, 12, 13, 14, 15, 16], [0, 0, 1, 1, 1, 1])
    ids, mask = torch.tensor([example.input_ids]), torch.tensor([example.loss_mask]).bool()
    with torch.no_grad():
        expected = float(imitation_loss(policy.model, ids, mask))
    figures = warm_start(policy, iter([example]), WarmStartConfig(total_tokens=6, batch_tokens=16, learning_rate=1e-9))
    assert figures["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("granite", {**LLAMA, "attention_dropout": 0.0, "logits_scaling": 4.0}),
        ("cohere", {**SIZE, "num_key_value_heads": 1, "intermediate_size": 48, "logit_scale": 0.25}),
        ("gemma2", {**LLAMA, "attention_dropout": 0.0, "final_logit_softcapping": 0.5}),
    ],
)
def test_imitation_loss_of_a_model_that_transforms_logits_is_the_models_own(build, kind, values):
    policy = build(kind, values)
    ids = torch.tensor([[11, 12, 13, 14, 15, 16], [21, 22, 23, 0, 0, 0]])
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [0, 1, 1, 0, 0, 0]]).bool()
    with torch.no_grad():
        logits = policy.model(input_ids=ids).logits[:, :-1][mask[:, 1:]]
        own = torch.nn.functional.cross_entropy(logits, ids[:, 1:][mask[:, 1:]])
        assert float(imitation_loss(policy.model, ids, mask)) == pytest.approx(float(own), rel=1e-5)


def test_adapters_keep_the_dropout_that_their_user_chose(build):
    pytest.importorskip("peft")
    gaps = []
    for dropout in (0.0, 0.5):
        policy = build("gpt2", NOISY["gpt2"])
        add_adapters(policy, LoraConfig(rank=2, dropout=dropout), "base", None, seed=0)
        for name, weight in policy.model.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(weight)
        rows, _ = sampled(policy, "weights")
        gaps.append(train_step(policy, rows, section("train"), 5, 0, temperature=TEMPERATURE).metrics["logp_gap_mean"])
    assert gaps[0] < 1e-4
    assert gaps[1] > 1e-2


@pytest.mark.parametrize("kind", MIXTURES)
def test_mixture_of_experts_is_sampled_and_trained(build, kind):
    policy = build(kind, MIXTURES[kind])
    rows, _ = sampled(policy, "weights")
    expected = -sum(row.advantage for row in rows) / len(rows)
    metrics = train_step(policy, rows, section("train"), seed=5, step=0, temperature=TEMPERATURE).metrics
    assert metrics["logp_gap_mean"] < 1e-4
    # The loss is the policy's alone: on policy, with rows of one length, minus the mean advantage.
    assert metrics["loss"] == pytest.approx(expected, rel=1e-3)
    assert metrics["grad_norm_max"] > 0
