"""The sampler on a vLLM server: rows of tokens, one request a turn.

A request holds all tokens of its row. The server's prefix cache finds the keys and values of earlier turns, so only the
newest context is computed. Tokens go in and out as ids, nothing is decoded. Each request has a seed from its row's
stream: what a row writes does not depend on other rows, except for rounding, which may differ with a batch's shape.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from sg_pipeline.policies.weights import plain_model
from sg_pipeline.sampling.base import Completion, Limits, Tokens, check_numbers, check_positions, keep_engine
from sg_pipeline.sampling.vllm.engine import VllmEngine
from sg_pipeline.sampling.vllm.weights import adapter_room, computed, dtype_of

if TYPE_CHECKING:
    import numpy as np

    from sg_pipeline.config.sampling import SamplingConfig
    from sg_pipeline.policies.policy import Policy

logger = logging.getLogger(__name__)

_SEEDS = 2**62
"""Seeds are below this: vLLM takes signed 64-bit integers."""


def make_sampler(policy: Policy, config: SamplingConfig, temperature: float, max_length: int) -> VllmSampler:
    """Return a sampler on this process's engine, updated to the policy (see `sampling.base.make_sampler`)."""
    engine = engine_for(policy, config, max_length)
    engine.update(policy)
    return VllmSampler(engine, policy, temperature)


def engine_for(policy: Policy, config: SamplingConfig, max_length: int) -> VllmEngine:
    """Return the engine for models of the policy's shape; the first call starts it."""
    model = plain_model(policy)
    check_positions(model, max_length)
    dtype = dtype_of(policy, config.vllm)
    room = adapter_room(policy, config.vllm, dtype)
    if room is None and dtype != "float32" and hasattr(policy.model, "peft_config"):
        logger.warning(
            "sampling.vllm.adapters is 'merged': %s weights lose every change smaller than their rounding, so the "
            "engine samples from another policy than the one that is trained (docs/vllm.md)",
            dtype,
        )
    what = [config.model_dump(), max_length, dtype, type(model).__name__, computed(model.config.to_dict()), room]
    key = json.dumps(what, sort_keys=True, default=str)
    return cast("VllmEngine", keep_engine(key, lambda: VllmEngine(policy, config, max_length)))


class VllmSampler:
    """Samples from a policy whose weights a vLLM server holds (see `sampling.base.Sampler`)."""

    def __init__(self, engine: VllmEngine, policy: Policy, temperature: float = 1.0) -> None:
        """Sample from `policy` with `engine`, which was updated to it (`VllmEngine.update`); see `make_sampler`."""
        self.engine = engine
        self.policy = policy
        self.temperature = temperature

    def open(self, streams: Sequence[np.random.Generator], max_length: int) -> VllmSession:
        """Start `len(streams)` empty rows of at most `max_length` tokens (see `sampling.base.Sampler`)."""
        if not self.engine.holds(self.policy):
            raise RuntimeError(f"the vLLM engine must be updated to {self.policy.describe()} first")
        self.engine.forget()  # requests of a session that was abandoned
        return VllmSession(self, streams, max_length)

    def row_bytes(self, max_length: int) -> int:
        """Return 0: the server has the cache (see `sampling.base.Sampler`)."""
        return 0


class VllmSession:
    """A batch of episodes being sampled (see `sampling.base.StreamingSession`)."""

    def __init__(self, sampler: VllmSampler, streams: Sequence[np.random.Generator], max_length: int) -> None:
        self._sampler = sampler
        self._streams = list(streams)
        self._max_length = max_length
        self._ids: list[list[int]] = [[] for _ in self._streams]
        self._stop_ids: dict[int, Tokens] = {}
        """Row that is being sampled -> the tokens that end its turn."""
        self._ready: list[tuple[int, Completion]] = []
        """Completions that need no request: those of rows without room."""

    def length(self, row: int) -> int:
        """Return the number of tokens that row `row` holds."""
        return len(self._ids[row])

    @property
    def under_way(self) -> int:
        """Number of rows whose turn is not finished."""
        return len(self._stop_ids) + len(self._ready)

    def submit(self, row: int, context: Tokens, stop_ids: Tokens, max_new_tokens: int) -> None:
        """Append a context and start to sample (see `sampling.base.StreamingSession.submit`)."""
        room = self._max_length - self.length(row) - len(context)
        if room >= min(1, max_new_tokens):
            self._ids[row] += map(int, context)
        if room <= 0 or max_new_tokens <= 0:
            self._ready.append((row, Completion([], [], stopped=False)))
            return
        self._stop_ids[row] = stop_ids
        limit, seed = min(max_new_tokens, room), int(self._streams[row].integers(_SEEDS))
        self._sampler.engine.submit(row, self._ids[row], stop_ids, limit, self._sampler.temperature, seed)

    def poll(self) -> list[tuple[int, Completion]]:
        """Wait for a moment; return the turns that are finished."""
        finished, self._ready = self._ready, []
        for row, ids, logprobs in self._sampler.engine.poll() if self._stop_ids else ():
            check_numbers(logprobs, self._sampler.policy.describe())
            self._ids[row] += ids
            finished.append((row, Completion(ids, logprobs, stopped=ids[-1] in self._stop_ids.pop(row))))
        return finished

    def extend(
        self, rows: Sequence[int], contexts: Sequence[Tokens], stop_ids: Tokens, max_new_tokens: Limits
    ) -> list[Completion]:
        """Append contexts and sample (see `sampling.base.Session.extend`)."""
        limits = [max_new_tokens] * len(rows) if isinstance(max_new_tokens, int) else max_new_tokens
        for row, context, limit in zip(rows, contexts, limits, strict=True):
            self.submit(row, context, stop_ids, limit)
        completions: dict[int, Completion] = {}
        while len(completions) < len(rows):
            completions.update(self.poll())
        return [completions[row] for row in rows]
