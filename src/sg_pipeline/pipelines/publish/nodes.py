"""Node of the publish pipeline."""

from pathlib import Path
from typing import Any

from sg_pipeline.config.publish import PublishConfig
from sg_pipeline.config.run import RunConfig


def publish_policy(policies: Path, config: PublishConfig, run: RunConfig) -> dict[str, Any]:
    """Upload the policy that `config` names.

    Args:
        policies: folder of the run's policies.
        config, run: parameters.

    Returns:
        Where it lies now, see `publishing.hub.publish`.
    """
    from sg_pipeline.publishing.hub import publish

    return publish(policies, config, run.name)
