"""Where in a turn the guidance ends: the format of turns that two policies write.

    <guidance>positive: take mug 1</guidance>   the guide's, up to the token that ends the closing tag
    <action>take mug 1 from shelf 2</action>    the policy's

Who wrote a token follows from the tokens alone, so only the turn needs to be recorded. What the guide wrote is
`Segment.GUIDANCE`, whatever it says, and the rest, which is the policy's, is `Segment.ACTION`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from sg_pipeline.agents.chat import Reasoning
from sg_pipeline.agents.encoding import decode
from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.agents.turns import ParsedTurn
from sg_pipeline.trajectories.types import Segment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENDS = ("</guidance>", "<action>")
"""What ends a guidance. An action that begins inside one ends it, too: the guide does not act."""

_VERDICT = re.compile(r"<guidance>\s*(?:positive|neutral|negative)\b", re.IGNORECASE)
_TAIL = max(map(len, ENDS))
"""A tag has no more tokens than characters."""


class Handover:
    """Detects, token by token, the end of the guidance. Works for tags of one token, of many, or merged ones."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, reasoning: Reasoning | None = None) -> None:
        """Use the texts that `tokenizer` decodes, without `reasoning` (None: in the tags of known models)."""
        self._tokenizer = tokenizer
        self._reasoning = reasoning or Reasoning()
        self._may_end: dict[int, bool] = {}
        self._verdicts: dict[tuple[int, ...], int | None] = {}

    def __call__(self, ids: Sequence[int]) -> bool:
        """Return whether a tag that ends the guidance is complete with the last token of `ids`, and was not before.

        Args:
            ids: all tokens of the turn so far, of which no shorter part had ended the guidance.
        """
        last = ids[-1]
        if last not in self._may_end:
            # Tags end on this sign, so for most tokens the text before need not be decoded.
            self._may_end[last] = ">" in decode(self._tokenizer, [last])
        if not self._may_end[last] or not any(tag in decode(self._tokenizer, ids[-_TAIL:]) for tag in ENDS):
            return False
        return any(tag in self._answer(ids) for tag in ENDS)

    def length(self, ids: Sequence[int]) -> int:
        """Return how many tokens of a whole turn are the guide's: all, if nothing ends the guidance."""
        return next((n for n in range(1, len(ids)) if self(ids[:n])), len(ids))

    def verdict_length(self, ids: Sequence[int]) -> int:
        """Return after how many tokens of a turn the guidance's verdict is complete; 0 if it gives none."""
        for count in range(1, len(ids) + 1):
            begun = tuple(ids[:count])
            if begun not in self._verdicts:  # many turns begin alike
                answer = self._answer(begun).lstrip()
                ended = any(tag in answer for tag in ENDS)
                self._verdicts[begun] = count if _VERDICT.match(answer) else 0 if ended else None
            if (found := self._verdicts[begun]) is not None:
                return found
        return 0

    def _answer(self, ids: Sequence[int]) -> str:
        text = decode(self._tokenizer, ids)
        start, stop = self._reasoning.answer(text)
        return text[start:stop]


class GuidedFormat(AgentFormat):
    """The format of turns whose guidance another policy wrote; texts and tokens are those of `AgentFormat`."""

    @cached_property
    def handover(self) -> Handover:
        """Where the guide's part of a turn ends."""
        return Handover(self._tokenizer, self.reasoning)

    def parse(self, completion_ids: Sequence[int]) -> ParsedTurn:
        """Parse a turn; its segments are who wrote each token."""
        guides = self.handover.length(completion_ids)
        own = len(completion_ids) - guides
        segments = [int(Segment.GUIDANCE)] * guides + [int(Segment.ACTION)] * own
        return replace(super().parse(completion_ids), segments=segments)
