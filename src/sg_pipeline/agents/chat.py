"""What a chat template puts between two completions, found by rendering it with markers.

A trajectory only grows: tokens that the policy wrote are never rendered or encoded again, even where the
template would write history differently (Qwen3 strips `<think>` of earlier turns). So only the text between a
completion and the next one is taken from the template.

A template may ask for the date (Llama 3.2, gpt-oss). It gets a fixed one, so that a prompt is the same tomorrow.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
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
    """A conversation's text, taken apart: `before` + user + `first_prompt`, completion, `between` + user + `prompt`.

    Attributes:
        before: from the start to the first user text: what stands before the system prompt, the system prompt, and
            what stands behind it; the first two are empty where the template changes the system prompt.
        between: from the end of a completion to the next user text, end of turn included.
        first_prompt: from the first user text to the point where the policy writes.
        prompt: the same after later user texts.
        header: what the policy has to write before its answer (gpt-oss: `<|channel|>final<|message|>`).
        reasoning: what the template puts before and behind an answer's reasoning; empty where it shows none.
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
        date: what the template takes for today.

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
    def render(turns: int, system: str = system, last: dict[str, str] | None = None) -> str:
        """Return the text of `turns` user messages with the completions between them, ready for the next completion.

        With `last`, the text ends with that message of the policy instead.
        """
        head = [] if merged else [{"role": "system", "content": system}]
        opening = f"{system}\n\n{_USER[0]}" if merged else _USER[0]
        messages = [*head, {"role": "user", "content": opening}]
        for answer, user in zip(_ASSISTANT[: turns - 1], _USER[1:turns], strict=True):
            messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": user}]
        if last:
            messages.append({"role": "assistant", **last})
        return _render(tokenizer, messages, date, thinking=bool(last))

    one, two, three = render(1), render(2), render(3)
    before, first_prompt = _cut(one, _USER[0])
    head, rest = _cut(two, _ASSISTANT[0])
    between, prompt = _cut(rest, _USER[1])
    if not head.startswith(before + _USER[0]):
        raise _NotAppendOnlyError("a second turn changes the text of the first")
    _, later = _cut(three, _ASSISTANT[0])
    first_between, later = _cut(later, _USER[1])
    _, later = _cut(later, _ASSISTANT[1])
    second_between, last_prompt = _cut(later, _USER[2])
    if not between == first_between == second_between or prompt != last_prompt:
        raise _NotAppendOnlyError("what it puts between two turns depends on how many there are")
    shown = head.removeprefix(before + _USER[0])
    header = shown.removeprefix(first_prompt) if shown.startswith(first_prompt) else ""
    parts = ("", "", before)
    try:
        around = _cut(_cut(render(1, system=_SYSTEM), _USER[0])[0], _SYSTEM)
        if around[0] + system + around[1] == before:
            parts = (around[0], system, around[1])
    except _NotAppendOnlyError:
        pass
    try:
        names = ("reasoning_content", "reasoning", "thinking")
        whole = render(1, last={"content": _ASSISTANT[0], **dict.fromkeys(names, _REASONING)})
        opening, rest = _cut(whole.removeprefix(before + _USER[0]), _REASONING)
        opening = opening.removeprefix(first_prompt) if opening.startswith(first_prompt) else ""
        reasoning = (opening, _cut(rest, _ASSISTANT[0])[0])
    except _NotAppendOnlyError:
        reasoning = ("", "")
    return ChatPieces(
        before=parts,
        between=between,
        first_prompt=first_prompt,
        prompt=prompt,
        header=header if header.strip() else "",
        reasoning=reasoning,
    )


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
