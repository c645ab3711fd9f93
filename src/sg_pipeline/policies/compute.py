"""Precision of a policy: the type of its weights, or a type of lower precision for matrix products.

    weights    everything in the type of the weights; on a CPU reproducible bit for bit
    tf32       CUDA: products of float32 matrices round their inputs to TF32 (10 bits of mantissa instead of 23)
    bfloat16   autocast: matrix products and attention in bfloat16, norms, softmax and the residual stream in float32,
               with weights, gradients and AdamW's state in float32

Sampler and trainer use the same precision, so that their log-probabilities agree as far as the type allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.base_model import Compute
from sg_pipeline.distributed.world import world
from sg_pipeline.policies.policy import causal_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@contextmanager
def computing(compute: Compute, device: torch.device) -> Iterator[None]:
    """Use this precision within the block, and restore the previous one afterwards.

    Autocast keeps each weight that it has cast until the block ends: a block around many forward passes casts once,
    and needs two bytes per parameter for it.

    Args:
        compute: see the module.
        device: of the model; `tf32` has no effect on a CPU.
    """
    import torch

    if compute == "bfloat16":
        with torch.autocast(device.type, dtype=torch.bfloat16):
            yield
    elif compute == "tf32" and device.type == "cuda":
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
    else:
        yield


def machine(device: torch.device) -> str:
    """Describe the hardware of `device`: runs are equal bit for bit only if this is the same."""
    import torch

    unit = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU with {torch.backends.cpu.get_cpu_capability()}, threads: {torch.get_num_threads()}"
    )
    shared = "" if world().alone else f", processes: {world().size}"
    return f"{unit}{shared}, torch {torch.__version__}"


def shorten_frozen(model: PreTrainedModel) -> None:
    """Convert the frozen linear weights of `model` to bfloat16, for a policy that computes in it.

    Results do not change: autocast would round them in the same way at each use, and does not cache casts of frozen
    weights. An output layer that is tied to the embedding gets a copy, since the embedding itself is not rounded: of
    SmolLM2-135M these are 28 million weights, which would be cast for each sampled token.
    """
    import torch

    tables = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    for module in model.modules():
        if not isinstance(module, torch.nn.Linear):
            continue
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.requires_grad or parameter.dtype != torch.float32:
                continue
            if id(parameter) in tables:
                setattr(module, name, torch.nn.Parameter(parameter.data.to(torch.bfloat16), requires_grad=False))
            else:
                parameter.data = parameter.data.to(torch.bfloat16)


def without_noise(model: Any) -> None:
    """Compute as the sampler does even in training mode: without dropout, layer drop or router noise.

    Parts that are not in training mode stay as they are. The effect lasts until the trainer's next `train()`, so it
    includes the backward pass. These stay in training mode:

    - `model` itself, whose mode the trainer checks,
    - the dropout of adapters, which the user chooses (`LoraConfig.dropout`),
    - layers with gradient checkpointing, which needs training mode; their own code runs in evaluation mode.
    """
    for name, part in causal_model(model).named_modules():
        if part is model or ".lora_dropout." in name or not part.training:
            continue
        checkpoint = getattr(part, "_gradient_checkpointing_func", None)
        if not (getattr(part, "gradient_checkpointing", False) and _checkpoints_itself(part)):
            part.training = False
        elif not isinstance(checkpoint, _Evaluated):
            part._gradient_checkpointing_func = _Evaluated(part, checkpoint)


@dataclass(frozen=True)
class _Evaluated:
    """A layer's checkpointing function that runs the layer in evaluation mode, also when it is recomputed."""

    layer: torch.nn.Module
    checkpoint: Any

    def __call__(self, forward: Callable[..., Any], *inputs: Any) -> Any:
        def evaluated(*inputs: Any) -> Any:
            self.layer.training = False
            try:
                return forward(*inputs)
            finally:
                self.layer.training = True

        return self.checkpoint(evaluated, *inputs)


def _checkpoints_itself(part: Any) -> bool:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return isinstance(part, GradientCheckpointingLayer)
