"""How a policy computes: in the type of its weights, or its matrix products in a shorter one.

    weights    everything in the type of the weights; on a CPU bit for bit repeatable
    tf32       CUDA: products of float32 matrices round their inputs to TF32 (10 bits of mantissa in place of 23)
    bfloat16   autocast: matrix products and attention in bfloat16, norms, softmax and the residual stream in float32,
               over weights, gradients and AdamW's memory in float32

Sampler and trainer take the same one, so that the log-probabilities of the two agree as far as the type allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.base_model import Compute
from sg_pipeline.policies.policy import causal_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@contextmanager
def computing(compute: Compute, device: torch.device) -> Iterator[None]:
    """Compute so within the block; afterwards everything is as before.

    Autocast keeps each weight that it has cast until the block ends: a block around many forward passes casts once,
    and holds two bytes a weight for it.

    Args:
        compute: see the module.
        device: of the model; `tf32` changes nothing on a CPU.
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
    """Describe what computes on `device`: runs equal each other bit for bit only where this is the same."""
    import torch

    unit = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU with {torch.backends.cpu.get_cpu_capability()}, threads: {torch.get_num_threads()}"
    )
    return f"{unit}, torch {torch.__version__}"


def shorten_frozen(model: PreTrainedModel) -> None:
    """Keep the frozen linear weights of `model` in bfloat16, for a policy that computes in it.

    Nothing else changes: autocast would round them to just that at each use, and keeps no cast of a frozen weight.
    What is also read otherwise (an embedding that is tied to the output layer) stays.
    """
    import torch

    tables = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and id(module.weight) not in tables:
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad and parameter.dtype == torch.float32:
                    parameter.data = parameter.data.to(torch.bfloat16)


def without_noise(model: Any) -> None:
    """Compute as the sampler does although a trainer has set training mode: no dropout, layer drop or router noise.

    Parts that are not in training mode stay as they are. The effect lasts until the trainer's next `train()`, so it
    includes the backward pass. Still in training mode are

    - `model` itself, which its trainer asks for the mode,
    - the dropout of adapters, which the user chooses (`LoraConfig.dropout`),
    - layers that are checkpointed, because that happens in training mode only; their own code sees evaluation mode.
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
    """A layer's checkpointing function, under which the layer is in evaluation mode, also when it is recomputed."""

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
