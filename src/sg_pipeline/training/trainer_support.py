"""What both trainers, GRPO's and the imitation's, need around transformers' `Trainer`.

Optimizer state: a flat dictionary of named tensors, so that it survives without pickle. Keys are
`<slot>/<parameter name>`, slots AdamW's own: `step`, `exp_avg`, `exp_avg_sq`. Names instead of torch's running numbers:
the state fits whatever order or grouping the next optimizer gives its parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sg_pipeline.errors import CheckpointError
from sg_pipeline.policies.policy import causal_model
from sg_pipeline.training.sharding import placed_like

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import TrainingArguments


def export_state(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return all state tensors of `optimizer`, keyed `<slot>/<parameter name>`.

    They are handed over, not copied: a further step of `optimizer` changes them.
    """
    state = {}
    for name, parameter in model.named_parameters():
        for slot, value in optimizer.state.get(parameter, {}).items():
            state[f"{slot}/{name}"] = value.detach().contiguous()
    return state


def import_state(optimizer: torch.optim.Optimizer, model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Give `optimizer` the state that `export_state` took from one over the same parameters; it works on these tensors.

    Raises:
        CheckpointError: a parameter is unknown or has another shape.
    """
    parameters = dict(model.named_parameters())
    for key, value in state.items():
        slot, _, name = key.partition("/")
        parameter = parameters.get(name)
        if parameter is None:
            raise CheckpointError(f"The optimizer state holds '{key}', but the model has no parameter '{name}'.")
        if slot == "step":
            # A fused AdamW keeps its step count on the parameter's device, the others on the CPU.
            fused = any(group.get("fused") for group in optimizer.param_groups)
            optimizer.state[parameter][slot] = value.to(parameter.device if fused else "cpu")
            continue
        if value.shape != parameter.shape:
            raise CheckpointError(
                f"The optimizer state '{key}' has shape {tuple(value.shape)}, "
                f"but the parameter has {tuple(parameter.shape)}."
            )
        optimizer.state[parameter][slot] = placed_like(value, parameter)


_MARKS = ("forward", "_original_forward", "_is_accelerate_prepared")
_ABSENT = object()


@contextmanager
def unmarked(model: Any) -> Iterator[None]:
    """Leave `model`, where it is one, in evaluation mode and otherwise as it was before the block.

    A trainer is built for each step (18 ms of a tiny policy's step of 2 to 3 seconds, and the sharded copy of FSDP2
    needs a new one in any case); the model stays. TRL patches the model's forward, accelerate wraps it again (autocast)
    and remembers that it has, transformers turns checkpointing on and hangs hooks on the embeddings.
    """
    if model is None:
        yield
        return
    causal = causal_model(model)
    parts: list[torch.nn.Module] = [model] if causal is model else [model, causal]
    before = [{name: part.__dict__.get(name, _ABSENT) for name in _MARKS} for part in parts]
    try:
        yield
    finally:
        for part, marks in zip(parts, before, strict=True):
            for name, value in marks.items():
                if value is _ABSENT:
                    part.__dict__.pop(name, None)
                else:
                    part.__dict__[name] = value
        if any(getattr(module, "gradient_checkpointing", False) for module in causal.modules()):
            # The second name is that of transformers below 5.20, which vLLM may want.
            (getattr(causal, "activation_checkpointing_disable", None) or causal.gradient_checkpointing_disable)()
        for hook in causal.__dict__.pop("_require_grads_hooks", ()):
            hook.remove()
        causal.__dict__.pop("_require_grads_hook", None)
        model.eval()


def on_one_gpu(arguments: TrainingArguments) -> None:
    """Take back that transformers gives a process all GPUs that it sees.

    Started without a launcher it would copy the model to each of them in every forward pass (`torch.nn.DataParallel`),
    cut each micro-batch between them, and count batches and losses by them. Several GPUs are several ranks.

    Source: transformers 5.23, `TrainingArguments._setup_devices`; `Trainer` does the same for a model that is split.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1


def diverged(whose: str, what: str, rate: float) -> str:
    """Return the sentence.

    Args:
        whose: names the policy.
        what: is not finite, and where.
        rate: the learning rate.
    """
    return (
        f"the training of {whose} diverged: {what}; no checkpoint of it is written: lower the learning_rate "
        f"(now {rate:g}), or compute in float32 (base_model.dtype=float32, base_model.compute=weights)"
    )


def broken_weights(model: nn.Module) -> str | None:
    """Return what is wrong with the first trained weights that are not finite numbers; None where all are."""
    import torch

    for name, weights in model.named_parameters():
        if weights.requires_grad and not torch.isfinite(weights).all():
            return f"after the last update the weights '{name}' hold numbers that are not finite"
    return None
