"""Loading: a small real checkpoint made here, then everything that can be wrong with one."""

import shutil

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

from sg_pipeline.errors import CheckpointError
from sg_pipeline.policies.pretrained import load_pretrained

CHATML = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"
)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["go to shelf 1", "take mug 1 from shelf 1"], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML
    )
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "model")


def message_of(*arguments, **options):
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(*map(str, arguments), **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_load_pretrained_loads_a_checkpoint(folder):
    policy = load_pretrained(str(folder))
    assert policy.model.dtype == torch.float32
    assert policy.tokenizer.chat_template == CHATML
    assert (policy.name, policy.step, policy.optimizer_state) == (str(folder), 0, None)
    assert load_pretrained(str(folder), dtype="bfloat16").model.dtype == torch.bfloat16


def test_load_pretrained_mixture_of_experts_disables_the_router_loss(folder):
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    experts = {"num_key_value_heads": 1, "num_local_experts": 2, "output_router_logits": True}
    MixtralForCausalLM(MixtralConfig(vocab_size=300, **size, **experts)).save_pretrained(folder)
    policy = load_pretrained(str(folder))
    assert not policy.model.config.output_router_logits
    # It would come with the router's logits, of which the sampler's mask knows nothing.
    assert policy.model(input_ids=torch.tensor([[5, 6]])).aux_loss is None


def test_load_pretrained_path_without_model_raises(tmp_path):
    assert "does not exist" in message_of(tmp_path / "missing")
    assert "does not exist" in message_of("./missing")
    file = tmp_path / "file"
    file.write_text("x")
    assert "is a file" in message_of(file)
    assert "no config.json" in message_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no weights"),
        ("tokenizer.json", "no tokenizer"),
        ("chat_template.jinja", "no chat template"),
    ],
)
def test_load_pretrained_missing_file_raises(folder, name, message):
    (folder / name).unlink()
    assert message in message_of(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{", "the config.json in folder"),
        ("config.json", b"\xff\xfe", "the config.json in folder"),
        ("config.json", b'{"model_type": "x", "auto_map": {"AutoConfig": "code.C"}}', "needs custom code"),
        ("config.json", b'{"model_type": "no_such_model"}', "cannot be loaded"),
        ("tokenizer.json", b"{}", "the tokenizer in folder"),
        ("model.safetensors", b"", "the model in folder"),
        ("model.safetensors", b"not safetensors at all", "the model in folder"),
    ],
)
def test_load_pretrained_corrupt_file_raises(folder, name, content, message):
    (folder / name).write_bytes(content)
    text = message_of(folder)
    assert message in text
    assert str(folder) in text


def test_load_pretrained_truncated_weights_raise(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "the model in folder" in message_of(folder)


def test_load_pretrained_weights_of_another_architecture_raise(folder):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 16', '"hidden_size": 32'))
    assert "21 weights of other shapes than its config.json says (first: lm_head.weight, (278, 16) instead" in (
        message_of(folder)
    )


@pytest.mark.parametrize(
    "model",
    [
        T5ForConditionalGeneration(T5Config(vocab_size=278, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)),
        BertForMaskedLM(BertConfig(vocab_size=278, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)),
        ViTForImageClassification(ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)),
    ],
)
def test_load_pretrained_model_that_is_not_causal_raises(folder, model):
    model.save_pretrained(folder)
    assert f"({model.config.model_type}, {type(model).__name__}) is not a causal language model" in message_of(folder)


def test_load_pretrained_missing_weights_raise(folder):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    assert "lacks 9 of its weights (first: model.layers.2." in message_of(folder)


def test_load_pretrained_more_tokens_than_embeddings_raises(folder):
    small = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    LlamaForCausalLM(small).save_pretrained(folder)
    assert "do not belong together" in message_of(folder)


def test_load_pretrained_invalid_eos_token_id_raises(folder):
    (folder / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    assert "has '</s>' as eos_token_id" in message_of(folder)


def test_load_pretrained_unknown_dtype_or_device_raises(folder):
    assert "dtype 'float8' is not one of auto, float32" in message_of(folder, dtype="float8")
    assert "device 'abacus'" in message_of(folder, device="abacus")


def test_load_pretrained_downloads_nothing_by_default(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("tried to reach the network"))
    assert "downloads are off" in message_of("nobody/no-such-model-here")
