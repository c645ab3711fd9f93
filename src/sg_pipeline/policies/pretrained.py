"""Pretrained policies: any causal language model with a chat template, by folder, GGUF file or hub id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.errors import CheckpointError
from sg_pipeline.policies.gguf import dequantised, gguf_file
from sg_pipeline.policies.policy import Policy

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")

ALIGNMENT = 64
"""Bytes: where torch begins a tensor on CPU."""


def load_pretrained(
    path_or_id: str,
    dtype: str = "auto",
    revision: str | None = None,
    device: str = "cpu",
    local_only: bool = True,
) -> Policy:
    """Load a causal language model and its tokenizer.

    Args:
        path_or_id: a folder with a transformers model, a GGUF file (see `policies.gguf`), or a hub id such as
            "Qwen/Qwen3-1.7B".
        dtype: type of the weights, one of `DTYPES`; "auto": that of the checkpoint.
        revision: branch, tag or commit of the hub repository.
        device: of the model, e.g. "cpu" or "cuda:0".
        local_only: use only local files; nothing is downloaded.

    Raises:
        CheckpointError: a file is missing or invalid.
    """
    weights_type = _dtype(dtype)
    name = path_or_id
    if (file := gguf_file(path_or_id)) is not None:
        path_or_id, revision = str(dequantised(file)), None
    _check_folder(path_or_id)
    options: dict[str, Any] = {"revision": revision, "local_files_only": local_only}
    _check_config(path_or_id, local_only, options)
    tokenizer = _load_tokenizer(path_or_id, local_only, options)
    if not tokenizer.chat_template:
        raise CheckpointError(
            f"the tokenizer of '{name}' has no chat template (chat_template in tokenizer_config.json or "
            "chat_template.jinja); use a chat model, or add one."
        )
    model = _load_model(path_or_id, weights_type, local_only, options)
    shape = model.config.get_text_config()
    if getattr(shape, "output_router_logits", False):
        shape.output_router_logits = False  # for the router's auxiliary loss, which is off in training
    for ends in (getattr(source, "eos_token_id", None) for source in (model.generation_config, shape)):
        if not all(isinstance(end, int) for end in (ends if isinstance(ends, list | tuple) else (ends or 0,))):
            raise CheckpointError(
                f"the model '{name}' has {ends!r} as eos_token_id (generation_config.json or config.json), but "
                "it must be a token id or a list of them."
            )
    align(model)
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"the model '{name}' cannot be moved to device '{device}': {_line(error)}.") from error
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        raise CheckpointError(
            f"the tokenizer of '{name}' has {len(tokenizer)} tokens, its model only "
            f"{model.get_input_embeddings().weight.shape[0]} embeddings; they do not belong together."
        )
    return Policy(model=model, tokenizer=tokenizer, name=name)


def align(model: torch.nn.Module) -> None:
    """Move weights to where torch would have put them: the last bits of a product depend on it.

    Safetensors maps them from the file, at whatever address the length of its header gives; once trained by several
    processes they are elsewhere, and a resumed run would differ from an uninterrupted one.
    """
    for weight in model.parameters():
        if weight.data_ptr() % ALIGNMENT:
            weight.data = weight.data.clone()


def _dtype(name: str) -> torch.dtype | str:
    import torch

    if name not in DTYPES:
        raise CheckpointError(f"dtype '{name}' is not one of {', '.join(DTYPES)}.")
    return name if name == "auto" else getattr(torch, name)


def _check_folder(path_or_id: str) -> None:
    """Report a problem with a folder in one sentence, before transformers reports it in ten lines."""
    path = Path(path_or_id)
    if path.is_file():
        raise CheckpointError(
            f"model path '{path_or_id}' is a file; it must be a folder with config.json and weights, or a GGUF file "
            f"(*.gguf)."
        )
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise CheckpointError(
                f"model folder '{path_or_id}' has no config.json; it is not a transformers checkpoint."
            )
        if not any(path.glob("*.safetensors")) and not any(path.glob("*.bin")):
            raise CheckpointError(f"model folder '{path_or_id}' has no weights (*.safetensors); it is incomplete.")
        if not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
            raise CheckpointError(
                f"model folder '{path_or_id}' has no tokenizer (tokenizer.json); save the tokenizer with the model."
            )
    elif path.is_absolute() or path_or_id.startswith((".", "~")) or path_or_id.count("/") > 1 or not path_or_id:
        raise CheckpointError(
            f"model path '{path_or_id}' does not exist; give a model folder or a hub id 'owner/name'."
        )


def _check_config(path_or_id: str, local_only: bool, options: dict[str, Any]) -> None:
    """Refuse models that are not causal language models."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    try:
        config = AutoConfig.from_pretrained(path_or_id, **options)
    except Exception as error:  # transformers, tokenizers and huggingface_hub raise all kinds, including bare Exception
        raise _explained(path_or_id, "config.json", local_only, error) from error
    names = ", ".join(config.architectures or ()) or "unknown architecture"
    # An encoder such as BERT also has a class for language models, but attends to later tokens.
    encodes = config.is_encoder_decoder or getattr(config, "is_decoder", True) is False
    if encodes or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise CheckpointError(
            f"the model '{path_or_id}' ({config.model_type}, {names}) is not a causal language model; use a "
            "decoder-only model such as Qwen3 or Llama."
        )


def _load_tokenizer(path_or_id: str, local_only: bool, options: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path_or_id, **options)
    except Exception as error:
        raise _explained(path_or_id, "tokenizer", local_only, error) from error


def _load_model(path_or_id: str, dtype: torch.dtype | str, local_only: bool, options: dict[str, Any]) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path_or_id, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    except Exception as error:
        raise _explained(path_or_id, "model", local_only, error) from error
    # transformers would continue with random weights in their place.
    model, report = loaded
    if mismatched := sorted(report["mismatched_keys"]):
        name, found, wanted = mismatched[0]
        raise CheckpointError(
            f"the model '{path_or_id}' has {len(mismatched)} weights of other shapes than its config.json says (first: "
            f"{name}, {tuple(found)} instead of {tuple(wanted)}); they do not belong together."
        )
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"the model '{path_or_id}' lacks {len(missing)} of its weights (first: {missing[0]}); "
            "the checkpoint is incomplete or belongs to another config.json."
        )
    return model


def _explained(path_or_id: str, part: str, local_only: bool, error: Exception) -> CheckpointError:
    if "trust_remote_code" in str(error):
        return CheckpointError(
            f"the model '{path_or_id}' needs custom code (auto_map in its config.json), which is not executed; use a "
            "model whose architecture is part of transformers."
        )
    if Path(path_or_id).is_dir():
        reason = (
            "its *.bin files are damaged (safer and smaller: *.safetensors)"
            if "weights_only" in str(error)
            else _line(error)
        )
        return CheckpointError(f"the {part} in folder '{path_or_id}' cannot be loaded: {reason}.")
    if local_only:
        return CheckpointError(
            f"the {part} of '{path_or_id}' is neither in a folder of that name nor in the local Hugging Face cache, "
            "and downloads are off; download it first, or set base_model.local_only=false."
        )
    return CheckpointError(
        f"the {part} of '{path_or_id}' could not be fetched from the Hugging Face hub: {_line(error)}."
    )


def _line(error: Exception) -> str:
    """Return an error's type and the start of its text on one line."""
    text = " ".join(str(error).split())[:300].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
