"""Configurations of models that cannot be read here, because planning downloads nothing.

Each is what the model's public `config.json` on huggingface.co says of its shape; the counts of parameters that follow
are those of its published weights (a test compares them).
"""

from typing import Any

_QWEN3: dict[str, Any] = {
    "model_type": "qwen3", "head_dim": 128, "num_key_value_heads": 8, "vocab_size": 151_936,
    "max_position_embeddings": 40_960, "dtype": "bfloat16",
}  # fmt: skip

PUBLISHED: dict[str, dict[str, Any]] = {
    "Qwen3-0.6B": {
        **_QWEN3, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
        "num_attention_heads": 16, "tie_word_embeddings": True,
    },
    "Qwen3-1.7B": {
        **_QWEN3, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28,
        "num_attention_heads": 16, "tie_word_embeddings": True,
    },
    "Qwen3-4B": {
        **_QWEN3, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
        "num_attention_heads": 32, "tie_word_embeddings": True,
    },
    "Qwen3-8B": {
        **_QWEN3, "hidden_size": 4096, "intermediate_size": 12_288, "num_hidden_layers": 36,
        "num_attention_heads": 32, "tie_word_embeddings": False,
    },
    "Qwen2.5-7B-Instruct": {
        "model_type": "qwen2", "num_key_value_heads": 4, "vocab_size": 152_064, "max_position_embeddings": 32_768,
        "dtype": "bfloat16", "hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "tie_word_embeddings": False,
    },
}  # fmt: skip
"""By the last part of the hub id."""
