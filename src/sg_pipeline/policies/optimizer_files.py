"""Optimizer state on disk: safetensors, cut into files of a bounded size as transformers cuts the weights.

    optimizer.safetensors                    where all of it fits into one file
    optimizer-00001-of-00003.safetensors …   otherwise; each tensor lies whole in one of them

One file after the other is written and read, so that no second copy of the whole state is ever in memory: tensors of a
GPU pass through the host's memory a file at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

OPTIMIZER = "optimizer.safetensors"
"""The name of the file where there is one alone."""

PATTERN = "optimizer*.safetensors"
"""What matches all of them, and no weights."""


def save_optimizer(state: Mapping[str, torch.Tensor], folder: Path, shard_bytes: int) -> None:
    """Write named tensors to `folder`.

    Args:
        state: as `training.optimizer_state` names them.
        folder: exists.
        shard_bytes: of tensors in a file at most; a tensor that is larger has a file of its own.
    """
    from safetensors.torch import save_file

    shards = list(_shards(state, shard_bytes))
    for number, names in enumerate(shards, 1):
        name = OPTIMIZER if len(shards) == 1 else f"optimizer-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file({key: state[key] for key in names}, folder / name)


def load_optimizer(folder: Path, files: Iterable[str], device: str = "cpu") -> dict[str, torch.Tensor] | None:
    """Return the tensors of all optimizer files among `files`, on `device`; None where there are none."""
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
