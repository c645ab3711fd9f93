"""The protocol behind which every sampling engine stands.

A session holds growing token sequences, one per episode ("row"). A trajectory only ever grows, so an engine
may keep its key-value cache from one turn to the next; rows that are no longer asked for are dropped.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from sg_pipeline.errors import SamplingError

StopWhen = Callable[[Sequence[int]], bool]
"""All that was sampled in this turn -> whether the turn ends here. Asked after each token."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What the policy wrote in one turn.

    Attributes:
        ids: sampled token ids, the stop token included where one was sampled.
        logprobs: log pi(id) at the sampling temperature, same length.
        stopped: a stop token was sampled (False: the token limit or `stop_when` ended the completion).
    """

    ids: list[int]
    logprobs: list[float]
    stopped: bool


def check_numbers(logprobs: Iterable[float], whose: str) -> None:
    """Refuse what was sampled from logits that are not numbers.

    Args:
        logprobs: of sampled tokens.
        whose: the policy, for messages.

    Raises:
        SamplingError: a log-probability is not finite.
    """
    if not all(map(math.isfinite, logprobs)):
        raise SamplingError(
            f"{whose} computes logits that are not finite numbers: its weights have diverged, or its number type "
            f"overflows; start again from an earlier policy with a lower train.learning_rate, or compute in float32 "
            f"(base_model.dtype=float32, base_model.compute=weights)"
        )


class Session(Protocol):
    """A batch of episodes being sampled."""

    def extend(
        self,
        rows: Sequence[int],
        contexts: Sequence[Sequence[int]],
        stop_ids: Sequence[int],
        max_new_tokens: int | Sequence[int],
        stop_when: StopWhen | None = None,
    ) -> list[Completion]:
        """Append `contexts[i]` to row `rows[i]`, sample until a stop token or `max_new_tokens`, append the sample.

        Rows may only shrink from call to call: one that is left out is dropped for good. The answer is in the order
        of `rows`.

        Args:
            rows: distinct.
            contexts: one for each row; it may be empty where the row holds tokens already.
            stop_ids: tokens that end a sample.
            max_new_tokens: one limit for all rows, or one for each; a row of limit 0 gets its context and no sample.
            stop_when: a further reason to end a row's sample, for ends that are no single token.
        """
        ...

    def length(self, row: int) -> int:
        """Tokens that row `row` holds now."""
        ...


@runtime_checkable
class StreamingSession(Session, Protocol):
    """A session whose rows need not wait for each other: a turn that is finished is answered at once.

    Use either `extend` or the other two, not both at a time.
    """

    @property
    def under_way(self) -> int:
        """Rows that were submitted and have not been returned by `poll`."""
        ...

    def submit(
        self,
        row: int,
        context: Sequence[int],
        stop_ids: Sequence[int],
        max_new_tokens: int,
        stop_when: StopWhen | None = None,
    ) -> None:
        """Append `context` to `row` and begin to sample; arguments as for `extend`. Nothing is waited for."""
        ...

    def poll(self) -> list[tuple[int, Completion]]:
        """Let the engine work for a moment (one token of each row, say).

        Returns:
            The rows whose turn is finished, in any order, each with its completion; their tokens are appended.
        """
        ...


class Sampler(Protocol):
    """An engine that samples from one policy."""

    def open(self, streams: Sequence[np.random.Generator], max_length: int) -> Session:
        """Start `len(streams)` empty rows of at most `max_length` tokens; row i draws from `streams[i]` alone."""
        ...
