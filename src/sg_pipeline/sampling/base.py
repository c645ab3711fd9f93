"""The protocol of every sampling engine, and the sampler of a policy.

A session holds growing token sequences, one per episode ("row"). A trajectory only ever grows, so an engine may keep
its key-value cache from one turn to the next. Rows that are no longer asked for are dropped.

To add an engine: a function with the signature of `make_sampler`, and its line in `config/extensions.py`. An engine
with separate weights starts in seconds to minutes and is updated much faster, so a process keeps it between steps
(`keep_engine`).
"""

from __future__ import annotations

import atexit
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sg_pipeline.config.extensions import SAMPLER, load
from sg_pipeline.errors import ConfigurationError, SamplingError

if TYPE_CHECKING:
    import numpy as np

    from sg_pipeline.config.base_model import Compute
    from sg_pipeline.config.sampling import SamplingConfig
    from sg_pipeline.policies.policy import Policy

logger = logging.getLogger(__name__)

Tokens = Sequence[int]
Limits = int | Sequence[int]
"""One limit of tokens for all rows, or one for each."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What the policy wrote in one turn.

    Attributes:
        ids: sampled token ids, including the stop token if one was sampled.
        logprobs: log pi(id) at the sampling temperature, same length.
        stopped: a stop token was sampled (False: the completion reached a limit).
    """

    ids: list[int]
    logprobs: list[float]
    stopped: bool


class Session(Protocol):
    """A batch of episodes being sampled."""

    def extend(
        self, rows: Sequence[int], contexts: Sequence[Tokens], stop_ids: Tokens, max_new_tokens: Limits
    ) -> list[Completion]:
        """Append `contexts[i]` to row `rows[i]`, sample until a stop token or `max_new_tokens`, append the sample.

        A row that would exceed the session's `max_length` is cut. If its context and one more token do not fit, nothing
        is appended and the completion is empty.

        Args:
            rows: distinct; a row that is left out is dropped for good.
            contexts: one for each row; may be empty if the row already holds tokens.
            stop_ids: tokens that end a sample.
            max_new_tokens: a row with limit 0 gets its context and no sample.

        Returns:
            Completions in the order of `rows`.
        """
        ...

    def length(self, row: int) -> int:
        """Return the number of tokens that row `row` holds."""
        ...


@runtime_checkable
class StreamingSession(Session, Protocol):
    """A session whose rows need not wait for each other: a finished turn is returned at once.

    Use either `extend` or `submit` and `poll`, not both at a time.
    """

    @property
    def under_way(self) -> int:
        """Number of rows that were submitted and have not been returned by `poll`."""
        ...

    def submit(self, row: int, context: Tokens, stop_ids: Tokens, max_new_tokens: int) -> None:
        """Append `context` to `row` and start to sample, without waiting; arguments as for `extend`."""
        ...

    def poll(self) -> list[tuple[int, Completion]]:
        """Wait for a moment; return the rows whose turn is finished, in any order, each with its completion."""
        ...


class Sampler(Protocol):
    """Samples from one policy."""

    def open(self, streams: Sequence[np.random.Generator], max_length: int) -> Session:
        """Start `len(streams)` empty rows of at most `max_length` tokens; row i draws from `streams[i]` alone."""
        ...

    def row_bytes(self, max_length: int) -> int:
        """Return the memory in this process of a row of `max_length` tokens, for `rollout.cache_gib`."""
        ...


def make_sampler(policy: Policy, config: SamplingConfig, temperature: float, max_length: int) -> Sampler:
    """Return a sampler of the policy with its current weights; an engine with separate weights is updated first.

    Args:
        policy, config: its weights are not changed; names the engine.
        temperature: 0 takes the most likely token; log-probabilities are then those at temperature 1.
        max_length: tokens of the longest row.

    Raises:
        SamplingError: the engine does not start, cannot be reached, or does not take over the weights.
        ConfigurationError: the engine cannot sample from this policy.
    """
    make: Callable[[Policy, SamplingConfig, float, int], Sampler] = load(SAMPLER, config.engine)
    return make(policy, config, temperature, max_length)


def check_positions(model: Any, max_length: int) -> None:
    """Reject rows that are longer than the model's positions, with a `ConfigurationError`."""
    longest = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    if max_length < 1 or (longest is not None and max_length > longest):
        raise ConfigurationError(
            f"rollout.max_length must lie between 1 and the model's max_position_embeddings ({longest}), found "
            f"{max_length}"
        )


def check_numbers(logprobs: Iterable[float], whose: str) -> None:
    """Reject log-probabilities of sampled tokens that are not finite; the `SamplingError` names `whose` they are."""
    if not all(map(math.isfinite, logprobs)):
        raise SamplingError(
            f"{whose} computes logits that are not finite numbers: its weights have diverged, or its number type "
            f"overflows; start again from an earlier policy with a lower train.learning_rate, or compute in float32 "
            f"(base_model.dtype=float32, base_model.compute=weights)"
        )


@contextmanager
def inference(model: Any, compute: Compute) -> Iterator[None]:
    """Compute like the policy (`policies.compute`) without gradients and dropout; afterwards the model is as before."""
    import torch

    from sg_pipeline.policies.compute import computing

    training = model.training
    model.eval()
    try:
        with torch.no_grad(), computing(compute, model.device):
            yield
    finally:
        model.train(training)


class KeptEngine(Protocol):
    """An engine that outlives a step."""

    def rest(self) -> None:
        """Free what memory it can for the training; the next `make_sampler` wakes it."""

    def close(self) -> None:
        """Free everything; it is not used again."""


_engines: dict[str, KeptEngine] = {}
"""The engine of this process by its key: at most one, because it takes much of the memory."""


def keep_engine(key: str, start: Callable[[], KeptEngine]) -> KeptEngine:
    """Return this process's engine: the one that was started for `key`, or a new one in its place.

    `key` is everything that an engine cannot change after its start.
    """
    if key not in _engines:
        close_engines()
        began = time.perf_counter()
        _engines[key] = start()
        logger.info("the sampling engine is ready after %.0f s", time.perf_counter() - began)
    return _engines[key]


def rest_engines() -> float:
    """Let this process's engine free its memory for the training, if it can; return the seconds that it took."""
    began = time.perf_counter()
    for engine in _engines.values():
        engine.rest()
    return time.perf_counter() - began


@atexit.register
def close_engines() -> None:
    """Close this process's engine, if it has one."""
    while _engines:
        _engines.popitem()[1].close()
