"""The tiny policy: a Qwen3 with about a million parameters and a word-level tokenizer, trainable on a laptop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_pipeline.config.base_model import TinyConfig
from sg_pipeline.policies.policy import Policy
from sg_pipeline.randomness import derive_seed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM


def build_tiny(config: TinyConfig, tokenizer: PreTrainedTokenizerBase, seed: int) -> Policy:
    """Return a randomly initialised policy in float32 on the CPU; the weights depend only on `seed`.

    torch's global random state is restored afterwards.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    qwen = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        max_position_embeddings=config.max_position,
        tie_word_embeddings=config.tie_word_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        initializer_range=config.initializer_range,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )
    # transformers draws initial weights from the global generator and accepts no other.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "tiny", "weights"))
        model = Qwen3ForCausalLM(qwen)
        if config.compositional_init:
            _compose_instances(model, tokenizer, config.initializer_range)
    return Policy(model=model, tokenizer=tokenizer, name="tiny")


def _compose_instances(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerBase, deviation: float) -> None:
    """Start each instance token as (noun + number) / sqrt(2), in the input and the output embedding.

    Otherwise a thousand unrelated vectors would each have to learn their noun.
    """
    import torch

    from sg_pipeline.policies.tokenizer import instance_parts

    ids = tokenizer.get_vocab()
    instances = sorted(
        (index, ids[parts[0]], int(parts[1]))
        for token, index in ids.items()
        if (parts := instance_parts(token)) and parts[0] in ids
    )
    if not instances:
        return
    index, noun, number = (torch.tensor(column) for column in zip(*instances, strict=True))
    tables = [model.model.embed_tokens.weight]
    if not model.config.tie_word_embeddings:
        tables.append(model.lm_head.weight)
    with torch.no_grad():
        for table in tables:
            numbers = torch.randn(int(number.max()) + 1, table.shape[1]) * deviation
            table[index] = (table[noun] + numbers[number]) / 2**0.5
