"""The reference policy of the KL term: read once, kept with the policy.

Where the policy is trained by adapters that began as nothing, the reference is the policy without them: no second
model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.policies.compute import shorten_frozen
from sg_pipeline.policies.policy import Reference, has_adapters

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy


def reference_of(policy: Policy, folder: Path | str) -> Reference:
    """Return the policy in `folder`, in memory: the one of the last step, or read from the disk.

    Its frozen linear weights take the type in which the policy computes.

    Raises:
        CheckpointError: the checkpoint is missing or incomplete.
    """
    from sg_pipeline.policies.checkpoint import load_policy, read_manifest

    folder = Path(folder)
    if policy.reference is None or policy.reference.folder != folder:
        model = None
        if not (has_adapters(policy) and read_manifest(folder).get("adapter", {}).get("neutral")):
            model = load_policy(folder, device=str(policy.model.device)).model
            model.requires_grad_(False)
            if policy.compute == "bfloat16":
                shorten_frozen(model)
        policy.reference = Reference(folder, model)
    return policy.reference


@contextmanager
def without_adapters(model: Any) -> Iterator[None]:
    """Disable the adapters of `model`, which PEFT has wrapped, within the block."""
    with model.disable_adapter():
        yield
