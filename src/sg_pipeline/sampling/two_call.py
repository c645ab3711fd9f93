"""Two policies write one turn: a guide the guidance, then the policy the action.

    context ─► guide ─► guidance ─► policy ─► action ─► (to both) next context ─► …

Both hold the same token sequence in separate sessions, so each keeps its key-value cache, and both draw from the row's
one stream: with equal weights a turn equals that of a single call, token for token. To all callers it is an ordinary
sampler.

As in a single call, the guidance may use up the whole turn or end it with a stop token. The turn then stays as it is,
without an action, and is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sg_pipeline.sampling.base import Completion, Limits, Sampler, Session, Tokens

if TYPE_CHECKING:
    import numpy as np

    from sg_pipeline.sampling.transformers_sampler import StopWhen, TransformersSampler, TransformersSession


class TwoCallSampler:
    """Samples guidance from one policy and actions from another; both read the same tokens.

    Attributes:
        counters: of all its sessions: "guide_tokens"; "guide_ended_turns" and "guide_filled_turns", turns without an
            action because the guide sampled a stop token or used up the turn's tokens.
    """

    def __init__(self, guide: TransformersSampler, policy: Sampler, guidance_ends: StopWhen) -> None:
        """Let `guide` write each turn until `guidance_ends` (`agents.handover.Handover`), and `policy` the rest.

        Both have the same tokenizer.
        """
        self._guide = guide
        self._policy = policy
        self._guidance_ends = guidance_ends
        self.counters: Counter[str] = Counter(guide_tokens=0, guide_ended_turns=0, guide_filled_turns=0)

    def open(self, streams: Sequence[np.random.Generator], max_length: int) -> TwoCallSession:
        """Start `len(streams)` empty rows (see `sampling.base.Sampler`)."""
        guide, policy = self._guide.open(streams, max_length), self._policy.open(streams, max_length)
        return TwoCallSession(guide, policy, self._guidance_ends, self.counters)

    def row_bytes(self, max_length: int) -> int:
        """Return the memory of a row in both caches (see `sampling.base.Sampler`)."""
        return self._guide.row_bytes(max_length) + self._policy.row_bytes(max_length)


class TwoCallSession:
    """A batch of episodes being sampled by two policies (see `sampling.base.Session`).

    The guide reads an action together with the context that follows it.
    """

    def __init__(
        self, guide: TransformersSession, policy: Session, guidance_ends: StopWhen, counters: Counter[str]
    ) -> None:
        self._guide = guide
        self._policy = policy
        self._guidance_ends = guidance_ends
        self._counters = counters
        self._unread: dict[int, list[int]] = {}
        """Row -> the policy's tokens of the last turn, which the guide has not read."""

    def length(self, row: int) -> int:
        """Return the number of tokens that row `row` holds."""
        return self._guide.length(row) + len(self._unread.get(row, ()))

    def extend(
        self, rows: Sequence[int], contexts: Sequence[Tokens], stop_ids: Tokens, max_new_tokens: Limits
    ) -> list[Completion]:
        """Append contexts and sample a turn each: guidance, then action (see `sampling.base.Session.extend`)."""
        limits = [max_new_tokens] * len(rows) if isinstance(max_new_tokens, int) else max_new_tokens
        unread = [[*self._unread.get(row, ()), *context] for row, context in zip(rows, contexts, strict=True)]
        guidance = self._guide.extend(rows, unread, stop_ids, limits, self._guidance_ends)
        read, left = [], []
        for context, part, limit in zip(contexts, guidance, limits, strict=True):
            # A full row takes no context, as in a single call.
            read.append([*context, *part.ids] if part.ids else [])
            left.append(limit - len(part.ids) if part.ids and not part.stopped else 0)
            self._counters["guide_tokens"] += len(part.ids)
            self._counters["guide_ended_turns"] += part.stopped
            self._counters["guide_filled_turns"] += bool(part.ids) and not part.stopped and left[-1] == 0
        actions = self._policy.extend(rows, read, stop_ids, left)
        completions = []
        for row, part, action, more in zip(rows, guidance, actions, left, strict=True):
            if part.ids:
                self._unread[row] = action.ids
            stopped = action.stopped if more else part.stopped
            completions.append(Completion(part.ids + action.ids, part.logprobs + action.logprobs, stopped))
        return completions
