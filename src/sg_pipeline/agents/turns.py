"""What the text of a completion says: reasoning, thoughts, guidance and action.

    <think>draft</think><thought>…</thought><guidance>positive: take mug 1</guidance><action>go to shelf 2</action>

A thought is what ReAct and ReflAct let a policy write before it acts. It is neither guidance (it has no verdict) nor an
action (nothing in it is played). The prompt set names its tag: `thought` for ReAct, `reflection` for ReflAct.

A command reaches the environment as it was written: only line breaks become spaces, since environments read one line,
and ASCII white space between tag and command is left out. What is no command is shortened.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sg_pipeline.agents.chat import Reasoning
from sg_pipeline.trajectories.types import Polarity

RAW_ACTION_CHARACTERS = 200
"""An action that was not parsed is handed to the environment cut to this length."""

_GUIDANCE_OPEN, _GUIDANCE_CLOSE, _ACTION_OPEN = "<guidance>", "</guidance>", "<action>"
_BLANKS = " \t\r\n\f\v"
_LINE_BREAK = re.compile(rf"[{_BLANKS}]*[\r\n][{_BLANKS}]*")
_VERDICT = re.compile(r"\s*(positive|neutral|negative)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ParsedTurn:
    """What a completion says; the fields are those of `trajectories.types.Turn`.

    Attributes:
        guidance: its text without tags; None where guidance is off or was not found.
        polarity: None where guidance is off; NEUTRAL where it was not parseable.
        guidance_parsed: a guidance that starts with a polarity precedes the action.
        action: the text for the environment, on one line; where it was not parseable, the beginning of the raw text
            without the reasoning, which is never played.
        action_parsed: a non-empty action was found in its tags.
        thought: what was thought before the action; None where the prompts ask for no thought or none was found.
        segments: `Segment` of each token of the completion.
    """

    guidance: str | None
    polarity: Polarity | None
    guidance_parsed: bool
    action: str
    action_parsed: bool
    thought: str | None = None
    segments: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Span:
    """Where a thought is in a text.

    Attributes:
        start, end: of the whole, tags included. A thought without closing tag ends where the action begins, or with the
            text.
        inner_start, inner_end: of what was thought.
    """

    start: int
    inner_start: int
    inner_end: int
    end: int


class TurnParser:
    """Takes the text of a turn apart, for one prompt set and mode."""

    def __init__(self, thought: str, guidance: bool, reasoning: Reasoning) -> None:
        """Prepare the patterns.

        Args:
            thought: tag of thoughts; empty: the prompts ask for none.
            guidance: the policy writes guidance.
            reasoning: of the chat template.
        """
        self._thought = thought
        self._guided = guidance
        self._reasoning = reasoning
        tags = "|".join(["guidance", "action", *([thought] if thought else [])])
        self.tag = re.compile(rf"</?(?:{tags})>")
        self._guidance, self._action = (
            re.compile(rf"<{name}>((?:(?!</?(?:{tags})>).)*)</{name}>", re.DOTALL) for name in ("guidance", "action")
        )

    def parse(self, whole: str) -> tuple[ParsedTurn, int, int]:
        """Return what `whole` says, without segments, and the characters at which `Segment.GUIDANCE` begins and ends.

        Never raises: what is not understood is reported by the flags.
        """
        first, last = self._reasoning.answer(whole)
        text = whole[first:last]
        thoughts = find_thoughts(text, self._thought)
        action, start = self._find_action(text, thoughts)
        # Guidance steers the action only from before it.
        boundary = self._boundary(text, start)
        guidance = self._guidance.search(text, 0, boundary) if self._guided else None
        verdict = _VERDICT.match(guidance[1]) if guidance else None
        command = _LINE_BREAK.sub(" ", action[1].strip(_BLANKS)) if action else ""
        raw = max([boundary, *(span.end for span in thoughts if start < 0 or span.start < start)])
        # The guidance's own tokens: a thought before or after it counts as the action's.
        begin = max([0, *(span.end for span in thoughts if guidance and span.end <= guidance.start())])
        after = guidance.end() if guidance else 0
        end = min([boundary, *(span.start for span in thoughts if span.start >= after)])
        # A reasoning model may have thought in its draft.
        drafted = find_thoughts(whole, self._thought)
        parsed = ParsedTurn(
            guidance=" ".join(guidance[1].split()) if guidance else None,
            polarity=None if not self._guided else Polarity(verdict[1].lower()) if verdict else Polarity.NEUTRAL,
            guidance_parsed=verdict is not None,
            action=command or _shortened(text[raw:]) or _shortened(text),
            action_parsed=bool(command),
            thought=_text_of(whole, drafted, first + (start if start >= 0 else len(text))),
        )
        return parsed, first + begin, first + end

    def _find_action(self, text: str, thoughts: Sequence[Span]) -> tuple[re.Match[str] | None, int]:
        """Return the action, and where it begins; an unfinished one is only a beginning, and none at all is -1.

        A command that is mentioned in a thought is not the action, unless there is no other.
        """
        matches = list(self._action.finditer(text))
        outside = (match for match in matches if not _inside(match.start(), thoughts))
        action = next(outside, matches[0] if matches else None)
        if action:
            return action, action.start()
        opened = (match.start() for match in re.finditer(_ACTION_OPEN, text))
        return None, next((start for start in opened if not _inside(start, thoughts)), -1)

    def _boundary(self, text: str, action_start: int) -> int:
        """Return the character at which guidance ends and action begins."""
        if not self._guided:
            return 0
        if action_start >= 0:
            return action_start
        close = text.rfind(_GUIDANCE_CLOSE)
        if close >= 0:
            return close + len(_GUIDANCE_CLOSE)
        # Cut off inside the guidance; without any tag it is all action.
        return len(text) if _GUIDANCE_OPEN in text else 0


def find_thoughts(text: str, tag: str) -> list[Span]:
    """Return the thoughts in `text`, in order; none for an empty tag.

    Thoughts do not nest: a second opening tag inside one is text, and the first closing tag ends it. A closing tag
    without an opening one is text. Between the tags there may be anything, an `<action>` included.
    """
    if not tag:
        return []
    spans: list[Span] = []
    opened: re.Match[str] | None = None
    for found in re.finditer(rf"<(/?){re.escape(tag)}>", text):
        if not found[1]:
            opened = opened or found
        elif opened:
            spans.append(Span(opened.start(), opened.end(), found.start(), found.end()))
            opened = None
    if opened:
        action = text.find(_ACTION_OPEN, opened.end())
        end = action if action >= 0 else len(text)
        spans.append(Span(opened.start(), opened.end(), end, end))
    return spans


def _inside(position: int, spans: Sequence[Span]) -> bool:
    return any(span.start <= position < span.end for span in spans)


def _text_of(text: str, spans: Sequence[Span], stop: int) -> str | None:
    """Return what was thought before the character `stop`, on one line; None where nothing was."""
    parts = [text[span.inner_start : min(span.inner_end, stop)] for span in spans if span.start < stop]
    return " ".join(" ".join(parts).split()) if parts else None


def _shortened(text: str) -> str:
    return " ".join(text.split())[:RAW_ACTION_CHARACTERS].rstrip()
