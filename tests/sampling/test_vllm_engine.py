"""What an engine must prove after an update, and which changes of a policy need another engine; no vLLM is needed."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.config.loader import section
from sg_pipeline.errors import ConfigurationError, SamplingError
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.weights import named_weights
from sg_pipeline.randomness import stream
from sg_pipeline.sampling import engines
from sg_pipeline.sampling.base import Completion
from sg_pipeline.sampling.transformers_sampler import TransformersSampler
from sg_pipeline.sampling.vllm import server
from sg_pipeline.sampling.vllm.adapters import room
from sg_pipeline.sampling.vllm.engine import Engine
from sg_pipeline.sampling.vllm.held import combined, fingerprint
from sg_pipeline.sampling.vllm.model import write_configuration
from sg_pipeline.sampling.vllm.session import VllmSampler

SERVER = section("sampling", engine="vllm", server={"url": "http://h:1"})
SIZES = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 1024, "initializer_range": 0.1,
}  # fmt: skip


def policy_of(kind=Qwen3ForCausalLM, **sizes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(Qwen3Config(**SIZES | sizes)).eval()
    return Policy(model, range(300), compute="bfloat16")


def train(policy, rate=1e-6):
    """Change each weight by as much as a step of AdamW at most does."""
    generator = torch.Generator().manual_seed(policy.step)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(rate * torch.randn(weight.shape, generator=generator).sign())
    policy.step += 1


class Copy(Engine):
    """An engine in bfloat16 whose updates can be without effect on the weights whose names begin with `stale`."""

    def __init__(self, policy, shows=True, store=lambda weight: weight):
        super().__init__("bfloat16")
        self.model, self.shows, self.store, self.stale = copy.deepcopy(policy.model).bfloat16(), shows, store, None
        self.request = None

    def load(self, policy):
        held = self.model.state_dict()
        for name, weight in named_weights(policy):
            if self.stale is None or not name.startswith(self.stale):
                held[name].copy_(weight)

    def held(self, kinds):
        weights = map(self.store, self.model.state_dict().values())
        return [{"weights": fingerprint(weights, self.dtype)}] if self.shows else None

    def submit(self, key, request, stop_when=None):
        self.request = key, request

    def poll(self):
        key, request = self.request
        ids = torch.arange(request.max_new_tokens) * 7
        with torch.no_grad():
            logits = self.model(torch.tensor([[*request.ids, *ids]])).logits[0, len(request.ids) - 1 : -1].float()
        scores = torch.log_softmax(logits, -1).gather(-1, ids[:, None])[:, 0]
        return [(key, Completion(ids.tolist(), scores.tolist(), stopped=False))]

    def forget(self):
        self.request = None

    def close(self):
        pass


@pytest.mark.parametrize("stale", ["", "model.layers.1.self_attn.k_proj", "lm_head"])
def test_update_of_learning_rate_size_that_is_missing_raises(stale):
    policy = policy_of()
    engine = Copy(policy)
    assert engine.update(policy)
    train(policy)
    assert engine.update(policy)
    engine.stale = stale
    train(policy)
    with pytest.raises(SamplingError, match=r"after an update to step 2 .* does not hold the weights .* fingerprint"):
        engine.update(policy)
    assert not engine.holds(policy)
    engine.stale = None
    assert engine.update(policy)


@pytest.mark.parametrize(
    ("how", "told"),
    [({"shows": False}, "cannot be asked"), ({"store": torch.square}, "stores weights in another form")],
)
def test_update_of_engine_that_cannot_be_compared_is_checked_by_what_it_writes(how, told, caplog):
    policy = policy_of()
    engine = Copy(policy, **how)
    for _ in range(3):
        assert engine.update(policy)
        train(policy)
    assert caplog.text.count(told) == 1
    engine.stale = ""
    with pytest.raises(SamplingError, match="writes the same as before, to the last bit"):
        engine.update(policy)
    other = Copy(policy, **how)
    assert other.update(policy)
    policy.step += 1  # a step that has changed nothing
    assert other.update(policy)


def test_update_of_policy_with_frozen_weights_in_bfloat16_is_probed_as_it_computes():
    policy = policy_of()
    policy.model.lm_head.bfloat16()
    assert Copy(policy).update(policy)


def test_update_that_vllm_cannot_load_raises_a_sentence(monkeypatch):
    policy = policy_of()
    engine = Copy(policy)
    monkeypatch.setattr(engine, "load", lambda policy: {}["lm_head"])
    with pytest.raises(SamplingError, match="cannot hold or compute a Qwen3ForCausalLM here"):
        engine.update(policy)


def test_engine_with_logits_that_are_no_numbers_names_the_policy():
    policy = policy_of()
    engine = Copy(policy)
    assert engine.update(policy)
    session = VllmSampler(engine, policy).open([stream(0)], 100)
    for model in (engine.model, policy.model):
        with torch.no_grad():
            model.lm_head.weight[3] = float("nan")
    with pytest.raises(SamplingError, match="the policy 'policy' at step 0 computes logits that are not finite"):
        session.extend([0], [[1, 2]], [], 4)
    policy.step += 1
    with pytest.raises(SamplingError, match="the policy 'policy' at step 1 computes logits that are not finite"):
        engine.update(policy)


def test_fingerprint_depends_on_numbers_alone():
    weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    one = fingerprint([weight], "bfloat16")
    padded = torch.cat([weight.bfloat16().T, torch.tensor([[0.0, -0.0] * 3])])
    assert fingerprint([padded[:4], padded[4:]], "bfloat16") == one
    changed = weight.bfloat16()
    changed[3, 3] = torch.nextafter(changed[3, 3], torch.tensor(9.0, dtype=torch.bfloat16))
    assert fingerprint([changed], "bfloat16") != one
    assert fingerprint([weight + 1e-6], "float32") != fingerprint([weight], "float32")
    parts = [{"norm": 5, "matrix": fingerprint([part], "bfloat16")} for part in (weight[:2], weight[2:])]
    assert combined(parts) == (5 + one) % 2**64


@pytest.fixture
def started(monkeypatch):
    """Engines that were started, which are none."""
    made = []

    class Started:
        closed = False

        def close(self):
            self.closed = True

    monkeypatch.setattr(server, "ServerEngine", lambda *arguments: made.append(Started()) or made[-1])
    yield made
    engines.close_engines()


def test_engine_is_kept_when_only_labels_and_training_entries_change(started):
    policy, config = policy_of(), SERVER
    kept = server.engine_for(policy, config, 512)
    model = policy.model.config
    for name, value in {
        "pad_token_id": 7, "bos_token_id": 8, "eos_token_id": [1, 2], "use_cache": False, "attention_dropout": 0.1,
        "_name_or_path": "elsewhere", "architectures": ["X"], "output_router_logits": True, "router_aux_loss_coef": 0.1,
        "initializer_range": 0.5, "transformers_version": "0", "tie_word_embeddings": True,
    }.items():  # fmt: skip
        setattr(model, name, value)
        assert server.engine_for(policy, config, 512) is kept, name
    policy.model.set_attn_implementation("eager")
    assert server.engine_for(policy, config, 512) is kept
    assert server.engine_for(Policy(copy.deepcopy(policy.model), range(300), compute="bfloat16"), config, 512) is kept
    assert len(started) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"num_hidden_layers": 1},
        {"vocab_size": 301},
        {"num_attention_heads": 2},
        {"rms_norm_eps": 1e-5},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        {"hidden_act": "gelu"},
        {"compute": "weights"},
        {"max_length": 256},
        {"unknown_multiplier": 2.0},
        {"class": "other"},
    ],
)
def test_engine_is_replaced_when_what_it_computes_changes(started, changed):
    class Other(Qwen3ForCausalLM):
        pass

    config = SERVER
    first = server.engine_for(policy_of(), config, 512)
    sizes = {name: value for name, value in changed.items() if name not in ("compute", "max_length", "class")}
    policy = policy_of(Other if "class" in changed else Qwen3ForCausalLM, **sizes)
    policy.compute = changed.get("compute", "bfloat16")
    assert server.engine_for(policy, config, changed.get("max_length", 512)) is not first
    assert first.closed


def test_configuration_names_the_class_that_was_loaded(tmp_path):
    class Sharded(Qwen3ForCausalLM):
        """As FSDP makes one."""

    sizes = {name: value for name, value in SIZES.items() if name != "initializer_range"}
    whole = AutoConfig.for_model("qwen3_5", text_config=sizes, architectures=["Qwen3_5ForConditionalGeneration"])
    for model, name in (
        (policy_of(Sharded).model, "Qwen3ForCausalLM"),
        (AutoModelForCausalLM.from_config(whole), "Qwen3_5ForCausalLM"),
    ):
        assert write_configuration(Policy(model, range(300)), tmp_path) == name
        written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
        assert (written["architectures"], written["tie_word_embeddings"]) == ([name], False)
        assert AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path)).state_dict().keys() == {
            *model.state_dict()
        }


@pytest.mark.parametrize("kind", ["qwen3_5", "qwen3_5_text", "qwen3_next"])
def test_transformers_sampler_refuses_hybrid_models(kind):
    few = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16} if kind == "qwen3_next" else {}
    sizes = SIZES | {"num_hidden_layers": 4} | few
    config = AutoConfig.for_model(kind, **({"text_config": sizes} if kind == "qwen3_5" else sizes))
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(ConfigurationError, match=r"supports full attention only, the model '\w+' has linear_attention"):
        TransformersSampler(model).open([stream(0)], 100)


@pytest.mark.parametrize(
    ("setting", "dtype", "found"),
    [("auto", "bfloat16", 8), ("auto", "float32", None), ("merged", "bfloat16", None), ("separate", "float32", 8)],
)
def test_adapters_are_sent_separately_where_a_merge_would_lose_them(setting, dtype, found):
    policy = adapted()
    assert room(policy, section("sampling", vllm={"adapters": setting}).vllm, dtype) == found
    assert room(policy_of(), section("sampling", vllm={"adapters": "auto"}).vllm, dtype) is None


def test_adapters_that_cannot_be_sent_separately_are_refused():
    separate = section("sampling", vllm={"adapters": "separate"}).vllm
    with pytest.raises(ConfigurationError, match=r"has 0 sets of adapters.*base_model.lora"):
        room(policy_of(), separate, "float32")
    policy = adapted()
    policy.model.peft_config["default"] = replace(policy.model.peft_config["default"], modules_to_save=["lm_head"])
    with pytest.raises(ConfigurationError, match="modules_to_save"):
        room(policy, separate, "float32")
    with pytest.raises(ConfigurationError, match="rank is 600, and vLLM takes at most 512"):
        room(adapted(rank=600), separate, "float32")


def test_merged_adapters_are_added_in_float32():
    """As trained for a few steps: below half the distance to the next bfloat16 number, nearly everywhere."""
    policy = adapted()
    policy.model.get_base_model().to(torch.bfloat16)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if ".lora_" in name:
                weight.data = weight.data.float()
                if ".lora_B." in name:
                    weight.fill_(1e-6)
    base, merged = dict(named_weights(policy, adapters=False)), dict(named_weights(policy))
    name = "model.layers.0.mlp.up_proj.weight"
    lost = (merged[name].bfloat16() == base[name]).float().mean()
    assert lost > 0.9
    layer = policy.model.get_base_model().model.layers[0].mlp.up_proj
    assert torch.equal(merged[name], base[name].float() + layer.get_delta_weight("default").float())


def adapted(rank=4):
    pytest.importorskip("peft", reason="PEFT is not installed")
    from sg_pipeline.config.base_model import LoraConfig
    from sg_pipeline.policies.adapters import add_adapters

    policy = policy_of()
    add_adapters(policy, LoraConfig(rank=rank, alpha=12), "base", None, seed=0)
    return policy
