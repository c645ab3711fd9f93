"""A live policy that plays: where its turns end, the date in its prompts, waves, and groups dealt to ranks."""

import datetime
from types import SimpleNamespace

import numpy as np
import pytest
from chat_templates import bpe_tokenizer
from rooms import SPEC, task
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.config.base_model import LoraConfig, TinyConfig
from sg_pipeline.config.environment import EnvironmentConfig, PoolConfig
from sg_pipeline.config.loader import section
from sg_pipeline.distributed.world import World
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.policies.adapters import add_adapters
from sg_pipeline.policies.checkpoint import load_policy, save_policy
from sg_pipeline.policies.policy import Policy
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.rollouts import play as module
from sg_pipeline.rollouts.collect import attempts_at
from sg_pipeline.rollouts.play import Player, dealt, rows_at_once, waves
from sg_pipeline.rollouts.result import RolloutResult, in_parallel
from sg_pipeline.sampling.kv_cache import row_bytes
from sg_pipeline.sampling.transformers_sampler import TransformersSampler
from sg_pipeline.sampling.two_call import TwoCallSampler
from sg_pipeline.sampling.vllm.sampler import VllmSampler

TINY = TinyConfig(hidden_size=16, layers=1, heads=1, head_dim=16, intermediate_size=16, max_position=4000)
ENVIRONMENT = EnvironmentConfig(name=SPEC, pool=PoolConfig(workers=0))
CONFIG = section("rollout", group_size=1, max_turns=2, max_new_tokens=4, max_length=4000, prompts="self_guide")
DATED = "{{ strftime_now('%d %b %Y') }} {% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"


@pytest.fixture(autouse=True)
def rooms(monkeypatch):
    """Play `rooms.SPEC`, an environment without a benchmark."""
    monkeypatch.setattr(module, "load_benchmark", lambda _: SimpleNamespace(name="rooms"))
    pool = EnvironmentPool(EnvironmentSpec(SPEC), PoolConfig(workers=0))
    monkeypatch.setattr(module, "open_pool", lambda *_: pool)


@pytest.fixture(scope="module")
def policy():
    return build_tiny(TINY, bpe_tokenizer("qwen3"), seed=1)


def play(policy, folder, attempts, guide=None, **parameters):
    config = CONFIG.model_copy(update=parameters)
    player = Player(policy, ENVIRONMENT, config, folder, folder, 1, section("sampling"), guide)
    return player.play(attempts, step=0)


def turns(policy, folder, guide=None, **parameters):
    return play(policy, folder, attempts_at([task("t")], 1), guide, **parameters).trajectories[0].turns


@pytest.mark.parametrize(
    ("source", "adapters", "guided"),
    [("generation_config", False, False), ("config", False, True), ("config", True, False)],
)
def test_player_turn_ends_on_each_of_the_models_own_ends(policy, tmp_path, source, adapters, guided):
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
def test_stop_ids_default_of_an_architecture_is_ignored_for_ordinary_tokens(special):
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


def test_player_prompt_shows_the_configured_date(tmp_path):
    own = build_tiny(TINY, bpe_tokenizer("qwen3", chat_template=DATED), seed=1)
    for parameters, shown in (({}, "26 Jul 2024"), ({"date": datetime.date(2025, 3, 3)}, "03 Mar 2025")):
        first = turns(own, tmp_path, **parameters)[0]
        assert own.tokenizer.decode(first.context_ids).startswith(f"{shown} ")
    assert section("rollout", date="2025-03-03").date == datetime.date(2025, 3, 3)


def test_player_waves_play_the_same_trajectories(policy, tmp_path):
    attempts = attempts_at([task(f"t{group}") for group in range(3)], 4, first_group=5)
    whole, parts = (play(policy, tmp_path, attempts, rows=rows) for rows in (None, 5))
    ids = [[turn.completion_ids for t in result.trajectories for turn in t.turns] for result in (whole, parts)]
    assert ids[0] == ids[1]
    assert parts.counters == whole.counters
    assert parts.timings.keys() == whole.timings.keys()
    assert [t.group for t in parts.trajectories] == [5] * 4 + [6] * 4 + [7] * 4
    assert len(parts.parts) == 12
    assert play(policy, tmp_path, []) == RolloutResult()


@pytest.mark.parametrize(("rows", "sizes"), [(None, [12]), (12, [12]), (11, [8, 4]), (4, [4] * 3), (1, [4] * 3)])
def test_waves_are_of_whole_groups(rows, sizes):
    attempts = attempts_at([task(f"t{group}") for group in range(3)], 4)
    found = list(waves(attempts, rows))
    assert [len(wave) for wave in found] == sizes
    assert [attempt for wave in found for attempt in wave] == attempts


def test_dealt_groups_come_back_in_order_and_timings_are_means():
    attempts = attempts_at([task(f"t{group}") for group in range(5)], 2)
    ranks = [dealt(attempts, World(rank, 2)) for rank in range(2)]
    assert [attempt.group for attempt in ranks[1]] == [1, 1, 3, 3]
    results = [
        RolloutResult(list(own), {"env_s": 1.0, "total_s": 2.0 + rank, "env_cpu_s": 3.0}, {"turns": len(own)}, [()] * 6)
        for rank, own in enumerate(ranks)
    ]
    results[1] = RolloutResult(results[1].trajectories, results[1].timings, results[1].counters, [()] * 4)
    whole = module._in_order(in_parallel(results, [0.5, 1.5]), attempts)
    assert whole.trajectories == attempts
    assert whole.counters == {"turns": 10}
    assert whole.timings == {"env_s": 1.0, "total_s": 3.5, "env_cpu_s": 6.0, "sync_s": 1.0}


@pytest.fixture(scope="module")
def model():
    config = Qwen3Config(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        intermediate_size=32, max_position_embeddings=1024,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def test_row_bytes_are_those_of_the_samplers_tables(model):
    session = TransformersSampler(model).open([np.random.default_rng(row) for row in range(3)], 600)
    session.extend([0, 1, 2], [[1] * 500] * 3, [], 1)
    layers = session._cache.layers
    held = sum(table.nbytes for layer in layers for table in (layer.keys, layer.values))
    growing = layers[0].keys.nbytes  # a new table next to the old one
    assert 3 * row_bytes(model, 501) == held + growing


def test_rows_at_once_fit_into_the_cache(model):
    config = section("rollout", group_size=4, max_length=3000)
    sampler = TransformersSampler(model)
    one = row_bytes(model, config.max_length) / 2**30
    assert rows_at_once(config, sampler) is None
    bounded = config.model_copy(update={"cache_gib": 9.5 * one})
    assert rows_at_once(bounded, sampler) == 9
    assert rows_at_once(bounded.model_copy(update={"rows": 6}), sampler) == 6
    assert rows_at_once(bounded, TwoCallSampler(sampler, sampler, bool)) == 4, "a guide has its own cache"
    server = VllmSampler(None, None)
    assert rows_at_once(bounded.model_copy(update={"rows": 6}), server) == 6, "the server has the cache"
    assert rows_at_once(bounded, TwoCallSampler(sampler, server, bool)) == 9
    with pytest.raises(ConfigurationError, match=r"rollout\.cache_gib is .*one group \(4 episodes"):
        rows_at_once(config.model_copy(update={"cache_gib": 3.5 * one}), sampler)
