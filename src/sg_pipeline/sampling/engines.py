"""From a policy and a configuration to its sampler; the engines that live on from step to step.

An engine starts in seconds to minutes and is brought up to date in much less, so a process keeps the one that it has:
`make_sampler` finds it again as long as it fits the policy. `close_engines` ends it, at the end of a run (`hooks.py`)
and of the process.
"""

from __future__ import annotations

import atexit
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from sg_pipeline.errors import ConfigurationError
from sg_pipeline.sampling.config import SamplingConfig

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy
    from sg_pipeline.sampling.base import Sampler
    from sg_pipeline.sampling.vllm.engine import Engine

logger = logging.getLogger(__name__)

_engines: dict[str, Engine] = {}
"""The engine of this process by what it was made for: at most one, it has much of the memory."""


def make_sampler(policy: Policy, config: SamplingConfig, temperature: float, max_length: int) -> Sampler:
    """Return a sampler of the policy as it is now; an engine with weights of its own is brought up to date first.

    Args:
        policy: its weights are not changed.
        config: which engine.
        temperature: 0 takes the likeliest token.
        max_length: tokens of the longest row.

    Raises:
        SamplingError: the engine does not start, is not reached, or does not take over the weights.
        ConfigurationError: the policy cannot be sampled from so.
    """
    if config.engine == "transformers":
        from sg_pipeline.sampling.transformers_sampler import TransformersSampler

        return TransformersSampler(policy.model, temperature, policy.compute)
    from sg_pipeline.sampling.vllm.session import VllmSampler

    engine = _engine(policy, config, max_length)
    engine.update(policy)
    return VllmSampler(engine, policy, temperature)


def rest_engines() -> float:
    """Let this process's engine free its memory for the training, where it can; `make_sampler` wakes it.

    Returns:
        Seconds that it took.
    """
    began = time.perf_counter()
    for engine in _engines.values():
        engine.rest()
    return time.perf_counter() - began


def close_engines() -> None:
    """End this process's engine; nothing where there is none."""
    for key in list(_engines):
        _engines.pop(key).close()


def _engine(policy: Policy, config: SamplingConfig, max_length: int) -> Engine:
    """Return the engine for models of the policy's shape, started at the first call."""
    from sg_pipeline.policies.weights import plain_model
    from sg_pipeline.sampling.vllm.adapters import adapter_rank

    shape = plain_model(policy).config
    longest = getattr(shape.get_text_config(), "max_position_embeddings", None)
    if longest is not None and max_length > longest:
        raise ConfigurationError(
            f"max_length must lie between 1 and the model's max_position_embeddings ({longest}), found {max_length}."
        )
    rank = adapter_rank(policy) if config.vllm.adapters == "separate" else None
    what = [config.model_dump(), max_length, str(policy.model.dtype), _shape(shape), rank]
    key = json.dumps(what, sort_keys=True, default=str)
    if key not in _engines:
        close_engines()
        atexit.unregister(close_engines)
        atexit.register(close_engines)
        began = time.perf_counter()
        _engines[key] = _start(policy, config, max_length)
        logger.info("sampling engine '%s' is ready after %.0f s", config.engine, time.perf_counter() - began)
    return _engines[key]


def _start(policy: Policy, config: SamplingConfig, max_length: int) -> Engine:
    if config.engine == "vllm_server":
        from sg_pipeline.sampling.vllm.server import ServerEngine

        return ServerEngine(policy, config, max_length)
    from sg_pipeline.sampling.vllm.local import LocalEngine

    return LocalEngine(policy, config.vllm, max_length)


def _shape(config: Any) -> dict[str, Any]:
    """The model's configuration without where it was loaded from: a checkpoint of the policy fits its engine."""
    return {name: value for name, value in config.to_dict().items() if name not in ("_name_or_path", "use_cache")}
