"""Optimizer state on disk: safetensors, split into files of limited size like the weights in transformers.

    optimizer.safetensors                    if all of it fits into one file
    optimizer-00001-of-00003.safetensors …   otherwise; each tensor is in one file

Files are written and read one after the other, so a second copy of the whole state is never in memory: tensors of a GPU
pass through host memory one file at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

OPTIMIZER = "optimizer.safetensors"
"""Name of a single file."""

PATTERN = "optimizer*.safetensors"
"""Matches all of the files, but no weights."""


def save_optimizer(state: Mapping[str, torch.Tensor], folder: Path, shard_bytes: int) -> None:
    """Write named tensors to `folder`.

    Args:
        state: as `training.optimizer_state` names them.
        folder: must exist.
        shard_bytes: maximum size of the tensors in a file; a larger tensor gets a separate file.
    """
    from safetensors.torch import save_file

    shards = list(_shards(state, shard_bytes))
    for number, names in enumerate(shards, 1):
        name = OPTIMIZER if len(shards) == 1 else f"optimizer-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file({key: state[key] for key in names}, folder / name)


def load_optimizer(folder: Path, files: Iterable[str], device: str = "cpu") -> dict[str, torch.Tensor] | None:
    """Return the tensors of all optimizer files among `files`, on `device`; None without any."""
    from safetensors.torch import load_file

    state: dict[str, torch.Tensor] = {}
    for name in sorted(name for name in files if Path(name).match(PATTERN)):
        state |= load_file(folder / name, device=device)
    return state or None


def _shards(state: Mapping[str, torch.Tensor], shard_bytes: int) -> Iterator[list[str]]:
    """Yield the names of each file's tensors, in order."""
    names: list[str] = []
    size = 0
    for name, tensor in state.items():
        if names and size + tensor.nbytes > shard_bytes:
            yield names
            names, size = [], 0
        names.append(name)
        size += tensor.nbytes
    if names:
        yield names
