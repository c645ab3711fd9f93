"""What an engine must prove after an update, and which changes of a policy need another engine; no vLLM is needed."""

import copy
import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.errors import ConfigurationError
from sg_pipeline.policies.policy import Policy
from sg_pipeline.randomness import stream
from sg_pipeline.sampling import engines
from sg_pipeline.sampling.config import SamplingConfig
from sg_pipeline.sampling.transformers_sampler import TransformersSampler
from sg_pipeline.sampling.vllm.local import write_configuration

SIZES = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 1024, "initializer_range": 0.1,
}  # fmt: skip


def policy_of(kind=Qwen3ForCausalLM, **sizes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(Qwen3Config(**SIZES | sizes)).eval()
    return Policy(model, range(300), compute="bfloat16")


@pytest.fixture
def started(monkeypatch):
    """Engines that were started, which are none."""
    made = []

    class Started:
        closed = False

        def close(self):
            self.closed = True

    monkeypatch.setattr(engines, "_start", lambda *arguments: made.append(Started()) or made[-1])
    yield made
    engines.close_engines()


@pytest.mark.parametrize("sampling", [{"engine": "vllm"}, {"engine": "vllm_server", "server": {"url": "http://h:1"}}])
def test_engine_is_kept_when_only_labels_and_training_entries_change(started, sampling):
    policy, config = policy_of(), SamplingConfig(**sampling)
    kept = engines._engine(policy, config, 512)
    model = policy.model.config
    for name, value in {
        "pad_token_id": 7, "bos_token_id": 8, "eos_token_id": [1, 2], "use_cache": False, "attention_dropout": 0.1,
        "_name_or_path": "elsewhere", "architectures": ["X"], "output_router_logits": True, "router_aux_loss_coef": 0.1,
        "initializer_range": 0.5, "transformers_version": "0", "tie_word_embeddings": True,
    }.items():  # fmt: skip
        setattr(model, name, value)
        assert engines._engine(policy, config, 512) is kept, name
    policy.model.set_attn_implementation("eager")
    assert engines._engine(policy, config, 512) is kept
    assert engines._engine(Policy(copy.deepcopy(policy.model), range(300), compute="bfloat16"), config, 512) is kept
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

    config = SamplingConfig(engine="vllm")
    first = engines._engine(policy_of(), config, 512)
    sizes = {name: value for name, value in changed.items() if name not in ("compute", "max_length", "class")}
    policy = policy_of(Other if "class" in changed else Qwen3ForCausalLM, **sizes)
    policy.compute = changed.get("compute", "bfloat16")
    assert engines._engine(policy, config, changed.get("max_length", 512)) is not first
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
