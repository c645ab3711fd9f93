"""The model's shape: counted, not computed by a formula."""

import json
from pathlib import Path

import pytest
from planned import published, small_config

from sg_pipeline.config.loader import section
from sg_pipeline.errors import CheckpointError, ConfigurationError
from sg_pipeline.planning.shape import read_shape, shape_of

COUNTS = {  # of the published weights
    "Qwen3-0.6B": 596_049_920,
    "Qwen3-1.7B": 1_720_574_976,
    "Qwen3-4B": 4_022_468_096,
    "Qwen3-8B": 8_190_735_360,
    "Qwen2.5-7B-Instruct": 7_615_616_512,
}


@pytest.mark.parametrize("name", COUNTS)
def test_published_models_have_their_published_counts(name):
    assert published(name).parameters == COUNTS[name]


@pytest.mark.parametrize(("kind", "tied"), [("qwen3", True), ("qwen2", False), ("llama", False)])
def test_counts_are_those_of_the_model_with_weights(kind, tied):
    from transformers import AutoModelForCausalLM

    config = small_config(kind, tie_word_embeddings=tied)
    shape, model = shape_of(config, kind, "test"), AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    assert shape.layer == sum(weight.numel() for weight in model.model.layers[0].parameters())
    assert shape.tied is tied
    assert shape.qk_norm is (kind == "qwen3")


def test_adapters_have_as_many_weights_as_peft_makes():
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = small_config()
    adapted = get_peft_model(
        AutoModelForCausalLM.from_config(config), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    made = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert shape_of(config, "small", "test").adapter(4) == made


def test_a_folder_is_read_before_the_table(tmp_path):
    folder = tmp_path / "Qwen3-1.7B"
    small_config().save_pretrained(folder)
    shape = read_shape(section("base_model", source="pretrained", path="Qwen3-1.7B"), tmp_path)
    assert (shape.hidden, shape.dtype, shape.source) == (64, "float32", "Qwen3-1.7B/config.json")
    assert read_shape(section("base_model", source="pretrained", path="Qwen/Qwen3-4B"), tmp_path).parameters > 4e9


@pytest.mark.parametrize(
    ("config", "error", "told"),
    [
        ({"source": "pretrained", "path": "nobody/knows"}, ConfigurationError, "whose shape is not known here"),
        ({"source": "warm_start"}, ConfigurationError, "make it first with --pipeline=base_model"),
        ({"source": "checkpoint", "path": "missing"}, CheckpointError, "no config.json in that folder"),
    ],
)
def test_what_is_not_known_is_told(tmp_path, config, error, told):
    with pytest.raises(error, match=told):
        read_shape(section("base_model", **config), tmp_path)


@pytest.mark.parametrize("content", ['{"model_type": "qwen3", "hidden_size": ', '{"model_type": "bert"}', "[]"])
def test_a_broken_configuration_is_told(tmp_path: Path, content: str):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config|cannot be (read|planned)"):
        read_shape(section("base_model", source="checkpoint", path=str(tmp_path)), Path())


def test_layers_of_experts_are_refused():
    config = {"model_type": "qwen3_moe", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    from transformers import AutoConfig

    made = AutoConfig.for_model(**json.loads(json.dumps({**config, "num_experts": 4, "vocab_size": 100})))
    with pytest.raises(CheckpointError, match="not dense"):
        shape_of(made, "experts", "test")
