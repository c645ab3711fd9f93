"""AdamW's memory as a flat dictionary of named tensors, so that it survives without pickle.

Keys are `<slot>/<parameter name>`, slots AdamW's own: `step`, `exp_avg`, `exp_avg_sq`. Names instead of torch's
running numbers: the state fits whatever order or grouping the next optimizer gives its parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_pipeline.errors import CheckpointError
from sg_pipeline.training.sharding import placed_like

if TYPE_CHECKING:
    import torch


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
            # A fused AdamW keeps its count beside the parameter, the others on the CPU.
            fused = any(group.get("fused") for group in optimizer.param_groups)
            optimizer.state[parameter][slot] = value.to(parameter.device if fused else "cpu")
            continue
        if value.shape != parameter.shape:
            raise CheckpointError(
                f"The optimizer state '{key}' has shape {tuple(value.shape)}, "
                f"but the parameter has {tuple(parameter.shape)}."
            )
        optimizer.state[parameter][slot] = placed_like(value, parameter)
