"""The guide: a frozen policy that writes guidance in another's place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sg_pipeline.errors import CheckpointError
from sg_pipeline.policies.checkpoint import load_policy
from sg_pipeline.policies.compute import shorten_frozen

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy


def load_guide(folder: Path | str, policy: Policy) -> Policy:
    """Return the policy in `folder`, on the device of `policy`, to write the guidance for it.

    Raises:
        CheckpointError: there is no whole checkpoint, or its tokens are not those of `policy`.
    """
    guide = load_policy(folder, device=str(policy.model.device))
    own, its = policy.tokenizer.get_vocab(), guide.tokenizer.get_vocab()
    if own != its:
        differing = sum(its.get(token) != index for token, index in own.items())
        raise CheckpointError(
            f"the guide in '{folder}' has another tokenizer than the policy ({len(its)} tokens, the policy's has "
            f"{len(own)}, of which {differing} are missing or other ones there); both must read the same tokens, so "
            "take a guide that was made from the same base model."
        )
    guide.model.requires_grad_(False)
    guide.optimizer_state = None
    guide.compute = policy.compute
    if guide.compute == "bfloat16":
        shorten_frozen(guide.model)
    return guide
