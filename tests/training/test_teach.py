"""The parts of a warm start, for a language model with adapters as for the tiny policy."""

import numpy as np
import pytest
import torch
from learning_tools import same, weights

from sg_pipeline.config.base_model import LoraConfig
from sg_pipeline.config.loader import section
from sg_pipeline.environments.base import Benchmark, Demonstration, DemoTurn
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.policies.adapters import add_adapters
from sg_pipeline.policies.checkpoint import load_policy, save_policy
from sg_pipeline.training.base_policy import teach
from sg_pipeline.trajectories.types import Polarity

STAGE = {"total_tokens": 3000, "batch_tokens": 300, "window": 8, "learning_rate": 1e-2, "held_out": 4, "parts": 3}


class Rooms(Benchmark):
    name = "rooms"


class Expert:
    """Looks into numbered shelves; `length` turns an episode."""

    def __init__(self, length=3):
        self.length = length

    def demonstrate(self, number, rng: np.random.Generator, noise):
        shelf = int(rng.integers(1, 5))
        turns = [
            DemoTurn(
                f"You see a shelf {shelf}.", f"go to shelf {shelf}", Polarity.NEUTRAL, f"go to shelf {shelf}", False
            )
            for _ in range(self.length)
        ]
        return Demonstration(tuple(turns), True, "You see a mug 1.", Polarity.POSITIVE, ("go to (receptacle)",))

    def close(self): ...


def configured(**stage):
    return section("base_model", source="warm_start", warm_start=[{**STAGE, **stage}])


def taught(policy, config, folder, expert=None, rollout=None):
    """Teach all parts, each continued from its checkpoint; return the policy and the reports."""
    reports = []
    for _ in range(sum(stage.parts for stage in config.warm_start)):
        reports.append(teach(policy, config, Rooms(), expert or Expert(), rollout or section("rollout"), 0))
        if policy.imitation is not None:
            save_policy(policy, folder)
            policy = load_policy(folder)
    return policy, reports


def test_parts_continued_from_checkpoints_equal_one_part(make_policy, tmp_path):
    whole, (only,) = taught(make_policy(), configured(parts=1), tmp_path / "whole")
    parted, reports = taught(make_policy(), configured(), tmp_path / "parted")
    assert same(weights(whole), weights(parted))
    assert [report["part"] for report in reports] == [1, 2, 3]
    assert reports[-1]["tokens"] == only["tokens"] >= 3000
    assert reports[-1]["held_out_loss"] == only["held_out_loss"] < reports[0]["held_out_loss"]
    assert parted.imitation is parted.optimizer_state is None


def test_parts_smaller_than_a_batch_end_all_the_same(make_policy, tmp_path):
    policy, reports = taught(make_policy(), configured(parts=20), tmp_path / "part")
    assert [report["part"] for report in reports] == list(range(1, 21))
    assert policy.imitation is policy.optimizer_state is None
    assert reports[-1]["tokens"] >= 3000


def test_adapters_are_taught_and_end_rounded_to_a_file_of_half_the_size(make_policy, tmp_path):
    policy = make_policy()
    save_policy(policy, tmp_path / "weights")
    add_adapters(policy, LoraConfig(rank=4), str(tmp_path / "weights"), None, 0)
    policy, reports = taught(policy, configured(), tmp_path / "part")
    assert reports[-1]["held_out_loss"] < reports[0]["held_out_loss"]
    save_policy(policy, tmp_path / "base")
    part, base = ((tmp_path / name / "adapter_model.safetensors").stat().st_size for name in ("part", "base"))
    assert base < 0.6 * part
    again = load_policy(tmp_path / "base")
    ids = torch.tensor([[11, 12, 13]])
    assert torch.equal(policy.model(input_ids=ids).logits, again.model(input_ids=ids).logits)


def test_a_demonstration_longer_than_a_trajectory_raises_at_the_beginning(make_policy, tmp_path):
    rollout = section("rollout", max_length=100, max_new_tokens=20)
    with pytest.raises(ConfigurationError, match=r"max_length is 100, but demonstration 0 .* takes \d+ tokens"):
        taught(make_policy(), configured(), tmp_path, Expert(length=40), rollout)


def test_a_context_longer_than_the_models_positions_raises(make_policy, tmp_path):
    with pytest.raises(ConfigurationError, match="max_position_embeddings"):
        taught(make_policy(), configured(), tmp_path, rollout=section("rollout", max_length=10**6))


def test_mixed_wording_without_a_second_wording_raises(make_policy, tmp_path):
    with pytest.raises(ConfigurationError, match="rooms has one wording only"):
        taught(make_policy(), configured(mixed_wording=True), tmp_path)
