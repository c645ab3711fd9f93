"""LoRA policies: checkpoints of adapters alone, over a base that must be the same."""

import json

import pytest
import torch
from rounding import BFLOAT16, LOGP

from sg_pipeline.config.base_model import LoraConfig, TinyConfig
from sg_pipeline.config.loader import section
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.errors import CheckpointError, ConfigurationError
from sg_pipeline.policies.adapters import add_adapters
from sg_pipeline.policies.checkpoint import load_policy, merge, read_manifest, save_policy
from sg_pipeline.policies.compute import computing, shorten_frozen
from sg_pipeline.policies.policy import causal_model
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.policies.tokenizer import build_tokenizer
from sg_pipeline.randomness import stream
from sg_pipeline.sampling.transformers_sampler import TransformersSampler
from sg_pipeline.training.base_policy import make_base_policy
from sg_pipeline.training.demonstrations import EncodedDemonstration
from sg_pipeline.training.experience import ExperienceRow
from sg_pipeline.training.imitation import WarmStartConfig, warm_start
from sg_pipeline.training.learner import train_step

pytest.importorskip("peft")
LORA = LoraConfig(rank=4, alpha=8)
TINY = TinyConfig(hidden_size=32, layers=2, heads=2, head_dim=16, intermediate_size=48, initializer_range=0.1)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(alfworld_vocabulary())


@pytest.fixture
def base(tokenizer, tmp_path):
    """Return a folder with a policy of ordinary weights."""
    save_policy(build_tiny(TINY, tokenizer, seed=3), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapted(base):
    policy = load_policy(base)
    add_adapters(policy, LORA, str(base), None, seed=1)
    return policy


def experience(policy, rows=4):
    session = TransformersSampler(policy.model, 1.0, policy.compute).open([stream(1, row) for row in range(rows)], 100)
    contexts = [stream(2, row).integers(10, 1000, 5 + row).tolist() for row in range(rows)]
    written = session.extend(range(rows), contexts, [], 8)
    return [
        ExperienceRow(context, one.ids, one.logprobs, [1] * len(one.ids), (-1.0) ** row)
        for row, (context, one) in enumerate(zip(contexts, written, strict=True))
    ]


def train(policy, number=0, rows=None, **config):
    rows = experience(policy) if rows is None else rows
    reference = config.pop("reference", None)
    settings = section("train", learning_rate=1e-2, **config)
    return train_step(policy, rows, settings, seed=0, step=number, reference=reference).metrics


def logits(policy):
    with torch.no_grad(), computing(policy.compute, policy.model.device):
        return policy.model(input_ids=torch.tensor([[11, 12, 13, 14, 15]])).logits


def trainable(policy):
    return {name: weight.detach().clone() for name, weight in policy.model.named_parameters() if weight.requires_grad}


def test_add_adapters_is_neutral_and_depends_on_the_seed(base, adapted):
    again, other = load_policy(base), load_policy(base)
    before = torch.random.get_rng_state()
    add_adapters(again, LORA, str(base), None, seed=1)
    add_adapters(other, LORA, str(base), None, seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(logits(load_policy(base)), logits(adapted))
    one, same, different = (trainable(policy) for policy in (adapted, again, other))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], different[name]) for name in one)
    # Seven linear maps a layer, two factors each; nothing else is trained.
    assert len(one) == 2 * 7 * 2
    assert all(".lora_A." in name or ".lora_B." in name for name in one)


def test_train_step_changes_only_the_adapters(adapted):
    frozen = {name: w.detach().clone() for name, w in adapted.model.named_parameters() if not w.requires_grad}
    start = trainable(adapted)
    metrics = train(adapted)
    assert metrics["logp_gap_max"] < LOGP
    now = dict(adapted.model.named_parameters())
    assert all(torch.equal(frozen[name], now[name]) for name in frozen)
    # The first factor has no gradient while the second is zero.
    assert all(not torch.equal(start[name], now[name]) for name in start if ".lora_B." in name)
    assert {key.partition("/")[2] for key in adapted.optimizer_state} == set(start)
    assert "forward" not in vars(adapted.model) | vars(causal_model(adapted.model))


def test_checkpoint_contains_only_adapters_and_training_continues(adapted, tmp_path):
    train(adapted)
    save_policy(adapted, tmp_path / "run" / "step")
    names = {path.name for path in (tmp_path / "run" / "step").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors"} <= names
    assert not any(name.startswith("model") for name in names)
    loaded = load_policy(tmp_path / "run" / "step")
    assert (loaded.step, loaded.name) == (adapted.step, adapted.name)
    assert torch.equal(logits(adapted), logits(loaded))
    rows = experience(adapted)
    assert [row.completion_ids for row in rows] == [row.completion_ids for row in experience(loaded)]
    first, second = train(adapted, 1, rows), train(loaded, 1, rows)
    assert first["loss"] == second["loss"]
    one, other = trainable(adapted), trainable(loaded)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_checkpoint_of_adapters_is_readable_by_peft(base, adapted, tmp_path):
    from peft import AutoPeftModelForCausalLM, PeftModel

    train(adapted)
    save_policy(adapted, tmp_path / "policy")
    ids = torch.tensor([[11, 12, 13, 14, 15]])
    with torch.no_grad():
        auto = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "policy")(input_ids=ids).logits
        own = PeftModel.from_pretrained(load_policy(base).model, tmp_path / "policy")(input_ids=ids).logits
    assert torch.equal(auto, logits(adapted))
    assert torch.equal(own, logits(adapted))


def test_checkpoint_of_adapters_loads_after_moving_with_its_base(adapted, tmp_path):
    save_policy(adapted, tmp_path / "runs" / "policy")
    assert read_manifest(tmp_path / "runs" / "policy")["adapter"]["path"] == "../../base"
    (tmp_path / "elsewhere").mkdir()
    for name in ("base", "runs"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    assert torch.equal(logits(load_policy(tmp_path / "elsewhere" / "runs" / "policy")), logits(adapted))


def test_checkpoint_of_adapters_with_another_base_raises(base, adapted, tokenizer, tmp_path):
    save_policy(adapted, tmp_path / "policy")
    save_policy(build_tiny(TINY, tokenizer, seed=4), base)
    with pytest.raises(CheckpointError, match="trained on other weights"):
        load_policy(tmp_path / "policy")
    (base / "policy.json").unlink()
    (base / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"belong to the base model.*cannot be read"):
        load_policy(tmp_path / "policy")


def test_merge_writes_an_ordinary_policy(adapted, tmp_path):
    from transformers import AutoModelForCausalLM

    train(adapted)
    save_policy(adapted, tmp_path / "policy")
    merge(tmp_path / "policy", tmp_path / "merged")
    merged = load_policy(tmp_path / "merged")
    assert "adapter" not in read_manifest(tmp_path / "merged")
    assert merged.parameter_count() < adapted.parameter_count()
    assert torch.allclose(logits(merged), logits(adapted), atol=LOGP)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.equal(plain.lm_head.weight, merged.model.lm_head.weight)
    with pytest.raises(CheckpointError, match="no adapters"):
        merge(tmp_path / "merged", tmp_path / "again")


def test_merge_of_bfloat16_weights_is_lossless(tokenizer, tmp_path):
    short = build_tiny(TINY, tokenizer, seed=3)
    short.model.to(torch.bfloat16)
    save_policy(short, tmp_path / "short")
    policy = load_policy(tmp_path / "short")
    add_adapters(policy, LORA, str(tmp_path / "short"), None, seed=1)
    for name, weight in policy.model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(weight, std=1e-5)
    layer = causal_model(policy.model).model.layers[0].mlp.down_proj
    delta, before = layer.get_delta_weight("default").float(), layer.base_layer.weight.float()
    # What the type of the base would keep of it.
    assert float(((before + delta).bfloat16().float() == before).float().mean()) > 0.9
    save_policy(policy, tmp_path / "policy")
    merge(tmp_path / "policy", tmp_path / "merged")
    merged = load_policy(tmp_path / "merged").model
    assert merged.dtype == torch.float32
    kept = merged.model.layers[0].mlp.down_proj.weight - before
    assert float((kept - delta).detach().norm()) < 0.01 * float(delta.detach().norm())


def test_kl_reference_is_the_policy_without_adapters(base, adapted, tmp_path):
    save_policy(adapted, tmp_path / "start")
    assert json.loads((tmp_path / "start" / "policy.json").read_text())["adapter"]["neutral"]
    rows = experience(adapted)
    train(adapted, 0, rows)
    save_policy(adapted, tmp_path / "trained")
    assert not read_manifest(tmp_path / "trained")["adapter"]["neutral"]
    other = load_policy(tmp_path / "trained")
    off = train(adapted, 1, rows, beta=0.1, reference=tmp_path / "start")
    assert adapted.reference.model is None
    # The same from a second model, the base in its own folder.
    second = train(other, 1, rows, beta=0.1, reference=base)
    assert other.reference.model is not None
    assert off["kl"] > 1e-5
    assert off["kl"] == pytest.approx(second["kl"], rel=1e-3)
    assert [name for name in adapted.model.peft_config] == ["default"]
    # Adapters that were something at the start are a reference of their own.
    third = load_policy(tmp_path / "trained")
    assert train(third, 1, rows, beta=0.1, reference=tmp_path / "trained")["kl"] == pytest.approx(0, abs=1e-6)


def test_bfloat16_policy_keeps_its_frozen_base_in_bfloat16(adapted, tmp_path):
    adapted.compute = "bfloat16"
    save_policy(adapted, tmp_path / "policy")
    policy = load_policy(tmp_path / "policy")
    dtypes = {weight.dtype for name, weight in policy.model.named_parameters() if ".lora_" in name}
    assert dtypes == {torch.float32}
    assert causal_model(policy.model).lm_head.weight.dtype == torch.bfloat16
    metrics = train(policy)
    assert metrics["logp_gap_max"] < 16 * BFLOAT16
    save_policy(policy, tmp_path / "next")
    assert load_policy(tmp_path / "next").adapter_base == policy.adapter_base


@pytest.mark.parametrize("compute", ["weights", "bfloat16"])
def test_imitation_trains_the_adapters(adapted, compute):
    adapted.compute = compute
    if compute == "bfloat16":
        shorten_frozen(adapted.model)
    frozen = {name: w.detach().clone() for name, w in adapted.model.named_parameters() if not w.requires_grad}
    start = trainable(adapted)
    examples = iter([EncodedDemonstration([11, 12, 13, 14, 15, 16], [0, 0, 1, 1, 1, 1])] * 50)
    figures = warm_start(adapted, examples, WarmStartConfig(total_tokens=300, batch_tokens=30, learning_rate=1e-2))
    now = dict(adapted.model.named_parameters())
    assert all(torch.equal(frozen[name], now[name]) for name in frozen)
    assert all(not torch.equal(start[name], now[name]) for name in start)
    assert figures["optimizer_steps"] == 10


def test_base_policy_with_lora_has_adapters(base):
    config = section("base_model", path=base.name, compute="bfloat16", lora={"rank": 2})
    policy = make_base_policy(config, None, project=base.parent, seed=0)
    assert (policy.step, policy.compute) == (0, "bfloat16")
    assert policy.model.peft_config["default"].r == 2
    assert causal_model(policy.model).lm_head.weight.dtype == torch.bfloat16
    save_policy(policy, base.parent / "adapters")

    def load(**values):
        return make_base_policy(section("base_model", path="adapters", **values), None, project=base.parent, seed=0)

    assert torch.equal(logits(policy), logits(load(compute="bfloat16")))
    full = load()
    assert full.compute == "weights"
    assert causal_model(full.model).lm_head.weight.dtype == torch.float32
    assert load(lora={"rank": 2}).model.peft_config["default"].r == 2
    with pytest.raises(ConfigurationError, match="has adapters of rank 2"):
        load(lora={"rank": 4})
    with pytest.raises(ValueError, match="start 'tiny' makes new weights"):
        section("base_model", source="warm_start", lora={"rank": 2})


def test_add_adapters_impossible_configuration_raises(base):
    policy = load_policy(base)
    with pytest.raises(ConfigurationError, match="target_modules"):
        add_adapters(policy, LoraConfig(rank=2, target_modules=("nothing",)), str(base), None, seed=1)


def test_a_tied_output_layer_in_bfloat16_counts_once(tokenizer, tmp_path):
    policy = build_tiny(TINY.model_copy(update={"tie_word_embeddings": True}), tokenizer, seed=3)
    save_policy(policy, tmp_path / "tied")
    add_adapters(policy, LORA, str(tmp_path / "tied"), None, seed=1)
    count, ids = policy.parameter_count(), torch.tensor([[11, 12, 13]])
    with computing("bfloat16", policy.model.device):
        before = policy.model(input_ids=ids).logits
    shorten_frozen(policy.model)
    model = causal_model(policy.model)
    assert (model.lm_head.weight.dtype, model.model.embed_tokens.weight.dtype) == (torch.bfloat16, torch.float32)
    assert policy.parameter_count() == count
    with computing("bfloat16", policy.model.device):
        assert torch.equal(policy.model(input_ids=ids).logits, before)
