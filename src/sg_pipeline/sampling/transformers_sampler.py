"""Sampling on a stock transformers model, with the key-value cache kept from turn to turn.

Rows are stored by position (`kv_cache.py`); the batch is always the first rows of the cache. A row that has
finished its turn goes on as ballast until enough have: then the others are moved to the front.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from sg_pipeline.config.base_model import Compute
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.policies.compute import computing
from sg_pipeline.policies.policy import causal_model
from sg_pipeline.sampling.base import Completion, StopWhen, check_numbers
from sg_pipeline.sampling.draw import draw
from sg_pipeline.sampling.kv_cache import BLOCK, RowCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sg_pipeline.config.sampling import SamplingConfig
    from sg_pipeline.policies.policy import Policy

PREFILL_TOKENS = 8192
"""Contexts are fed in batches of at most this many tokens (padding included), which bounds activation memory."""
PREFILL_POSITIONS = 2**18
"""And of at most this many rows x cached positions: where a query is longer than one token, transformers repeats a
layer's keys and values for every query head as soon as there is a mask (`use_gqa_in_sdpa`)."""
COMPACT_BELOW = 0.75
"""Unfinished rows are moved to the front when they are fewer than this share of the batch: moving costs a copy."""


class TransformersSampler:
    """Samples from any transformers causal language model with full attention (eager or sdpa)."""

    def __init__(
        self,
        model: PreTrainedModel,
        temperature: float = 1.0,
        compute: Compute = "weights",
        whose: str = "the model",
    ) -> None:
        """Sample from `model`, as its weights are at the time of each call.

        Args:
            model: on any device, in any float type; PEFT's adapters are sampled with.
            temperature: 0 takes the likeliest token (log-probabilities are then those at temperature 1).
            compute: of the policy, see `policies.compute`; with bfloat16 the cache holds half as many bytes.
            whose: names the policy in messages.

        Raises:
            ConfigurationError: a negative temperature, or a model that the cache does not fit.
        """
        if not 0 <= temperature < float("inf"):
            raise ConfigurationError(f"temperature must be a finite number of at least 0, found {temperature}.")
        model = causal_model(model)
        implementation = getattr(model.config, "_attn_implementation", None)
        if implementation not in ("sdpa", "eager"):
            raise ConfigurationError(
                f"the transformers sampler needs attention 'sdpa' or 'eager', the model uses '{implementation}'; "
                "load it with attn_implementation='sdpa'."
            )
        self.model = model
        self.temperature = float(temperature)
        self.compute: Compute = compute
        self._whose = whose

    def open(self, streams: Sequence[np.random.Generator], max_length: int) -> TransformersSession:
        """Start `len(streams)` empty rows of at most `max_length` tokens (see `sampling.base.Sampler`)."""
        _check_length(self.model, max_length)
        return TransformersSession(self.model, self.temperature, streams, max_length, self.compute, self._whose)


class TransformersSession:
    """A batch of episodes being sampled (see `sampling.base.Session`).

    The last token of a row is always pending: sampled or given, but not yet in the cache.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        temperature: float,
        streams: Sequence[np.random.Generator],
        max_length: int,
        compute: Compute = "weights",
        whose: str = "the model",
    ) -> None:
        """Start with empty rows; use `TransformersSampler.open`."""
        self._model = model
        self._whose = whose
        self._temperature = temperature
        self._streams = list(streams)
        self._max_length = max_length
        self._compute = compute
        self._attention_type = torch.bfloat16 if compute == "bfloat16" else model.dtype
        kept = self._attention_type if compute == "bfloat16" else None
        self._cache = RowCache(rows=len(self._streams), block=BLOCK, dtype=kept)
        self._cached = [0] * len(self._streams)
        self._pending: list[list[int]] = [[] for _ in self._streams]
        self._order = list(range(len(self._streams)))
        """Row that lies in each cache row; rows that were dropped are not in it."""
        self._fits = False
        """A forward pass has succeeded: a later error is none of the architecture's."""
        self._last_logits = "logits_to_keep" in inspect.signature(model.forward).parameters

    def length(self, row: int) -> int:
        """Tokens that row `row` holds now."""
        return self._cached[row] + len(self._pending[row])

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
        most = [max_new_tokens or -1] * len(rows) if isinstance(max_new_tokens, int) else list(max_new_tokens)
        self._check(rows, contexts, most)
        wanted = set(rows)
        self._bring_forward([row for row in self._order if row in wanted])
        del self._order[len(rows) :]
        limits: dict[int, int] = {}
        for row, context, limit in zip(rows, contexts, most, strict=True):
            room = self._max_length - self.length(row) - len(context)
            if room >= min(1, limit):
                self._pending[row] += map(int, context)
            if room > 0 and limit > 0:
                limits[row] = min(limit, room)
        ids: dict[int, list[int]] = {row: [] for row in rows}
        logprobs: dict[int, list[float]] = {row: [] for row in rows}
        stops = frozenset(map(int, stop_ids))
        if limits:
            self._bring_forward([row for row in self._order if row in limits])
            with _sampling_mode(self._model), computing(self._compute, self._model.device):
                self._sample(limits, stops, stop_when, ids, logprobs)
        return [
            Completion(ids=ids[row], logprobs=logprobs[row], stopped=bool(ids[row]) and ids[row][-1] in stops)
            for row in rows
        ]

    def _sample(
        self,
        limits: dict[int, int],
        stops: frozenset[int],
        stop_when: StopWhen | None,
        ids: dict[int, list[int]],
        logprobs: dict[int, list[float]],
    ) -> None:
        """Sample the rows of `limits` (which lie at the front) until each has stopped or reached its limit."""
        batch = self._order[: len(limits)]
        active = set(batch)
        # Every row of the turn fits from here on, so the cache grows at most once a turn.
        self._cache.reserve(max(self.length(row) + limit for row, limit in limits.items()), rows=len(self._order))
        logits = self._prefill(batch)
        while True:
            chance = [self._streams[row].random() if row in active else 0.0 for row in batch]
            chosen, scores = draw(logits, chance, self._temperature)
            check_numbers(scores, self._whose)
            for row, token, score in zip(batch, chosen, scores, strict=True):
                if row not in active:
                    continue
                ids[row].append(token)
                logprobs[row].append(score)
                self._pending[row] = [token]
                ended = stop_when is not None and stop_when(ids[row])
                if ended or token in stops or len(ids[row]) == limits[row]:
                    active.discard(row)
            if not active:
                return
            if len(active) < COMPACT_BELOW * len(batch):
                self._bring_forward([row for row in self._order if row in active])
                batch = self._order[: len(active)]
            logits = self._forward(batch, 0)
            for row in active:
                self._cached[row] += 1
                self._pending[row] = []

    def _prefill(self, batch: list[int]) -> torch.Tensor:
        """Feed the pending tokens of `batch`, in slices that bound the memory; return the last logits of each row."""
        parts: list[torch.Tensor] = []
        start = 0
        while start < len(batch):
            stop, longest, span = start, 0, 0
            while stop < len(batch):
                longest = max(longest, len(self._pending[batch[stop]]))
                span = max(span, self.length(batch[stop]))
                rows = stop - start + 1
                if stop > start and (longest * rows > PREFILL_TOKENS or span * rows > PREFILL_POSITIONS):
                    break
                stop += 1
            parts.append(self._forward(batch[start:stop], start))
            start = stop
        for row in batch:
            self._cached[row] += len(self._pending[row])
            self._pending[row] = []
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _forward(self, batch: list[int], start: int) -> torch.Tensor:
        """Run the model on the pending tokens of `batch`, which lies in the cache from row `start` on.

        Tokens stand at the right of the query dimension, so that the last logits are everybody's next ones.

        Returns:
            Logits of the next token, (batch, vocabulary).
        """
        device = self._model.device
        counts = [len(self._pending[row]) for row in batch]
        width = max(counts)
        tokens = np.zeros((len(batch), width), dtype=np.int64)
        # The padding's queries stand at position 0: they see one token, are computed in vain and never stored.
        positions = np.zeros((len(batch), width), dtype=np.int64)
        for index, (row, count) in enumerate(zip(batch, counts, strict=True)):
            tokens[index, width - count :] = self._pending[row]
            positions[index, width - count :] = np.arange(self._cached[row], self._cached[row] + count)
        stored = np.arange(width)[None, :] >= width - np.asarray(counts)[:, None]
        batch_index, query_index = np.nonzero(stored)
        place = self._cache.placement
        place.start, place.stop = start, start + len(batch)
        place.span = int(positions.max()) + 1
        place.batch_index = torch.from_numpy(batch_index).to(device)
        place.query_index = torch.from_numpy(query_index).to(device)
        place.positions = torch.from_numpy(positions[stored]).to(device)
        at = torch.from_numpy(positions).to(device)
        kind = self._model.config.model_type
        try:
            outputs = self._model(
                input_ids=torch.from_numpy(tokens).to(device),
                attention_mask=self._mask(at, place.span),
                position_ids=at,
                past_key_values=self._cache,
                use_cache=True,
                **({"logits_to_keep": 1} if self._last_logits else {}),
            )
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
            if self._fits or "memory" in str(error):
                raise
            raise ConfigurationError(
                f"the transformers sampler cannot run the model '{kind}', whose code does not take its cache, mask or "
                f"positions ({type(error).__name__}: {' '.join(str(error).split())[:200]}); take a model of another "
                f"architecture, or sampling.engine=vllm"
            ) from error
        if not self._cache.layers:
            raise ConfigurationError(
                f"the model '{kind}' keeps no key-value cache, which the transformers sampler needs."
            )
        self._fits = True
        logits: torch.Tensor = outputs.logits[:, -1]
        return logits

    def _mask(self, positions: torch.Tensor, span: int) -> torch.Tensor:
        """Return the additive mask (batch, 1, queries, span): each query sees the positions up to its own."""
        dtype = self._attention_type
        hidden = torch.arange(span, device=positions.device) > positions[:, None, :, None]
        return torch.zeros(hidden.shape, dtype=dtype, device=positions.device).masked_fill_(
            hidden, torch.finfo(dtype).min
        )

    def _bring_forward(self, rows: list[int]) -> None:
        """Permute the cache so that `rows` (a subset of the order) fill its first rows, moving as few as possible."""
        front, chosen = len(rows), set(rows)
        leaving = [index for index in range(front) if self._order[index] not in chosen]
        coming = [index for index in range(front, len(self._order)) if self._order[index] in chosen]
        if not leaving:
            return
        length = max(self._cached[self._order[index]] for index in (*leaving, *coming))
        self._cache.move([*leaving, *coming], [*coming, *leaving], length)
        for low, high in zip(leaving, coming, strict=True):
            self._order[low], self._order[high] = self._order[high], self._order[low]

    def _check(self, rows: Sequence[int], contexts: Sequence[Sequence[int]], limits: Sequence[int]) -> None:
        if len(set(rows)) != len(rows) or not set(rows) <= set(self._order):
            raise ValueError(f"rows must be distinct and not dropped before, got {list(rows)}")
        if len(rows) != len(contexts):
            raise ValueError(f"{len(rows)} rows but {len(contexts)} contexts")
        if len(rows) != len(limits) or min(limits, default=0) < 0:
            raise ValueError(f"max_new_tokens must be at least 1, or for each row at least 0, got {list(limits)}")
        for row, context, limit in zip(rows, contexts, limits, strict=True):
            if limit and self.length(row) + len(context) == 0:
                raise ValueError(f"row {row} is empty and so is its context: there is nothing to sample from")


@contextmanager
def _sampling_mode(model: PreTrainedModel) -> Iterator[None]:
    """No gradients, no dropout; the model is as before afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _check_length(model: PreTrainedModel, max_length: int) -> None:
    """Refuse what the model or the cache cannot represent."""
    config = model.config.get_text_config(decoder=True)
    longest = getattr(config, "max_position_embeddings", None)
    if max_length < 1 or (longest is not None and max_length > longest):
        raise ConfigurationError(
            f"rollout.max_length must lie between 1 and the model's max_position_embeddings ({longest}), found "
            f"{max_length}."
        )
    window = getattr(config, "sliding_window", None)
    plain = "full_attention" if window is None else "sliding_attention"
    kinds = set(getattr(config, "layer_types", None) or [plain]) - {"full_attention"}
    if window is not None and window >= max_length:
        kinds.discard("sliding_attention")
    if kinds:
        raise ConfigurationError(
            f"the transformers sampler supports full attention only, the model '{config.model_type}' has "
            f"{', '.join(sorted(kinds))} (sliding window {window}) at max_length {max_length}."
        )


def make_sampler(policy: Policy, config: SamplingConfig, temperature: float, max_length: int) -> TransformersSampler:
    """Return a sampler of the policy's own model (see `sampling.engines.make_sampler`)."""
    return TransformersSampler(policy.model, temperature, policy.compute, policy.describe())
