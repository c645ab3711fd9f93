"""A guide is loaded whole and frozen, or refused in one sentence."""

import pytest

from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.errors import CheckpointError
from sg_pipeline.policies.checkpoint import save_policy
from sg_pipeline.policies.guide import load_guide
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.policies.tokenizer import build_tokenizer

SIZES = TinyConfig(hidden_size=16, layers=1, heads=1, head_dim=16, intermediate_size=16)


def policy(*words):
    return build_tiny(SIZES, build_tokenizer(alfworld_vocabulary(words)), 0)


def test_load_guide_is_frozen_without_optimizer_state(tmp_path):
    saved = policy()
    saved.optimizer_state = {"x": next(saved.model.parameters()).detach()}
    save_policy(saved, tmp_path / "guide")
    guide = load_guide(tmp_path / "guide", policy())
    assert guide.optimizer_state is None
    assert not any(weight.requires_grad for weight in guide.model.parameters())


def test_load_guide_with_another_tokenizer_raises(tmp_path):
    save_policy(policy("aardvark"), tmp_path / "guide")
    with pytest.raises(
        CheckpointError, match=r"has another tokenizer than the policy \(\d+ tokens; .* same base model"
    ):
        load_guide(tmp_path / "guide", policy())


def test_load_guide_without_a_checkpoint_raises(tmp_path):
    with pytest.raises(CheckpointError, match="There is no policy checkpoint in"):
        load_guide(tmp_path, policy())
