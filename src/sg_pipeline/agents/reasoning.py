"""Reasoning: what a model drafts before its answer, in the tags of its chat template.

    <think>maybe <action>go to shelf 1</action></think><guidance>positive: on</guidance><action>go to shelf 2</action>
    └──────────────── reasoning ─────────────────────┘└──────────────────────── answer ──────────────────────────────┘

Only the answer counts: what follows the last closed block. After a block that stays open there is none. A closing tag
counts without an opening one, since a prompt may end inside a block. The tags are those that the template shows, and
those of known model families. Completions are never rendered again, so a template that strips reasoning from earlier
turns does not change what the policy reads: its reasoning stays in its context.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sg_pipeline.agents.chat import ChatPieces

_FAMILIES = (
    (r"<(?:\w+:)?(?:think|reason)(?:ing)?>", r"</(?:\w+:)?(?:think|reason)(?:ing)?>"),  # Qwen, DeepSeek, GLM, Seed, ...
    (r"\[THINK\]", r"\[/THINK\]"),  # Mistral
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Cohere
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),  # OpenThinker
    (r"<\|channel>", r"<channel\|>"),  # Gemma
    (r"<\|channel\|>(?:analysis|commentary)\b", r"<\|channel\|>final<\|message\|>"),  # gpt-oss
    (r"◁think▷", r"◁/think▷"),  # Kimi
)


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Finds the answer in a completion, for one chat template.

    Attributes:
        opening, closing: tags of a block.
        inside: the prompt ends inside a block.
        close: text with which the policy ends a block, as the template writes it; empty: it has no reasoning.
    """

    opening: re.Pattern[str] = re.compile("|".join(opening for opening, _ in _FAMILIES))
    closing: re.Pattern[str] = re.compile("|".join(closing for _, closing in _FAMILIES))
    inside: bool = False
    close: str = ""

    def answer(self, text: str) -> tuple[int, int]:
        """Return where the answer begins and ends in the text of a completion."""
        closed = max((found.end() for found in self.closing.finditer(text)), default=None)
        start = closed if closed is not None else len(text) if self.inside else 0
        opened = self.opening.search(text, start)
        return start, opened.start() if opened else len(text)


def reasoning_of(pieces: ChatPieces, template: str) -> Reasoning:
    """Return how a model with this chat template reasons.

    Args:
        pieces: of the template.
        template: its source.
    """
    openings, closings = ([pair[side] for pair in _FAMILIES] for side in (0, 1))
    opening, close = pieces.reasoning
    if close.strip():
        closings.append(re.escape(close.strip()))
        openings.append(re.escape(opening.strip() or re.sub(r"^([<\[])/", r"\1", close.strip())))
    # Another tag, in which the prompt ends; one that also ends a turn is a role's.
    tail = re.search(r"<([\w:]+)>\s*$", pieces.prompt)
    if tail and f"</{tail[1]}>" in template and f"</{tail[1]}>" not in pieces.between:
        openings.append(re.escape(f"<{tail[1]}>"))
        closings.append(re.escape(f"</{tail[1]}>"))
        close = close or f"\n</{tail[1]}>\n\n"
    found = Reasoning(re.compile("|".join(openings)), re.compile("|".join(closings)), close=close)
    inside = found.answer(pieces.prompt)[1] < len(pieces.prompt)
    return Reasoning(found.opening, found.closing, inside, close)
