"""What a chat template puts between two completions, and where the reasoning of a model ends.

A trajectory only grows: tokens that the policy wrote are never rendered or encoded again, even where the template would
write history differently (Qwen3 strips `<think>` of earlier turns). So only the text between a completion and the next
one is taken from the template, which is rendered with markers to find it.

A template may ask for the date (Llama 3.2, gpt-oss). It gets a fixed one, so that a prompt is the same tomorrow.

Reasoning is what a model drafts before its answer, in the tags of its chat template:

    <think>maybe <action>go to shelf 1</action></think><guidance>positive: on</guidance><action>go to shelf 2</action>
    └──────────────── reasoning ─────────────────────┘└──────────────────────── answer ──────────────────────────────┘

Only the answer counts: what follows the last closed block. After a block that stays open there is none. A closing tag
counts without an opening one, since a prompt may end inside a block. The tags are those that the template shows, and
those of known model families. Reasoning of earlier turns stays in the policy's context.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.rollout import DATE
from sg_pipeline.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


# Plain words: no template trims or escapes them.
_SYSTEM, _REASONING = "systemmarker", "reasoningmarker"
_USER = ("usermarkerone", "usermarkertwo", "usermarkerthree")
_ASSISTANT = ("assistantmarkerone", "assistantmarkertwo")


@dataclass(frozen=True, slots=True)
class ChatPieces:
    """The parts of a conversation's text: `before` + user + `first_prompt`, completion, `between` + user + `prompt`.

    Attributes:
        before: from the start to the first user text: what precedes the system prompt, the system prompt, and what
            follows it; the first two are empty where the template changes the system prompt.
        between: from the end of a completion to the next user text, end of turn included.
        first_prompt: from the first user text to the point where the policy writes.
        prompt: the same after later user texts.
        header: what the policy has to write before its answer (gpt-oss: `<|channel|>final<|message|>`).
        reasoning: what the template puts before and after an answer's reasoning; empty where it shows none.
    """

    before: tuple[str, str, str]
    between: str
    first_prompt: str
    prompt: str
    header: str
    reasoning: tuple[str, str]


def chat_pieces(tokenizer: PreTrainedTokenizerBase, system: str, date: datetime.date = DATE) -> ChatPieces:
    """Take the tokenizer's chat template apart.

    Args:
        tokenizer: with a chat template.
        system: the system prompt.
        date: what the template uses as today's date.

    Raises:
        CheckpointError: no chat template, or one that rewrites earlier messages other than the policy's own.
    """
    where = f"the chat template of the tokenizer '{tokenizer.name_or_path or type(tokenizer).__name__}'"
    if not tokenizer.chat_template:
        raise CheckpointError(
            f"{where} is missing; use a chat (instruction-tuned) model, or set `chat_template` in its tokenizer files."
        )
    reason = ""
    # A template without a system role (Gemma) or that moves it to the last message (Mistral) gets it in the first one.
    for merged in (False, True):
        try:
            return _pieces(tokenizer, system, date, merged)
        except _NotAppendOnlyError as error:
            reason = reason or str(error)
    raise CheckpointError(
        f"{where} cannot be used for trajectories that only grow: {reason}; give the tokenizer another chat template."
    )


class _NotAppendOnlyError(Exception):
    """Why a template does not fit."""


def _pieces(tokenizer: PreTrainedTokenizerBase, system: str, date: datetime.date, merged: bool) -> ChatPieces:
    """Take the template apart; `merged`: the system prompt is part of the first user message."""
    chat = _Conversation(tokenizer, system, date, merged)
    two = chat.text(2)
    before, first_prompt = _cut(chat.text(1), _USER[0])
    head, rest = _cut(two, _ASSISTANT[0])
    between, prompt = _cut(rest, _USER[1])
    if not head.startswith(before + _USER[0]):
        raise _NotAppendOnlyError("a second turn changes the text of the first")
    _, later = _cut(chat.text(3), _ASSISTANT[0])
    first_between, later = _cut(later, _USER[1])
    _, later = _cut(later, _ASSISTANT[1])
    second_between, last_prompt = _cut(later, _USER[2])
    if not between == first_between == second_between or prompt != last_prompt:
        raise _NotAppendOnlyError("what it puts between two turns depends on how many there are")
    opened = head.removeprefix(before + _USER[0])
    header = opened.removeprefix(first_prompt) if opened.startswith(first_prompt) else ""
    return ChatPieces(
        before=_around_system(chat, before),
        between=between,
        first_prompt=first_prompt,
        prompt=prompt,
        header=header if header.strip() else "",
        reasoning=_around_reasoning(chat, before + _USER[0], first_prompt),
    )


def _around_system(chat: _Conversation, before: str) -> tuple[str, str, str]:
    """Return what precedes the system prompt, the system prompt, and what follows it up to the first user text."""
    try:
        around = _cut(_cut(replace(chat, system=_SYSTEM).text(1), _USER[0])[0], _SYSTEM)
    except _NotAppendOnlyError:
        return "", "", before
    return (around[0], chat.system, around[1]) if around[0] + chat.system + around[1] == before else ("", "", before)


def _around_reasoning(chat: _Conversation, before: str, first_prompt: str) -> tuple[str, str]:
    """Return what the template puts before and after an answer's reasoning; empty where it shows none."""
    names = ("reasoning_content", "reasoning", "thinking")
    try:
        whole = chat.text(1, {"content": _ASSISTANT[0], **dict.fromkeys(names, _REASONING)})
        opening, rest = _cut(whole.removeprefix(before), _REASONING)
        opening = opening.removeprefix(first_prompt) if opening.startswith(first_prompt) else ""
        return opening, _cut(rest, _ASSISTANT[0])[0]
    except _NotAppendOnlyError:
        return "", ""


@dataclass(frozen=True, slots=True)
class _Conversation:
    """A conversation of markers, to be rendered by a chat template."""

    tokenizer: PreTrainedTokenizerBase
    system: str
    date: datetime.date
    merged: bool

    def text(self, turns: int, last: dict[str, str] | None = None) -> str:
        """Return the text of `turns` user messages with the completions between them, ready for the next completion.

        With `last`, the text ends with that message of the policy instead.
        """
        head = [] if self.merged else [{"role": "system", "content": self.system}]
        opening = f"{self.system}\n\n{_USER[0]}" if self.merged else _USER[0]
        messages = [*head, {"role": "user", "content": opening}]
        for answer, user in zip(_ASSISTANT[: turns - 1], _USER[1:turns], strict=True):
            messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": user}]
        if last:
            messages.append({"role": "assistant", **last})
        return _render(self.tokenizer, messages, self.date, thinking=bool(last))


def _render(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], date: datetime.date, thinking: bool
) -> str:
    from transformers.utils import chat_template_utils

    try:
        # Compiled templates are kept. No argument reaches this function, which reads the clock.
        template: Any = chat_template_utils._compile_jinja_template(tokenizer.get_chat_template())
        template.environment.globals["strftime_now"] = date.strftime
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=not thinking, enable_thinking=thinking
        )
    except Exception as error:  # Jinja's own errors, TypeErrors of the template's code, raise_exception, ...
        raise _NotAppendOnlyError(f"it refuses the conversation ({' '.join(str(error).split())[:200]})") from error
    assert isinstance(text, str)
    return text


def _cut(text: str, marker: str) -> tuple[str, str]:
    parts = text.split(marker)
    if len(parts) != 2:
        raise _NotAppendOnlyError(f"it shows a message {len(parts) - 1} times")
    return parts[0], parts[1]


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
    # Another tag in which the prompt ends; one that also ends a turn is a role's.
    tail = re.search(r"<([\w:]+)>\s*$", pieces.prompt)
    if tail and f"</{tail[1]}>" in template and f"</{tail[1]}>" not in pieces.between:
        openings.append(re.escape(f"<{tail[1]}>"))
        closings.append(re.escape(f"</{tail[1]}>"))
        close = close or f"\n</{tail[1]}>\n\n"
    found = Reasoning(re.compile("|".join(openings)), re.compile("|".join(closings)), close=close)
    inside = found.answer(pieces.prompt)[1] < len(pieces.prompt)
    return Reasoning(found.opening, found.closing, inside, close)
