"""Node of the guide pipeline."""

from pathlib import Path
from typing import Any

from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.errors import CheckpointError
from sg_pipeline.policies.guide import load_guide


def read_guide(rollout: RolloutConfig, base_policy: Any, project: Path) -> Any:
    """Load the guide once, for all steps and evaluations.

    Args:
        rollout: names its folder.
        base_policy: the guide must have the same tokens.
        project: base of a relative folder.

    Returns:
        A policy that is not trained.
    """
    assert rollout.guide is not None, "the node is in the graph only with a guide"
    try:
        return load_guide(project / rollout.guide, base_policy)
    except CheckpointError as error:
        raise CheckpointError(f"rollout.guide is {rollout.guide!r}: {error}") from error
