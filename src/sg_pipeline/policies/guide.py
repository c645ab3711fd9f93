"""The guide: a frozen policy that writes the guidance for another policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sg_pipeline.errors import CheckpointError
from sg_pipeline.policies.checkpoint import load_policy
from sg_pipeline.policies.compute import shorten_frozen

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy


def load_guide(folder: Path | str, policy: Policy) -> Policy:
    """Load the policy in `folder` as a guide of `policy`, on the same device.

    Raises:
        CheckpointError: the checkpoint is missing or incomplete, or its tokens differ from those of `policy`.
    """
    guide = load_policy(folder, device=str(policy.model.device))
    own, its = policy.tokenizer.get_vocab(), guide.tokenizer.get_vocab()
    if own != its:
        differing = sum(its.get(token) != index for token, index in own.items())
        raise CheckpointError(
            f"the guide in '{folder}' has another tokenizer than the policy ({len(its)} tokens; the policy's has "
            f"{len(own)}, of which {differing} are missing or different in the guide's); their tokens must be equal: "
            "use a guide made from the same base model."
        )
    guide.model.requires_grad_(False)
    guide.optimizer_state = None
    guide.compute = policy.compute
    if guide.compute == "bfloat16":
        shorten_frozen(guide.model)
    return guide
