"""How the processes that share a run train: each a whole model (DDP), or a part of one (FSDP2).

`accelerate launch --config_file conf/accelerate/fsdp2.yaml` says it in environment variables; with torchrun it is
`distributed.strategy`. Accelerate would shard the live policy itself, which must stay whole to sample
(`training/sharding.py`), so its own switch is taken back once it has been read.
"""

import logging
import os

from sg_pipeline.config.distributed import Strategy
from sg_pipeline.distributed.world import world
from sg_pipeline.errors import ConfigurationError

logger = logging.getLogger(__name__)


_SWITCH, _VERSION, _OFFLOAD = "ACCELERATE_USE_FSDP", "FSDP_VERSION", "FSDP_OFFLOAD_PARAMS"

_strategy: Strategy = "ddp"


def settle_strategy(wanted: Strategy | None) -> None:
    """Decide for this process's run.

    Args:
        wanted: as `distributed.strategy`; None: what the launcher's configuration says, DDP where it says nothing.

    Raises:
        ConfigurationError: the launcher's configuration asks for what there is not.
    """
    global _strategy  # noqa: PLW0603 - one process runs one pipeline at a time
    switched_on = os.environ.pop(_SWITCH, "false").lower() in ("1", "true")
    if switched_on and wanted is None:
        version, offload = os.environ.get(_VERSION, "1"), os.environ.get(_OFFLOAD, "false").lower()
        if version != "2" or offload == "true":
            raise ConfigurationError(
                f"the launcher's fsdp_config has fsdp_version {version} and fsdp_offload_params {offload}, but only "
                f"version 2 without offloading is there; conf/accelerate/fsdp2.yaml has both"
            )
        wanted = "fsdp2"
    if wanted == "fsdp2" and world().alone:
        logger.warning("distributed.strategy is fsdp2, but one process shards nothing: start the run with torchrun")
    _strategy = wanted or "ddp"


def strategy() -> Strategy:
    """Return how this run trains."""
    return _strategy


def is_sharded() -> bool:
    """Whether this run trains on shards."""
    return _strategy == "fsdp2" and not world().alone
