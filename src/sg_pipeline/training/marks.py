"""What a trainer leaves on a model, and how it is taken off again.

The trainer is built anew for each step, the model stays. TRL patches the model's forward, accelerate wraps it again
(autocast) and remembers that it has, transformers turns checkpointing on and hangs hooks on the embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sg_pipeline.policies.adapters import causal_model

if TYPE_CHECKING:
    import torch

_MARKS = ("forward", "_original_forward", "_is_accelerate_prepared")
_ABSENT = object()


@contextmanager
def unmarked(model: Any) -> Iterator[None]:
    """Leave `model`, where it is one, in evaluation mode and otherwise as it was before the block."""
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
