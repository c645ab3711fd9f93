"""A policy's weights as files for a server: written, read by it, and deleted again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.errors import GO_ON, SamplingError

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy

_SHARD_BYTES = 2 * 2**30
"""Weights of a file, which are all that is in the host's memory at a time."""


@contextmanager
def exchange_folder(parent: str | Path | None) -> Iterator[Path]:
    """A folder of this run's own below `parent` (None: the system's folder for temporary files), as long as needed.

    Raises:
        SamplingError: nothing can be written there.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="sg_weights_", dir=parent))
        folder.chmod(0o755)  # the server may belong to another user
    except OSError as error:
        raise SamplingError(
            f"sampling.server.weights is {str(parent)!r}, where nothing can be written ({error.strerror}): it must be "
            f"a folder that this run and the vLLM server see by the same path"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_weights(policy: Policy, folder: Path, dtype: str, *, adapters: bool = True) -> None:
    """Write the policy's weights (`named_weights`) as safetensors.

    A matrix is rounded here where the server computes in a smaller type, as the server would do: half the bytes. The
    folder has its name only when all is written.

    Args:
        policy: whose.
        folder: does not exist yet.
        dtype: that the server computes in, as torch calls it.
        adapters: merged into the weights; without, the weights are those of the base.

    Raises:
        SamplingError: the disk is full, or the folder that it is to lie in is gone.
    """
    import torch

    from sg_pipeline.policies.weights import named_weights

    rounded: torch.dtype = getattr(torch, dtype)
    partial = folder.with_name(f"{folder.name}.partial")
    shard: dict[str, Any] = {}
    size = count = 0
    try:
        partial.mkdir()
        with torch.no_grad():
            for name, weight in named_weights(policy, adapters=adapters):
                smaller = weight.ndim > 1 and weight.is_floating_point() and rounded.itemsize < weight.itemsize
                shard[name] = weight.to("cpu", rounded if smaller else weight.dtype).contiguous().clone()
                size += shard[name].nbytes
                if size >= _SHARD_BYTES:
                    count = _write(shard, partial, count)
                    shard, size = {}, 0
        _write(shard, partial, count)
        partial.rename(folder)
    except OSError as error:
        raise SamplingError(
            f"the weights of step {policy.step} cannot be written to {folder.parent} ({error.strerror or error}): make "
            f"room, or set sampling.server.weights to a folder that has it, then {GO_ON}"
        ) from error


def _write(shard: dict[str, Any], folder: Path, count: int) -> int:
    from safetensors.torch import save_file

    save_file(shard, folder / f"model-{count:05d}.safetensors")
    return count + 1
