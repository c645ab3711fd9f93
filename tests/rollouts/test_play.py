"""A rollout knows what model and parameters say of its turns: where they end, and what day it is."""

import datetime
from types import SimpleNamespace

import pytest
from chat_templates import bpe_tokenizer
from rooms import SPEC, task
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sg_pipeline.config.base_model import LoraConfig, TinyConfig
from sg_pipeline.config.environment import EnvironmentConfig, PoolConfig
from sg_pipeline.config.loader import section
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.policies.adapters import add_adapters
from sg_pipeline.policies.checkpoint import load_policy, save_policy
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.rollouts import play as module
from sg_pipeline.rollouts.play import play

TINY = TinyConfig(hidden_size=16, layers=1, heads=1, head_dim=16, intermediate_size=16, max_position=4000)
ENVIRONMENT = EnvironmentConfig(name=SPEC)
CONFIG = section("rollout", group_size=1, max_turns=2, max_new_tokens=4, max_length=4000, prompts="self_guide")
DATED = "{{ strftime_now('%d %b %Y') }} {% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"


@pytest.fixture(autouse=True)
def rooms(monkeypatch):
    """Play `rooms.SPEC`, an environment without a benchmark around it."""
    monkeypatch.setattr(module, "load_benchmark", lambda _: SimpleNamespace(name="rooms"))
    pool = EnvironmentPool(EnvironmentSpec(SPEC), PoolConfig(workers=0))
    monkeypatch.setattr(module, "open_pool", lambda *_: pool)


@pytest.fixture(scope="module")
def policy():
    return build_tiny(TINY, bpe_tokenizer("qwen3"), seed=1)


def turns(policy, tmp_path, guide=None, **parameters):
    config = CONFIG.model_copy(update=parameters)
    result = play(
        policy, [task("t")], ENVIRONMENT, config, data_root=tmp_path, cache_dir=tmp_path, seed=1, step=0, guide=guide
    )
    return result.trajectories[0].turns


@pytest.mark.parametrize("source", ["generation_config", "config"])
@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("guided", [False, True])
def test_turn_ends_on_each_of_the_models_own_ends(policy, tmp_path, source, adapters, guided):
    """All tokens are ends here, so that each turn is one token; a checkpoint keeps them."""
    plain = turns(policy, tmp_path)
    assert len(plain[0].completion_ids) == CONFIG.max_new_tokens
    own = build_tiny(TINY, bpe_tokenizer("qwen3"), seed=1)
    ends = list(range(len(own.tokenizer)))
    getattr(own.model, source).eos_token_id = ends
    save_policy(own, tmp_path / "base")
    loaded = load_policy(tmp_path / "base")
    if adapters:
        pytest.importorskip("peft")
        add_adapters(loaded, LoraConfig(rank=2), str(tmp_path / "base"), None, seed=1)
        save_policy(loaded, tmp_path / "adapters")
        loaded = load_policy(tmp_path / "adapters")
    assert loaded.stop_ids == tuple(ends)
    played = turns(loaded, tmp_path, guide=policy if guided else None)
    assert [len(turn.completion_ids) for turn in played] == [1, 1]
    # The end of the template follows all the same.
    end = own.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert played[0].completion_ids[0] != end == played[1].context_ids[0]


@pytest.mark.parametrize("special", [True, False])
def test_default_of_an_architecture_ends_no_turn_on_an_ordinary_token(special):
    words = {word: index for index, word in enumerate(["a", "b", "c", "d"])}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="a")))
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=4, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    )
    default = model.config.eos_token_id
    if special:
        tokenizer.add_special_tokens({"eos_token": tokenizer.convert_ids_to_tokens(default)})
    policy = Policy(model, tokenizer)
    assert policy.stop_ids == ((default,) if special else ())
    model.generation_config.eos_token_id = [default, 3, 4]  # 4: beyond the vocabulary
    assert policy.stop_ids == ((default, 3) if special else (3,))


def test_prompt_shows_the_date_of_the_parameters(tmp_path):
    own = build_tiny(TINY, bpe_tokenizer("qwen3", chat_template=DATED), seed=1)
    for parameters, shown in (({}, "26 Jul 2024"), ({"date": datetime.date(2025, 3, 3)}, "03 Mar 2025")):
        first = turns(own, tmp_path, **parameters)[0]
        assert own.tokenizer.decode(first.context_ids).startswith(f"{shown} ")
    assert section("rollout", date="2025-03-03").date == datetime.date(2025, 3, 3)
