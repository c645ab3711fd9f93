import pytest
import torch
from pydantic import ValidationError

from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.policies.pretrained import load_pretrained
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.policies.tokenizer import build_tokenizer

SMALL = {"hidden_size": 32, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 8, "intermediate_size": 48}


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(alfworld_vocabulary())


def weights(policy):
    return torch.cat([parameter.detach().flatten() for parameter in policy.model.parameters()])


def test_build_tiny_depends_only_on_the_seed_and_keeps_the_global_state(tokenizer):
    before = torch.get_rng_state()
    first = build_tiny(TinyConfig(**SMALL), tokenizer, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    second = build_tiny(TinyConfig(**SMALL), tokenizer, seed=1)
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(build_tiny(TinyConfig(**SMALL), tokenizer, seed=2)))


def test_build_tiny_default_has_about_a_million_float32_parameters(tokenizer):
    policy = build_tiny(TinyConfig(), tokenizer, seed=0)
    assert 0.5e6 < policy.parameter_count() < 1.5e6
    assert policy.model.dtype == torch.float32
    assert policy.model.config.model_type == "qwen3"
    assert (policy.step, policy.optimizer_state, policy.name) == (0, None, "tiny")


@pytest.mark.parametrize("tied", [True, False])
def test_build_tiny_instances_start_as_noun_plus_number(tokenizer, tied):
    policy = build_tiny(TinyConfig(**SMALL, tie_word_embeddings=tied), tokenizer, seed=0)
    ids = tokenizer.get_vocab()
    for table in (policy.model.get_input_embeddings().weight, policy.model.get_output_embeddings().weight):
        mug2, shelf2, mug3, noun = (table[ids[token]] for token in ("mug 2", "shelf 2", "mug 3", "mug"))
        # The parts of a sum cancel out: mug 2 - shelf 2 = (mug - shelf) / sqrt(2).
        assert torch.allclose(mug2 - shelf2, (noun - table[ids["shelf"]]) / 2**0.5, atol=1e-6)
        assert torch.allclose(mug2 - mug3, shelf2 - table[ids["shelf 3"]], atol=1e-6)
        assert table.std().item() == pytest.approx(0.02, rel=0.2)
    plain = build_tiny(TinyConfig(**SMALL, compositional_init=False), tokenizer, seed=0)
    table = plain.model.get_input_embeddings().weight
    assert not torch.allclose(
        table[ids["mug 2"]] - table[ids["mug 3"]], table[ids["shelf 2"]] - table[ids["shelf 3"]], atol=1e-3
    )


def test_build_tiny_tied_embeddings_have_no_output_matrix(tokenizer):
    tied = build_tiny(TinyConfig(**SMALL, tie_word_embeddings=True), tokenizer, seed=0)
    untied = build_tiny(TinyConfig(**SMALL), tokenizer, seed=0)
    assert untied.parameter_count() - tied.parameter_count() == len(tokenizer) * 32


def test_tiny_policy_loads_with_equal_weights(tokenizer, tmp_path):
    policy = build_tiny(TinyConfig(**SMALL), tokenizer, seed=3)
    policy.model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_pretrained(str(tmp_path))
    assert torch.equal(weights(policy), weights(loaded))
    assert loaded.tokenizer.get_vocab() == tokenizer.get_vocab()


def test_tiny_config_impossible_sizes_raise():
    with pytest.raises(ValidationError, match=r"heads \(4\) must be a multiple of kv_heads \(3\)"):
        TinyConfig(kv_heads=3)
    with pytest.raises(ValidationError):
        TinyConfig(layers=0)
    with pytest.raises(ValidationError):
        TinyConfig(head_dim=7)
