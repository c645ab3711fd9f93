"""Training strategy of several processes: each holds a whole model (DDP) or a shard of one (FSDP2).

`accelerate launch --config_file conf/accelerate/fsdp2.yaml` sets it by environment variables, torchrun needs
`distributed.strategy`. Accelerate would shard the live policy, which must stay whole for sampling
(`training/sharding.py`), so its switch is removed after it has been read.
"""

import logging
import os

from sg_pipeline.config.run import Strategy
from sg_pipeline.distributed.world import world
from sg_pipeline.errors import ConfigurationError

logger = logging.getLogger(__name__)


_SWITCH, _VERSION, _OFFLOAD = "ACCELERATE_USE_FSDP", "FSDP_VERSION", "FSDP_OFFLOAD_PARAMS"

_strategy: Strategy = "ddp"


def settle_strategy(wanted: Strategy | None) -> None:
    """Set the strategy of this process.

    Args:
        wanted: value of `distributed.strategy`; None: that of the launcher's configuration, by default DDP.

    Raises:
        ConfigurationError: the launcher's configuration is not supported.
    """
    global _strategy  # noqa: PLW0603 - one process runs one pipeline at a time
    switched_on = os.environ.pop(_SWITCH, "false").lower() in ("1", "true")
    if switched_on and wanted is None:
        version, offload = os.environ.get(_VERSION, "1"), os.environ.get(_OFFLOAD, "false").lower()
        if version != "2" or offload == "true":
            raise ConfigurationError(
                f"the launcher's fsdp_config has fsdp_version {version} and fsdp_offload_params {offload}, but only "
                f"version 2 without offloading is supported; see conf/accelerate/fsdp2.yaml"
            )
        wanted = "fsdp2"
    if wanted == "fsdp2" and world().alone:
        logger.warning(
            "distributed.strategy is fsdp2, but the run has one process, so nothing is sharded: start it with torchrun"
        )
    _strategy = wanted or "ddp"


def strategy() -> Strategy:
    """Return the strategy of this run."""
    return _strategy


def is_sharded() -> bool:
    """Whether this run trains on shards."""
    return _strategy == "fsdp2" and not world().alone
