"""Fingerprints of the weights that a vLLM engine computes with, for comparison with those that were sent.

A fingerprint is a sum over single numbers, independent of the order and shape in which they are stored. vLLM fuses,
transposes, pads and shards weights, and the sum over a model stays the same; a difference of one bit changes it.

On a CPU vLLM packs matrices into an opaque form. They are read by multiplication: a matrix times the unit vectors is
the matrix, exactly.

A worker of vLLM inherits from `HeldWeights` (`worker_extension_cls`). A server gets a copy of this file, so it imports
nothing of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

_NUMBERS = 2**22
"""Numbers that are summed at a time: bounds the memory."""
_UNIT_VECTORS = 512
_FIRST, _SECOND = 0x9E3779B97F4A7C15 - 2**64, 0x94D049BB133111EB - 2**64
_SMALLEST = torch.finfo(torch.float32).tiny


def fingerprint(weights: Iterable[torch.Tensor], dtype: str) -> int:
    """Return the fingerprint of all numbers in `weights`, each rounded to `dtype`; zeros do not count."""
    total = 0
    rounded: torch.dtype = getattr(torch, dtype)
    for weight in weights:
        if weight.is_meta:
            total += 1  # no numbers: vLLM has not loaded it
            continue
        for part in weight.detach().reshape(-1).split(_NUMBERS):
            numbers = part.to(rounded).float()
            # A product turns -0 into 0, and may flush subnormal numbers to 0.
            bits = numbers.masked_fill(numbers.abs() < _SMALLEST, 0.0).view(torch.int32).long()
            bits = bits * _FIRST
            bits = (bits ^ (bits >> 31)) * _SECOND
            total += int((bits ^ (bits >> 29)).sum())
    return total % 2**64


def combined(workers: Iterable[dict[str, int]]) -> int:
    """Return the fingerprint of a model from those of its workers: parts are added, copies count once."""
    of: dict[str, set[int]] = {}
    for worker in workers:
        for name, value in worker.items():
            of.setdefault(name, set()).add(value)
    return sum(sum(values) for values in of.values()) % 2**64


class HeldWeights:
    """Methods of a vLLM worker, called by `collective_rpc`."""

    model_runner: Any

    def held_weights(self, dtype: str) -> dict[str, int]:
        """Return the fingerprint of each of the model's weights, without adapters."""
        with torch.inference_mode():
            model = self.model_runner.get_model()
            return {name: fingerprint(parts, dtype) for name, parts in _weights(model)}

    def held_adapters(self, dtype: str) -> dict[str, int]:
        """Return the fingerprint of each of the adapters' matrices, the second one scaled."""
        held = {}
        for name, module in self.model_runner.get_model().named_modules():
            for leaf in ("lora_a_stacked", "lora_b_stacked"):
                for index, stacked in enumerate(getattr(module, leaf, ())):
                    held[f"{name}.{leaf}.{index}"] = fingerprint([stacked], dtype)
        return held


def _weights(model: torch.nn.Module) -> Iterator[tuple[str, Iterable[torch.Tensor]]]:
    for name, module in model.named_modules():
        for leaf, weight in module.named_parameters(recurse=False):
            packed = leaf == "weight" and hasattr(module, "cpu_linear") and _multiplies(module)
            yield f"{name}.{leaf}", _columns(module, weight) if packed else [weight]


def _multiplies(module: Any) -> bool:
    """Whether a packed layer is used as a matrix; an input embedding is packed too, but read by its rows."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, VocabParallelEmbedding

    return isinstance(module, ParallelLMHead) or not isinstance(module, VocabParallelEmbedding)


def _columns(module: Any, weight: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the columns of a packed matrix, a block at a time."""
    sizes = (getattr(module, name, None) for name in ("input_size_per_partition", "input_size", "embedding_dim"))
    width = next(size for size in sizes if size is not None)
    for start in range(0, width, _UNIT_VECTORS):
        unit = torch.zeros(min(_UNIT_VECTORS, width - start), width, dtype=weight.dtype)
        unit[torch.arange(len(unit)), torch.arange(start, start + len(unit))] = 1
        yield module.cpu_linear(unit, weight, None)
