"""The memory formula, compared with published counts and with tensors that really exist."""

import json
from pathlib import Path

import pytest
from configured import load

from sg_pipeline.config.loader import section
from sg_pipeline.config.tree import Parameters
from sg_pipeline.errors import CheckpointError, ConfigurationError
from sg_pipeline.planning.memory import CACHE, GIB, empty_model, free_memory, needed_memory
from sg_pipeline.policies.checkpoint import FORMAT_VERSION, MANIFEST

QWEN3_1_7B = {
    "model_type": "qwen3", "head_dim": 128, "num_key_value_heads": 8, "vocab_size": 151_936, "hidden_size": 2048,
    "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16, "tie_word_embeddings": True,
    "dtype": "bfloat16",
}  # fmt: skip
SMALL = {
    "model_type": "qwen3", "vocab_size": 500, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3,
    "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": False,
    "dtype": "float32",
}  # fmt: skip


def model_folder(path: Path, values: dict) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(values))
    return path


def parameters(folder: Path, env: str = "base", **sections: dict) -> Parameters:
    base = {"source": "pretrained", "path": str(folder), **sections.pop("base_model", {})}
    return load(env, base_model=base, **sections)


def real_model(folder: Path):
    from transformers import AutoConfig, AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))


def test_paper_setting_has_published_parameter_count(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    found = needed_memory(parameters(model_folder(tmp_path / "qwen", QWEN3_1_7B), "paper"), tmp_path)
    count = 1_720_574_976
    assert (found["parameters"], found["trained"], found["dtype"]) == (count, count, "float32")
    assert found["gib"]["weights"] == found["gib"]["gradients"] == count * 4 / GIB
    assert found["gib"]["AdamW's moments"] == count * 8 / GIB
    assert count * 2 < found["gib"]["reference"] * GIB < count * 4  # bfloat16, but for the tied embedding
    # 128 episodes of 16,384 tokens; 2 x 28 layers x 8 heads x 128 numbers of 2 bytes, and one table while it grows
    assert (found["cached_episodes"], found["cached_tokens"]) == (128, 16_384)
    assert found["gib"][CACHE] == 128 * 16_384 * (2 * 28 + 1) * 8 * 128 * 2 / GIB


def test_training_parts_equal_the_tensors_of_a_real_step(tmp_path) -> None:
    import torch

    folder = model_folder(tmp_path / "small", SMALL)
    model = real_model(folder)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    moments = [t for state in optimizer.state.values() for t in state.values() if t.numel() > 1]
    weights = list(model.parameters())
    tensors = {"weights": weights, "gradients": [weight.grad for weight in weights], "AdamW's moments": moments}
    found = needed_memory(parameters(folder), tmp_path)
    for part, there in tensors.items():
        assert round(found["gib"][part] * GIB) == sum(tensor.nbytes for tensor in there), part
    assert round(found["training_gib"] * GIB) == sum(tensor.nbytes for there in tensors.values() for tensor in there)


@pytest.mark.parametrize("modules", ["all-linear", ("q_proj", "v_proj")])
def test_adapters_are_counted_as_peft_counts_them(tmp_path, modules) -> None:
    from peft import LoraConfig, get_peft_model

    folder = model_folder(tmp_path / "small", SMALL)
    targets = modules if isinstance(modules, str) else list(modules)
    peft = get_peft_model(real_model(folder), LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    trained, total = peft.get_nb_trainable_parameters()
    lora = {"rank": 4, "target_modules": modules}
    found = needed_memory(parameters(folder, base_model={"lora": lora}, train={"beta": 0.1}), tmp_path)
    assert found["trained"] == trained
    assert round(found["gib"]["weights"] * GIB) == 4 * total
    assert round(found["gib"]["AdamW's moments"] * GIB) == 8 * trained
    assert "reference" not in found["gib"]  # it is the policy without its adapters


def test_guide_and_shards_are_counted(tmp_path) -> None:
    folder = model_folder(tmp_path / "small", SMALL)
    guided = needed_memory(parameters(folder, rollout={"guide": str(folder)}), tmp_path)["gib"]
    assert guided["guide"] == guided["weights"]
    shared = {"ranks": 4, "strategy": "fsdp2"}
    sharded = needed_memory(parameters(folder, distributed=shared), tmp_path)
    assert sharded["gib"]["weights"] == guided["weights"]
    assert sharded["gib"]["gradients"] == pytest.approx(guided["gradients"] / 4)
    assert sharded["cached_episodes"] == 16  # two of eight groups


@pytest.mark.parametrize(("limit", "episodes"), [({"rows": 20}, 16), ({"rows": 4}, 8), ({"cache_gib": 0.1}, 56)])
def test_cache_is_of_whole_groups_within_the_limit(tmp_path, limit, episodes) -> None:
    folder = model_folder(tmp_path / "small", SMALL)
    assert needed_memory(parameters(folder, rollout=limit), tmp_path)["cached_episodes"] == episodes


def test_a_checkpoint_of_adapters_is_planned_by_the_configuration_of_its_base(tmp_path) -> None:
    base = model_folder(tmp_path / "small", SMALL)
    (tmp_path / "adapters").mkdir()
    said = {"path": "../small", "revision": None, "dtype": "bfloat16"}
    own = {"step": 0, "name": "of a test", "parameters": 1, "files": {}, "notes": {}}
    manifest = {"format_version": FORMAT_VERSION, **own, "adapter": said}
    (tmp_path / "adapters" / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    read = empty_model(section("base_model", source="checkpoint", path="adapters"), tmp_path)
    whole = empty_model(section("base_model", source="pretrained", path=str(base), dtype="bfloat16"), tmp_path)
    assert read.num_parameters() == whole.num_parameters()
    assert read.dtype == whole.dtype


def test_free_memory_of_cpu_is_positive_and_unknown_without_gpu(monkeypatch) -> None:
    import torch

    assert 0 < free_memory("cpu") < 1e5
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert free_memory("cuda") is None


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"source": "warm_start"}, ConfigurationError, "make it first with --pipeline=base_model"),
        ({"source": "checkpoint", "path": "missing"}, CheckpointError, "that folder has no config.json"),
        ({"source": "pretrained", "path": "missing"}, CheckpointError, "'missing' cannot be read"),
        ({"source": "pretrained", "path": "half"}, CheckpointError, "'half' cannot be read"),
        ({"source": "checkpoint", "path": "other"}, CheckpointError, "'other' cannot be read"),
    ],
)
def test_missing_or_broken_configuration_raises(tmp_path, config, error, message) -> None:
    for name, content in {"half": '{"model_type": "qwen3", "hidden_size": ', "other": '{"model_type": "vit"}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
    with pytest.raises(error, match=message):
        empty_model(section("base_model", **config), tmp_path)
