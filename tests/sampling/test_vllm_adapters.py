"""Adapters that a real vLLM takes over unmerged: the same tokens, the newest adapters, nothing of the ones before.

Run with `bash tests/sampling/vllm.sh`: vLLM wants an environment of its own (docs/vllm.md).
"""

from dataclasses import replace

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (docs/vllm.md)")
pytest.importorskip("peft", reason="PEFT is not installed")

import torch
from test_vllm_local import BFLOAT16_GAP, CONTEXTS, FLOAT32_GAP, LENGTH, converse, gap_to_policy, policy_of

from sg_pipeline.config.base_model import LoraConfig
from sg_pipeline.config.sampling import VllmConfig
from sg_pipeline.errors import ConfigurationError, SamplingError
from sg_pipeline.policies.adapters import add_adapters
from sg_pipeline.sampling.transformers_sampler import TransformersSampler
from sg_pipeline.sampling.vllm.local import LocalEngine
from sg_pipeline.sampling.vllm.session import VllmSampler

SEPARATE = VllmConfig(adapters="separate")


def adapted(rank=4, **values):
    policy = policy_of(**values)
    add_adapters(policy, LoraConfig(rank=rank, alpha=12), "base", None, seed=0)
    return policy


def train_adapters(policy, seed=1, size=0.1):
    """Change the adapters alone, as training does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if ".lora_" in name:
                weight.add_(size * torch.randn(weight.shape, generator=generator))
    policy.step += 1


@pytest.fixture(scope="module")
def held():
    """A policy with trained adapters, of a rank that vLLM has no room of, and the engine that holds it."""
    policy = adapted(tied=True)
    train_adapters(policy)
    engine = LocalEngine(policy, SEPARATE, LENGTH)
    assert engine.update(policy)
    yield policy, engine
    engine.close()


def test_greedy_tokens_are_those_of_transformers_with_the_adapters(held):
    policy, engine = held
    ours, _ = converse(VllmSampler(engine, policy, 0.0))
    theirs, _ = converse(TransformersSampler(policy.model, 0.0))
    for turn, other in zip(ours, theirs, strict=True):
        assert [c.ids for c in turn] == [c.ids for c in other]
        for completion, expected in zip(turn, other, strict=True):
            assert completion.logprobs == pytest.approx(expected.logprobs, abs=FLOAT32_GAP)
    with policy.model.disable_adapter():
        without, _ = converse(TransformersSampler(policy.model, 0.0))
    assert [c.ids for c in without[0]] != [c.ids for c in theirs[0]]


def test_an_update_sends_the_adapters_alone_and_forgets_the_old_ones(held, monkeypatch):
    policy, engine = held
    sampler = VllmSampler(engine, policy)
    before, _ = converse(sampler)
    monkeypatch.setattr(engine, "_reload", lambda weights: pytest.fail("the base weights were sent again"))
    for seed in (2, 3):
        train_adapters(policy, seed)
        with pytest.raises(RuntimeError, match=f"but those of step {policy.step} of policy are asked for"):
            sampler.open([], LENGTH)
        assert engine.update(policy)
        assert len(engine._engine.list_loras()) == 1
        after, _ = converse(sampler)
        assert [c.ids for c in after[0]] != [c.ids for c in before[0]]
        assert max(gap_to_policy(policy, *pair) for pair in zip(CONTEXTS, after[0], strict=True)) < FLOAT32_GAP
        before = after


def test_cached_keys_of_older_adapters_are_not_found(held, monkeypatch):
    """Even where the cache is not emptied: each set of adapters has a name of its own there."""
    policy, engine = held
    converse(VllmSampler(engine, policy))
    monkeypatch.setattr(engine._engine, "reset_prefix_cache", lambda: True)
    train_adapters(policy, 4)
    assert engine.update(policy)
    (first, second), _ = converse(VllmSampler(engine, policy))
    for context, one, two in zip(CONTEXTS, first, second, strict=True):
        assert gap_to_policy(policy, [*context, *one.ids, 9, 10], two) < FLOAT32_GAP


def test_another_policys_base_weights_are_taken_over(held):
    policy, engine = held
    other = policy_of(tied=True)
    with torch.no_grad():
        for weight in other.model.parameters():
            weight.mul_(1.1)
    add_adapters(other, LoraConfig(rank=4, alpha=12), "base", None, seed=0)
    assert engine.update(other)
    (first, _), _ = converse(VllmSampler(engine, other))
    assert max(gap_to_policy(other, *pair) for pair in zip(CONTEXTS, first, strict=True)) < FLOAT32_GAP
    assert engine.update(policy)


def test_adapters_that_are_not_taken_over_are_told(held, monkeypatch):
    policy, engine = held
    train_adapters(policy, 5)
    monkeypatch.setattr(engine, "_take_over", lambda policy: None)
    with pytest.raises(SamplingError, match=r"does not hold the weights of a PeftModel.* fingerprint"):
        engine.update(policy)
    monkeypatch.undo()
    assert engine.update(policy)


def test_what_cannot_be_sent_separately_is_refused(held):
    _, engine = held
    with pytest.raises(ConfigurationError, match=r"has 0 sets of adapters.*base_model.lora"):
        engine.update(policy_of(tied=True))
    saved = adapted()
    saved.model.peft_config["default"] = replace(saved.model.peft_config["default"], modules_to_save=["lm_head"])
    with pytest.raises(ConfigurationError, match="modules_to_save"):
        LocalEngine(saved, SEPARATE, LENGTH)
    with pytest.raises(ConfigurationError, match="rank is 600, and vLLM takes at most 512"):
        LocalEngine(adapted(rank=600), SEPARATE, LENGTH)


def test_bfloat16_engine_gets_adapters_alone_and_misses_no_small_step(monkeypatch):
    policy = adapted(dtype="bfloat16")
    for name, weight in policy.model.named_parameters():
        weight.data = weight.data.float() if ".lora_" in name else weight.data
    engine = LocalEngine(policy, VllmConfig(), LENGTH)
    try:
        train_adapters(policy)
        assert engine.update(policy)
        train_adapters(policy, 2, size=1e-5)
        hand_over = engine._take_over
        monkeypatch.setattr(engine, "_take_over", lambda policy: None)
        with pytest.raises(SamplingError, match=r"does not hold the weights of a PeftModel.* fingerprint"):
            engine.update(policy)
        monkeypatch.setattr(engine, "_take_over", hand_over)
        assert engine.update(policy)
        (first, _), _ = converse(VllmSampler(engine, policy))
        assert max(gap_to_policy(policy, *pair) for pair in zip(CONTEXTS, first, strict=True)) < BFLOAT16_GAP
    finally:
        engine.close()
