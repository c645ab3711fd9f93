"""The shape of a causal language model, from its configuration alone.

Parameters are counted on a model that is built on torch's meta device: every weight has its shape and none its memory,
so the count is transformers' own and no formula's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.errors import CheckpointError, ConfigurationError
from sg_pipeline.planning.published import PUBLISHED

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from sg_pipeline.config.base_model import BaseModelConfig

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number, by the name of its type."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What the arithmetic knows of a model.

    Attributes:
        name: folder or hub id.
        source: where the configuration was read.
        dtype: that of the checkpoint's weights.
        layers, hidden, heads, kv_heads, head_dim, intermediate, vocab: as in the configuration.
        qk_norm: queries and keys are normalised (Qwen3).
        parameters: all weights, tied ones once.
        layer: weights of one decoder layer.
        linears: (inputs, outputs) -> how many linear maps of this size the decoder layers hold.
        tied: input and output embedding are one table.
    """

    name: str
    source: str
    dtype: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    qk_norm: bool
    parameters: int
    layer: int
    linears: tuple[tuple[tuple[int, int], int], ...]
    tied: bool

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of all key heads together; that of the values as well."""
        return self.kv_heads * self.head_dim

    @property
    def matrix_parameters(self) -> int:
        """Weights of the decoder layers' linear maps: those that every token is multiplied with."""
        return sum(count * inputs * outputs for (inputs, outputs), count in self.linears)

    @property
    def head(self) -> int:
        """Weights of the output layer."""
        return self.vocab * self.hidden

    def adapter(self, rank: int) -> int:
        """Return the weights of LoRA adapters of `rank` on every linear map of the decoder layers (Hu et al. 2021)."""
        return sum(count * rank * (inputs + outputs) for (inputs, outputs), count in self.linears)


def read_shape(config: BaseModelConfig, project: Path) -> ModelShape:
    """Return the shape of the base policy.

    Args:
        config: names it. A folder is read, else the built-in table, else the local Hugging Face cache.
        project: what a relative path starts from.

    Raises:
        ConfigurationError: a warm start, which has no checkpoint yet; or a shape that is not known here.
        CheckpointError: the configuration cannot be read, or is none of a causal language model.
    """
    if config.source == "warm_start":
        raise ConfigurationError(
            "base_model.source is 'warm_start', but a plan needs the configuration of a model that exists: make it "
            "first with --pipeline=base_model and plan with base_model.source=checkpoint and its folder as "
            "base_model.path"
        )
    folder = project / config.path
    if (folder / "config.json").is_file():
        return shape_of(_read(str(folder)), config.path, f"{config.path}/config.json")
    if config.source == "checkpoint" or folder.is_dir():
        raise CheckpointError(f"base_model.path is '{config.path}', but there is no config.json in that folder")
    name = config.path.rpartition("/")[2]
    if name in PUBLISHED:
        return shape_of(_published(name), config.path, "the built-in table of published configurations")
    try:
        return shape_of(_read(config.path, config.revision), config.path, "the local Hugging Face cache")
    except CheckpointError:
        raise ConfigurationError(
            f"base_model.path is '{config.path}', whose shape is not known here and planning downloads nothing: give a "
            f"folder with its config.json, or one of {', '.join(PUBLISHED)}"
        ) from None


def shape_of(config: PretrainedConfig, name: str, source: str) -> ModelShape:
    """Return the shape that a transformers configuration describes.

    Raises:
        CheckpointError: it is none of a causal language model of dense decoder layers.
    """
    import torch
    from transformers import AutoModelForCausalLM

    text = config.get_text_config()
    try:
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config)
        layers = model.base_model.layers
        sizes = Counter(
            (module.in_features, module.out_features)
            for module in layers.modules()
            if isinstance(module, torch.nn.Linear)
        )
        heads = int(text.num_attention_heads)
        if not sizes or getattr(text, "num_experts", None) or getattr(text, "num_local_experts", None):
            raise ValueError("its layers are not dense")
        return ModelShape(
            name=name,
            source=source,
            dtype=str(getattr(text, "dtype", None) or "float32").removeprefix("torch."),
            layers=len(layers),
            hidden=int(text.hidden_size),
            heads=heads,
            kv_heads=int(getattr(text, "num_key_value_heads", None) or heads),
            head_dim=int(getattr(text, "head_dim", None) or text.hidden_size // heads),
            intermediate=int(text.intermediate_size),
            vocab=int(model.get_output_embeddings().out_features),
            qk_norm=any(module_name.endswith("q_norm") for module_name, _ in layers.named_modules()),
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            layer=sum(parameter.numel() for parameter in layers[0].parameters()),
            linears=tuple(sorted(sizes.items())),
            tied=model.get_output_embeddings().weight is model.get_input_embeddings().weight,
        )
    except (AttributeError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"the model '{name}' ({source}) of type '{config.model_type}' cannot be planned for: only causal language "
            f"models of dense decoder layers can ({' '.join(str(error).split())[:200]})"
        ) from error


def _published(name: str) -> PretrainedConfig:
    from transformers import AutoConfig

    values = dict(PUBLISHED[name])
    return AutoConfig.for_model(values.pop("model_type"), **values)


def _read(path: str, revision: str | None = None) -> PretrainedConfig:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path, revision=revision, local_files_only=True)
    except Exception as error:  # transformers and huggingface_hub raise every kind
        line = " ".join(str(error).split())[:200].rstrip(".")
        raise CheckpointError(f"the configuration of the model '{path}' cannot be read: {line}") from error
