"""Sampling from a stock transformers model, with the key-value cache kept from turn to turn.

Rows are stored by position (`kv_cache.py`); the batch is always the first rows of the cache. A row that has finished
its turn stays in the batch, ignored, until enough rows have finished: then the others are moved to the front. On a CPU
a Qwen3 or Llama runs without its modules (`direct_forward.py`), and a large one reads draft tokens (`drafts.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence, Set
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch

from sg_pipeline.errors import ConfigurationError
from sg_pipeline.policies.policy import causal_model
from sg_pipeline.sampling.base import Completion, Limits, Tokens, check_numbers, check_positions, inference
from sg_pipeline.sampling.direct_forward import direct_forward
from sg_pipeline.sampling.drafts import LONGEST, Drafts
from sg_pipeline.sampling.kv_cache import BLOCK, RowCache, row_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from sg_pipeline.config.base_model import Compute
    from sg_pipeline.config.sampling import SamplingConfig
    from sg_pipeline.policies.policy import Policy

PREFILL_TOKENS = 8192
"""Contexts are fed in batches of at most this many tokens, padding included: bounds the memory of activations."""
PREFILL_POSITIONS = 2**18
"""And of at most this many rows x cached positions: where a query is longer than one token, transformers repeats a
layer's keys and values for every query head as soon as there is a mask (`use_gqa_in_sdpa`)."""
SHARED_TOKENS = 16
"""Rows that begin with the same context, such as those of a group, read it once if it has at least this many tokens."""
COMPACT_BELOW = 0.75
"""Unfinished rows are moved to the front when they are fewer than this share of the batch, because moving is a copy."""
DRAFTS_FROM = 20_000_000
"""Parameters from which a pass over a few draft tokens costs less than the passes that it saves: a rollout takes 1.87
times less CPU with the 135 million of SmolLM2, and 1.26 times more with one million (one core of a Xeon). Nothing is
drafted with transformers' modules, which copy cached keys and values where a row has several tokens and a mask."""

StopWhen = Callable[[Sequence[int]], bool]
"""All tokens sampled in this turn -> whether the turn ends here. Called after each token."""


def make_sampler(policy: Policy, config: SamplingConfig, temperature: float, max_length: int) -> TransformersSampler:
    """Return a sampler of the policy's own model (see `sampling.base.make_sampler`)."""
    return TransformersSampler(policy.model, temperature, policy.compute, policy.describe())


class TransformersSampler:
    """Samples from any transformers causal language model with full attention (eager or sdpa)."""

    def __init__(
        self, model: PreTrainedModel, temperature: float = 1.0, compute: Compute = "weights", whose: str = "the model"
    ) -> None:
        """Sample from `model` (on any device, in any float type, adapters included) with its weights at each call.

        Args:
            model, temperature: see `sampling.base.make_sampler`.
            compute: of the policy, see `policies.compute`; with bfloat16 the cache takes half the bytes.
            whose: names the policy in messages.

        Raises:
            ConfigurationError: the model's attention does not work with the cache.
        """
        self.model = causal_model(model)
        implementation = getattr(self.model.config, "_attn_implementation", None)
        if implementation not in ("sdpa", "eager"):
            raise ConfigurationError(
                f"the transformers sampler needs attention 'sdpa' or 'eager', but the model uses '{implementation}'; "
                "load it with attn_implementation='sdpa'"
            )
        self.temperature = temperature
        self.compute: Compute = compute
        self.whose = whose

    def row_bytes(self, max_length: int) -> int:
        """Return the memory of a row's keys and values (see `sampling.base.Sampler`)."""
        return row_bytes(self.model, max_length, self.compute)

    def open(self, streams: Sequence[np.random.Generator], max_length: int) -> TransformersSession:
        """Start empty rows (see `sampling.base.Sampler`); a `ConfigurationError` where the model cannot hold them."""
        check_positions(self.model, max_length)
        _check_attention(self.model, max_length)
        return TransformersSession(self, streams, max_length)


class _Turn:
    """The tokens that rows sample until each has ended its turn.

    Attributes:
        limits: row -> the most tokens that it may sample.
        stops, stop_when: what ends a row's turn.
        written: row -> its tokens and their log-probabilities.
        active: rows that have not ended their turn.
    """

    def __init__(self, limits: dict[int, int], stops: frozenset[int], stop_when: StopWhen | None) -> None:
        self.limits, self.stops, self.stop_when = limits, stops, stop_when
        self.written: dict[int, tuple[list[int], list[float]]] = {row: ([], []) for row in limits}
        self.active = set(limits)

    def add(self, row: int, token: int, score: float) -> None:
        """Add a row's next token, which may end its turn."""
        ids, logprobs = self.written[row]
        ids.append(token)
        logprobs.append(score)
        ended = self.stop_when is not None and self.stop_when(ids)
        if ended or token in self.stops or len(ids) == self.limits[row]:
            self.active.discard(row)


class TransformersSession:
    """A batch of episodes being sampled (see `sampling.base.Session`).

    The last token of a row is always pending: sampled or given, but not yet in the cache.
    """

    def __init__(self, sampler: TransformersSampler, streams: Sequence[np.random.Generator], max_length: int) -> None:
        self._sampler = sampler
        self._model = sampler.model
        self._streams = list(streams)
        self._max_length = max_length
        self._direct = direct_forward(self._model, sampler.compute, max_length)
        shorter = torch.bfloat16 if sampler.compute == "bfloat16" else None
        self._attention_type = shorter or self._model.dtype
        self._cache = RowCache(rows=len(streams), block=BLOCK, dtype=shorter)
        self._cached = [0] * len(streams)
        self._pending: list[list[int]] = [[] for _ in streams]
        drafted = self._direct is not None and self._model.num_parameters() >= DRAFTS_FROM
        self._drafts = Drafts(len(streams), LONGEST if drafted else 0)
        self._order = list(range(len(streams)))
        """The row in each cache row; dropped rows are not in it."""
        self._has_run = False
        """A forward pass has succeeded, so a later error is not caused by the architecture."""
        self._last_logits = "logits_to_keep" in inspect.signature(self._model.forward).parameters

    def length(self, row: int) -> int:
        """Return the number of tokens that row `row` holds."""
        return self._cached[row] + len(self._pending[row])

    def extend(
        self,
        rows: Sequence[int],
        contexts: Sequence[Tokens],
        stop_ids: Tokens,
        max_new_tokens: Limits,
        stop_when: StopWhen | None = None,
    ) -> list[Completion]:
        """Append contexts and sample (see `sampling.base.Session.extend`).

        `stop_when` is a further reason to end a row's sample, for ends that are not a single token.
        """
        most = [max_new_tokens] * len(rows) if isinstance(max_new_tokens, int) else max_new_tokens
        self._bring_forward(set(rows))
        del self._order[len(rows) :]
        limits: dict[int, int] = {}
        for row, context, limit in zip(rows, contexts, most, strict=True):
            room = self._max_length - self.length(row) - len(context)
            if room >= min(1, limit):
                self._pending[row] += map(int, context)
                self._drafts.append(row, map(int, context))
            if room > 0 and limit > 0:
                limits[row] = min(limit, room)
        if not limits:
            return [Completion([], [], stopped=False) for _ in rows]
        self._bring_forward(limits.keys())
        stops = frozenset(map(int, stop_ids))
        with inference(self._model, self._sampler.compute):
            written = self._sample(_Turn(limits, stops, stop_when))
        pairs = (written.get(row, ([], [])) for row in rows)
        return [Completion(ids, logprobs, stopped=bool(ids) and ids[-1] in stops) for ids, logprobs in pairs]

    def _sample(self, turn: _Turn) -> dict[int, tuple[list[int], list[float]]]:
        """Sample the turn's rows (the first cache rows) until each has stopped or reached its limit.

        Returns:
            Row -> its tokens and their log-probabilities.
        """
        # Every row of the turn fits from here on, so the cache grows at most once a turn.
        self._cache.reserve(max(self.length(row) + limit for row, limit in turn.limits.items()), rows=len(self._order))
        logits = self._prefill(len(turn.limits))
        batch = self._order[: len(turn.limits)]
        drafts: dict[int, list[int]] = {row: [] for row in batch}
        while True:
            self._draw(turn, batch, drafts, logits)
            if not turn.active:
                return turn.written
            if len(turn.active) < COMPACT_BELOW * len(batch):
                self._bring_forward(turn.active)
                batch = self._order[: len(turn.active)]
            drafts = {row: [] for row in batch}
            for row in turn.active:
                most = turn.limits[row] - len(turn.written[row][0]) - 1  # one token more is drawn than agrees
                drafts[row] = self._drafts.propose(row, most, turn.stops)
                self._pending[row] += drafts[row]
            logits = self._forward(batch, 0, every=True)
            for row in turn.active:
                self._cached[row] += 1
                self._pending[row] = []

    def _draw(self, turn: _Turn, batch: list[int], drafts: dict[int, list[int]], logits: torch.Tensor) -> None:
        """Draw the next tokens of the active rows: as long as they are those of a row's draft, and one more.

        Args:
            turn: gets the tokens.
            batch: rows of the last pass.
            drafts: row -> draft tokens, which are in the cache after the row's own.
            logits: for each row in turn after its last token and after each one of its draft.
        """
        first = dict(zip(batch, accumulate((1 + len(drafts[row]) for row in batch), initial=0), strict=False))
        drawing, place = [row for row in batch if row in turn.active], 0
        while drawing:
            # One number at a time: the guide's session draws from the same stream (`two_call.py`).
            chance = [self._streams[row].random() for row in drawing]
            at = logits if len(drawing) == len(logits) else logits[[first[row] + place for row in drawing]]
            chosen, scores = draw(at, chance, self._sampler.temperature)
            check_numbers(scores, self._sampler.whose)
            for row, token, score in zip(drawing, chosen, scores, strict=True):
                turn.add(row, token, score)
                self._drafts.append(row, [token])
                self._pending[row] = [token]
                self._cached[row] += place > 0  # the draft's token before this one is in the cache already
            agree = zip(drawing, chosen, strict=True)
            drawing = [row for row, token in agree if row in turn.active and drafts[row][place : place + 1] == [token]]
            place += 1

    def _prefill(self, count: int) -> torch.Tensor:
        """Feed the pending tokens of the first `count` cache rows, which may change places; return their last logits.

        Rows that begin with the same long context are copies of one that reads it.
        """
        first: dict[object, int] = {}
        source = {}
        for row in self._order[:count]:
            shares = not self._cached[row] and len(self._pending[row]) >= SHARED_TOKENS
            source[row] = first.setdefault(tuple(self._pending[row]) if shares else row, row)
        readers = [row for row, other in source.items() if row == other]
        self._bring_forward(set(readers))
        logits = self._read(self._order[: len(readers)])
        copies = self._order[len(readers) : count]
        if copies:
            places = [self._order.index(source[row]) for row in copies]
            length = max(self._cached[source[row]] for row in copies)
            self._cache.move(range(len(readers), count), places, length)
            for row in copies:
                self._cached[row], self._pending[row] = self._cached[source[row]], []
            logits = torch.cat([logits, logits[places]])
        return logits

    def _read(self, batch: list[int]) -> torch.Tensor:
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
        return torch.cat(parts)

    def _forward(self, batch: list[int], start: int, *, every: bool = False) -> torch.Tensor:
        """Run the model on the pending tokens of `batch`, which is in the cache from row `start` on.

        Tokens are at the right of the query dimension, so that the last logits are those of every row's next token.

        Returns:
            Logits after the last pending token of each row, (rows, vocabulary), or after each, (tokens, vocabulary).
        """
        device = self._model.device
        new = [token for row in batch for token in self._pending[row]]
        counts = np.array([len(self._pending[row]) for row in batch])
        width = int(counts.max())
        cached = np.array([self._cached[row] for row in batch])
        # Queries of the padding are at position 0: they see one token, and their results are never stored.
        place_in_row = np.arange(width) - (width - counts)[:, None]
        stored = place_in_row >= 0
        positions = np.where(stored, cached[:, None] + place_in_row, 0)
        batch_index, query_index = np.nonzero(stored)
        place = self._cache.placement
        place.start, place.stop = start, start + len(batch)
        place.span = int(positions.max()) + 1
        place.batch_index = torch.from_numpy(batch_index).to(device)
        place.query_index = torch.from_numpy(query_index).to(device)
        place.positions = torch.from_numpy(positions[stored]).to(device)
        at = torch.from_numpy(positions).to(device)
        hidden = torch.arange(place.span, device=device) > at[:, None, :, None]  # positions after a query's own
        mask = torch.zeros(hidden.shape, dtype=self._attention_type, device=device)
        mask.masked_fill_(hidden, torch.finfo(mask.dtype).min)
        if self._direct is not None:
            wanted = torch.arange(len(new)) if every else torch.from_numpy(np.cumsum(counts) - 1)
            return self._direct(torch.tensor(new), wanted, mask, self._cache)
        tokens = np.zeros((len(batch), width), dtype=np.int64)
        tokens[stored] = new
        kind = self._model.config.model_type
        try:
            outputs = self._model(
                input_ids=torch.from_numpy(tokens).to(device),
                attention_mask=mask,
                position_ids=at,
                past_key_values=self._cache,
                use_cache=True,
                **({"logits_to_keep": 1} if self._last_logits else {}),
            )
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
            if self._has_run or "memory" in str(error):
                raise
            raise ConfigurationError(
                f"the transformers sampler cannot run the model '{kind}', whose code does not take its cache, mask or "
                f"positions ({type(error).__name__}: {' '.join(str(error).split())[:200]}); choose a model of another "
                f"architecture, or sampling.engine=vllm"
            ) from error
        if not self._cache.layers:
            raise ConfigurationError(
                f"the model '{kind}' keeps no key-value cache, which the transformers sampler needs"
            )
        self._has_run = True
        logits: torch.Tensor = outputs.logits[:, -1]  # with `every` too: nothing is drafted here
        return logits

    def _bring_forward(self, chosen: Set[int]) -> None:
        """Permute the cache so that the chosen rows fill its first rows, moving as few as possible."""
        front = len(chosen)
        leaving = [index for index in range(front) if self._order[index] not in chosen]
        coming = [index for index in range(front, len(self._order)) if self._order[index] in chosen]
        if not leaving:
            return
        length = max(self._cached[self._order[index]] for index in (*leaving, *coming))
        self._cache.move([*leaving, *coming], [*coming, *leaving], length)
        for low, high in zip(leaving, coming, strict=True):
            self._order[low], self._order[high] = self._order[high], self._order[low]


def draw(logits: torch.Tensor, chance: Sequence[float], temperature: float) -> tuple[list[int], list[float]]:
    """Draw one token a row from logits (batch, vocabulary), by one uniform number in [0, 1) a row.

    The token is the first whose cumulative probability exceeds the row's number, so a row's choice depends only on its
    own logits and number; at temperature 0 it is the most likely one. Sums are in float64: a large vocabulary's tail is
    not rounded away.

    Returns:
        Ids and their float32 log-probabilities at the temperature (at 1 if it is 0). Where logits are not finite (one
        is NaN or +inf, or all are -inf) the log-probability is NaN and the id has no meaning.
    """
    logits = logits.float()
    if temperature not in (0, 1):
        logits = logits / temperature
    logprobs = torch.log_softmax(logits, dim=-1)
    if temperature == 0:
        chosen = logits.argmax(dim=-1, keepdim=True)
    else:
        cumulative = logprobs.exp().cumsum(dim=-1, dtype=torch.float64)
        total = cumulative[:, -1:].contiguous()
        numbers = torch.tensor(chance, dtype=torch.float64, device=logits.device)[:, None]
        chosen = torch.searchsorted(cumulative, numbers * total, right=True)
        # Rounding may reach the very end: then the last token that has any probability.
        chosen = torch.minimum(chosen, torch.searchsorted(cumulative, total)).clamp_(max=logits.size(-1) - 1)
    scores = logprobs.gather(-1, chosen)
    return chosen[:, 0].tolist(), scores[:, 0].tolist()


def _check_attention(model: PreTrainedModel, max_length: int) -> None:
    """Reject attention that is not full at `max_length`."""
    config = model.config.get_text_config(decoder=True)
    window = getattr(config, "sliding_window", None)
    plain = "full_attention" if window is None else "sliding_attention"
    kinds = set(getattr(config, "layer_types", None) or [plain]) - {"full_attention"}
    if window is not None and window >= max_length:
        kinds.discard("sliding_attention")
    if kinds:
        raise ConfigurationError(
            f"the transformers sampler supports full attention only, but the model '{config.model_type}' has "
            f"{', '.join(sorted(kinds))} (sliding window {window}) at max_length {max_length}"
        )
