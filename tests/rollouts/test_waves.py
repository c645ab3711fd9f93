"""Episodes in waves: the same trajectories, in a cache of a bounded size."""

from collections.abc import Sequence

import numpy as np
import pytest
from rooms import SPEC, task
from scripted import ByteFormat, ScriptedSampler
from transformers import Qwen3Config, Qwen3ForCausalLM

from sg_pipeline.config.environment import PoolConfig
from sg_pipeline.config.loader import section
from sg_pipeline.environments.pool import EnvironmentPool
from sg_pipeline.environments.registry import EnvironmentSpec
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.policies.policy import Policy
from sg_pipeline.rollouts.collect import RolloutResult, collect
from sg_pipeline.rollouts.waves import play_in_waves, rows_at_once
from sg_pipeline.sampling.kv_cache import row_bytes
from sg_pipeline.sampling.transformers_sampler import TransformersSampler
from sg_pipeline.trajectories.types import Task

CONFIG = section("rollout", group_size=4, max_turns=25, max_new_tokens=120, max_length=3000)
TASKS = [task(f"t{group}") for group in range(3)]


def roll(rows: int | None, sampler: ScriptedSampler) -> RolloutResult:
    """Play three groups, numbered 5 to 7, with at most `rows` episodes at once."""
    with EnvironmentPool(EnvironmentSpec(SPEC), PoolConfig(workers=0)) as pool:

        def wave(tasks: Sequence[Task], groups: Sequence[int]) -> RolloutResult:
            return collect(tasks, CONFIG, sampler, ByteFormat(), pool, seed=1, step=2, groups=groups)

        return play_in_waves(wave, TASKS, range(5, 8), CONFIG, rows)


@pytest.mark.parametrize(("rows", "waves"), [(None, [12]), (12, [12]), (11, [8, 4]), (4, [4] * 3), (1, [4] * 3)])
def test_waves_play_the_same_trajectories(rows, waves) -> None:
    sampler = ScriptedSampler()
    found, whole = roll(rows, sampler), roll(None, ScriptedSampler())
    assert [len(session.sequences) for session in sampler.sessions] == waves
    assert found.trajectories == whole.trajectories
    assert found.counters == whole.counters
    assert found.timings.keys() == whole.timings.keys()
    assert len(found.parts) == 12


@pytest.fixture(scope="module")
def model():
    config = Qwen3Config(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        intermediate_size=32, max_position_embeddings=1024,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def test_a_rows_bytes_are_those_of_the_samplers_tables(model) -> None:
    session = TransformersSampler(model).open([np.random.default_rng(row) for row in range(3)], 600)
    session.extend([0, 1, 2], [[1] * 500] * 3, [], 1)
    layers = session._cache.layers
    held = sum(table.nbytes for layer in layers for table in (layer.keys, layer.values))
    growing = layers[0].keys.nbytes  # a new table beside the old one
    assert 3 * row_bytes(model, 501) == held + growing


def test_as_many_episodes_as_the_cache_holds(model) -> None:
    policy = Policy(model=model, tokenizer=None)  # type: ignore[arg-type]
    one = row_bytes(model, CONFIG.max_length) / 2**30
    assert rows_at_once(CONFIG, [policy]) is None
    assert rows_at_once(CONFIG.model_copy(update={"rows": 6}), [policy]) == 6
    bounded = CONFIG.model_copy(update={"cache_gib": 9.5 * one})
    assert rows_at_once(bounded, [policy]) == 9
    assert rows_at_once(bounded.model_copy(update={"rows": 6}), [policy]) == 6
    assert rows_at_once(bounded, [policy, policy]) == 4, "a guide has a cache of its own"
    with pytest.raises(ConfigurationError, match=r"rollout\.cache_gib is .*one group \(4 episodes"):
        rows_at_once(CONFIG.model_copy(update={"cache_gib": 3.5 * one}), [policy])
