"""Checkpoints: exact, whole or absent, and readable by any user of transformers."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.environments.alfworld.vocabulary import alfworld_vocabulary
from sg_pipeline.errors import CheckpointError
from sg_pipeline.policies import checkpoint
from sg_pipeline.policies.checkpoint import checkpoint_exists, load_policy, read_manifest, save_policy
from sg_pipeline.policies.optimizer_files import OPTIMIZER
from sg_pipeline.policies.pretrained import load_pretrained
from sg_pipeline.policies.tiny import build_tiny
from sg_pipeline.policies.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(alfworld_vocabulary())


@pytest.fixture
def policy(tokenizer):
    made = build_tiny(TinyConfig(hidden_size=16, layers=1, heads=1, head_dim=16, intermediate_size=16), tokenizer, 1)
    made.step, made.name = 7, "of a test"
    made.optimizer_state = {
        f"{slot}/{name}": torch.randn_like(parameter)
        for name, parameter in made.model.named_parameters()
        for slot in ("exp_avg", "exp_avg_sq")
    } | {"step/model.norm.weight": torch.tensor(3.0)}
    return made


def assert_same_tensors(one, other):
    assert sorted(one) == sorted(other)
    for key, value in one.items():
        assert value.dtype == other[key].dtype
        assert torch.equal(value, other[key]), key


def test_checkpoint_round_trip_is_exact(policy, tmp_path):
    save_policy(policy, tmp_path / "a" / "policy", notes={"tokens": 5})
    loaded = load_policy(tmp_path / "a" / "policy")
    assert (loaded.step, loaded.name) == (7, "of a test")
    assert_same_tensors(policy.model.state_dict(), loaded.model.state_dict())
    assert_same_tensors(policy.optimizer_state, loaded.optimizer_state)
    assert loaded.tokenizer.get_vocab() == policy.tokenizer.get_vocab()
    assert loaded.tokenizer.chat_template == policy.tokenizer.chat_template
    assert read_manifest(tmp_path / "a" / "policy")["notes"] == {"tokens": 5}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["policy"]


@pytest.mark.parametrize("comment", ["", "x" * 8, "x" * 24])
def test_weights_lie_where_torch_puts_them_whatever_the_length_of_the_files_header(policy, tmp_path, comment):
    save_policy(policy, tmp_path / "policy")
    file = tmp_path / "policy" / "model.safetensors"
    save_file(load_file(file), file, {"format": "pt", "comment": comment})
    loaded = load_pretrained(str(tmp_path / "policy"))
    assert {weight.data_ptr() % 64 for weight in loaded.model.parameters()} == {0}
    assert_same_tensors(policy.model.state_dict(), loaded.model.state_dict())


def test_checkpoint_of_half_precision_and_tied_embeddings_is_exact(tokenizer, tmp_path):
    config = TinyConfig(hidden_size=16, layers=1, heads=1, head_dim=16, intermediate_size=16, tie_word_embeddings=True)
    policy = build_tiny(config, tokenizer, 1)
    policy.model.to(torch.bfloat16)
    save_policy(policy, tmp_path / "policy")
    loaded = load_policy(tmp_path / "policy")
    assert_same_tensors(policy.model.state_dict(), loaded.model.state_dict())
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight
    assert loaded.optimizer_state is None


def test_checkpoint_is_readable_by_transformers(policy, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    save_policy(policy, tmp_path / "policy")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "policy")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "policy")
    ids = torch.tensor([tokenizer.encode("<action>go to mug 1</action>")])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, policy.model.eval()(ids).logits)


def test_checkpoint_large_weights_are_sharded_for_transformers(policy, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "policy"
    save_policy(policy, folder, max_shard_size="40KB")
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    for kind in ("model", "optimizer"):
        own = [name for name in names if name.startswith(kind)]
        assert len(own) > 1
        assert own == [f"{kind}-{i:05d}-of-{len(own):05d}.safetensors" for i in range(1, len(own) + 1)]
    assert (folder / "model.safetensors.index.json").exists()
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert_same_tensors(policy.model.state_dict(), model.state_dict())
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == policy.tokenizer.get_vocab()
    loaded = load_policy(folder)
    assert_same_tensors(policy.model.state_dict(), loaded.model.state_dict())
    assert_same_tensors(policy.optimizer_state, loaded.optimizer_state)
    (folder / names[-1]).unlink()
    with pytest.raises(CheckpointError, match=rf"'{names[-1]}' is missing"):
        load_policy(folder)


def test_manifest_omits_the_model_card(policy, tmp_path):
    save_policy(policy, tmp_path / "policy")
    (tmp_path / "policy" / checkpoint.CARD).write_text("written later")
    assert load_policy(tmp_path / "policy").step == 7
    assert checkpoint.CARD not in read_manifest(tmp_path / "policy")["files"]


def test_save_policy_replaces_an_older_checkpoint(policy, tmp_path):
    folder = tmp_path / "policy"
    save_policy(policy, folder)
    (folder / "stray.txt").write_text("left over")
    policy.step, policy.optimizer_state = 8, None
    save_policy(policy, folder)
    assert load_policy(folder).step == 8
    assert not (folder / "stray.txt").exists()
    assert not (folder / OPTIMIZER).exists()


@pytest.mark.parametrize("moment", ["writing", "between the renames", "before clearing up"])
def test_save_policy_crash_leaves_the_old_or_the_new_checkpoint(policy, tmp_path, monkeypatch, moment):
    folder = tmp_path / "policy"
    save_policy(policy, folder)
    policy.step = 8

    class Crash(BaseException):
        pass

    def crash(*_, **__):
        raise Crash

    if moment == "writing":
        monkeypatch.setattr(checkpoint, "_digest", crash)
    elif moment == "between the renames":
        rename = type(folder).rename
        monkeypatch.setattr(
            type(folder), "rename", lambda self, to: crash() if self.name.endswith(".new") else rename(self, to)
        )
    else:
        keep = shutil.rmtree
        monkeypatch.setattr(
            shutil,
            "rmtree",
            lambda path, **k: crash() if str(path).endswith(".old") and path.exists() else keep(path, **k),
        )
    with pytest.raises(Crash):
        save_policy(policy, folder)
    monkeypatch.undo()
    assert checkpoint_exists(folder)
    assert load_policy(folder).step == (7 if moment == "writing" else 8)
    save_policy(policy, folder)
    assert load_policy(folder).step == 8
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_load_policy_damaged_checkpoint_raises(policy, tmp_path):
    folder = tmp_path / "policy"
    assert not checkpoint_exists(folder)
    with pytest.raises(CheckpointError, match=r"no policy checkpoint in .*base_model\.source=pretrained"):
        load_policy(folder)

    def broken(change):
        save_policy(policy, folder)
        change()
        with pytest.raises(CheckpointError) as caught:
            load_policy(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    weights, manifest = folder / "model.safetensors", folder / "policy.json"
    assert "'model.safetensors' is missing" in broken(weights.unlink)
    message = broken(lambda: weights.write_bytes(weights.read_bytes()[:-100]))
    assert "model.safetensors' is damaged" in message
    assert "sha256" in message

    def edit(**changes):
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))

    assert "format_version 99, but this program reads 1" in broken(lambda: edit(format_version=99))
    assert "as 'step', but it must be of type int" in broken(lambda: edit(step="seven"))
    assert "not readable as JSON" in broken(lambda: manifest.write_text("{"))
    assert "format_version None" in broken(lambda: manifest.write_text("[]"))
