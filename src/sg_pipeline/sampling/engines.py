"""From a policy and a configuration to its sampler; the engine that lives on from step to step.

An engine with weights of its own starts in seconds to minutes and is updated in much less, so a process keeps the one
that it has (`keep_engine`). `close_engines` ends it, at the end of a run and of the process.

A new sampler: a function like `make_sampler`, and its line in `config/extensions.py`.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sg_pipeline.config.extensions import SAMPLER, load

if TYPE_CHECKING:
    from sg_pipeline.config.sampling import SamplingConfig
    from sg_pipeline.policies.policy import Policy
    from sg_pipeline.sampling.base import Sampler

logger = logging.getLogger(__name__)


class KeptEngine(Protocol):
    """An engine that outlives a step."""

    def rest(self) -> None:
        """Free what memory it can for the training."""

    def close(self) -> None:
        """Free what it holds; it is not used again."""


_engines: dict[str, KeptEngine] = {}
"""The engine of this process by what it was made for: at most one, it has much of the memory."""


def make_sampler(policy: Policy, config: SamplingConfig, temperature: float, max_length: int) -> Sampler:
    """Return a sampler of the policy as it is now; an engine with weights of its own is updated first.

    Args:
        policy: its weights are not changed.
        config: names the engine.
        temperature: 0 takes the likeliest token.
        max_length: tokens of the longest row.

    Raises:
        SamplingError: the engine does not start, cannot be reached, or does not take over the weights.
        ConfigurationError: the policy cannot be sampled from by this engine.
    """
    make: Callable[[Policy, SamplingConfig, float, int], Sampler] = load(SAMPLER, config.engine)
    return make(policy, config, temperature, max_length)


def keep_engine(key: str, name: str, start: Callable[[], KeptEngine]) -> KeptEngine:
    """Return this process's engine: the one that was made for `key`, or a new one in its place.

    Args:
        key: everything that an engine cannot change after its start.
        name: for the log.
        start: makes it.
    """
    if key not in _engines:
        close_engines()
        atexit.unregister(close_engines)
        atexit.register(close_engines)
        began = time.perf_counter()
        _engines[key] = start()
        logger.info("sampling engine '%s' is ready after %.0f s", name, time.perf_counter() - began)
    return _engines[key]


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
    """End this process's engine, if it has one."""
    for key in list(_engines):
        _engines.pop(key).close()
