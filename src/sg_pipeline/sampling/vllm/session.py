"""The sampler on a vLLM engine: rows of tokens, one request a turn.

A request holds all tokens of its row; the engine's prefix cache finds the keys and values of the turns before, so only
the newest context is computed. Tokens go in and out as ids, nothing is decoded. Each request draws from a seed of its
own, taken from the row's stream: what a row writes does not depend on which others are under way (but for float
rounding, which differs with a batch's shape).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sg_pipeline.errors import ConfigurationError
from sg_pipeline.sampling.base import Completion, StopWhen, check_numbers
from sg_pipeline.sampling.vllm.engine import Engine, Request

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy

_SEEDS = 2**62
"""Seeds lie below: vLLM takes signed 64-bit numbers."""


class VllmSampler:
    """Samples from a policy whose weights a vLLM engine holds (see `sampling.base.Sampler`)."""

    def __init__(self, engine: Engine, policy: Policy, temperature: float = 1.0) -> None:
        """Sample from `policy` by `engine`, which has been brought up to date (`Engine.update`).

        Args:
            engine: whose log-probabilities are those at the sampling temperature.
            policy: checked against what the engine holds whenever a session is opened.
            temperature: 0 takes the likeliest token (log-probabilities are then those at temperature 1).

        Raises:
            ConfigurationError: a negative temperature.
        """
        if not 0 <= temperature < float("inf"):
            raise ConfigurationError(f"temperature must be a finite number of at least 0, found {temperature}.")
        self._engine = engine
        self._policy = policy
        self._temperature = float(temperature)

    def open(self, streams: Sequence[np.random.Generator], max_length: int) -> VllmSession:
        """Start `len(streams)` empty rows of at most `max_length` tokens (see `sampling.base.Sampler`)."""
        if not self._engine.holds(self._policy):
            raise RuntimeError(
                f"the engine holds the weights of step {self._engine.step}, but those of step {self._policy.step} of "
                f"{self._policy.name} are asked for: it must be updated first"
            )
        self._engine.forget()  # what a session that was left behind has begun
        return VllmSession(self._engine, self._temperature, streams, max_length, self._policy.describe())


class VllmSession:
    """A batch of episodes being sampled (see `sampling.base.StreamingSession`)."""

    def __init__(
        self,
        engine: Engine,
        temperature: float,
        streams: Sequence[np.random.Generator],
        max_length: int,
        whose: str = "the policy",
    ) -> None:
        """Start with empty rows; use `VllmSampler.open`."""
        self._engine = engine
        self._whose = whose
        self._temperature = temperature
        self._streams = list(streams)
        self._max_length = max_length
        self._ids: list[list[int]] = [[] for _ in self._streams]
        self._under_way: set[int] = set()
        self._ready: list[tuple[int, Completion]] = []
        """Completions of rows that the engine need not be asked for: those without room."""

    def length(self, row: int) -> int:
        """Tokens that row `row` holds now."""
        return len(self._ids[row])

    @property
    def under_way(self) -> int:
        """Rows whose turn is not finished."""
        return len(self._under_way) + len(self._ready)

    def submit(
        self,
        row: int,
        context: Sequence[int],
        stop_ids: Sequence[int],
        max_new_tokens: int,
        stop_when: StopWhen | None = None,
    ) -> None:
        """Append a context and begin to sample (see `sampling.base.StreamingSession.submit`)."""
        if row in self._under_way or any(row == done for done, _ in self._ready):
            raise ValueError(f"row {row} is under way")
        room = self._max_length - self.length(row) - len(context)
        if room >= min(1, max_new_tokens):
            self._ids[row] += map(int, context)
        if room <= 0 or max_new_tokens <= 0:
            self._ready.append((row, Completion([], [], stopped=False)))
            return
        if not self._ids[row]:
            raise ValueError(f"row {row} is empty and so is its context: there is nothing to sample from")
        seed = int(self._streams[row].integers(_SEEDS))
        limit = min(max_new_tokens, room)
        request = Request(list(self._ids[row]), tuple(map(int, stop_ids)), limit, self._temperature, seed)
        self._engine.submit(row, request, stop_when)
        self._under_way.add(row)

    def poll(self) -> list[tuple[int, Completion]]:
        """Let the engine work for a moment; return the turns that are finished."""
        finished, self._ready = self._ready, []
        for row, completion in self._engine.poll() if self._under_way else ():
            check_numbers(completion.logprobs, self._whose)
            self._under_way.remove(row)
            self._ids[row] += completion.ids
            finished.append((row, completion))
        return finished

    def extend(
        self,
        rows: Sequence[int],
        contexts: Sequence[Sequence[int]],
        stop_ids: Sequence[int],
        max_new_tokens: int | Sequence[int],
        stop_when: StopWhen | None = None,
    ) -> list[Completion]:
        """Append contexts and sample (see `sampling.base.Session.extend`).

        A row that would exceed `max_length` is cut. Where not even its context and one more token fit, nothing is
        appended and its completion is empty.
        """
        limits = [max_new_tokens] * len(rows) if isinstance(max_new_tokens, int) else max_new_tokens
        for row, context, limit in zip(rows, contexts, limits, strict=True):
            self.submit(row, context, stop_ids, limit, stop_when)
        completions: dict[int, Completion] = {}
        while len(completions) < len(rows):
            completions.update(self.poll())
        return [completions[row] for row in rows]
