"""Text and tokens of a turn, both ways.

    opening ─► completion ─► following ─► completion ─► …        (contexts: `Segment.ENVIRONMENT`)
    completion = <guidance>polarity: text</guidance><action>command</action> + end of turn

A prompt set may ask for a thought between the two, or in place of the guidance (see `thoughts.py`), and a reasoning
model drafts before both (see `reasoning.py`). Wherever they stand, their tokens count as `Segment.ACTION`, since they
lead to the action and carry no verdict.

A command reaches the environment as it was written: only line breaks become spaces, since environments read one line,
and ASCII white space between tag and command is left out. What is no command is shortened.

Works on any tokenizer with a chat template: tags may be one token or spread over many. Of what is encoded, only the
template and the tags of a reply are control tokens (see `encoding.py`).
"""

from __future__ import annotations

import datetime
import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sg_pipeline.agents.chat import chat_pieces
from sg_pipeline.agents.commands import FORMS, warn_of_foreign_commands
from sg_pipeline.agents.encoding import Encoder, Part
from sg_pipeline.agents.prompts import Prompts
from sg_pipeline.agents.reasoning import reasoning_of
from sg_pipeline.agents.thoughts import Span, find_thoughts, inside, text_of
from sg_pipeline.config.rollout import DATE
from sg_pipeline.errors import CheckpointError, ConfigurationError
from sg_pipeline.trajectories.types import Polarity, Segment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
        guidance_parsed: a guidance that starts with a polarity stands before the action.
        action: the text for the environment, on one line; where it was not parseable, the beginning of the raw text
            without the reasoning, which is never played.
        action_parsed: a non-empty action was found in its tags.
        segments: `Segment` of each token of the completion.
        thought: what was thought before the action; None where the prompts ask for no thought or none was found.
    """

    guidance: str | None
    polarity: Polarity | None
    guidance_parsed: bool
    action: str
    action_parsed: bool
    segments: list[int]
    thought: str | None = None


class AgentFormat:
    """Puts observations into tokens and takes completions apart, for one tokenizer, prompt set and mode."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Prompts,
        guidance: bool = True,
        stop_ids: Collection[int] = (),
        date: datetime.date = DATE,
    ) -> None:
        """Read the tokenizer's chat template.

        Args:
            tokenizer: with a chat template.
            prompts: see `agents.prompts`.
            guidance: the policy writes guidance before each action.
            stop_ids: the model's own ends, see `Policy.stop_ids`; those of template and tokenizer are known.
            date: what the template takes for today.

        Raises:
            CheckpointError: the template is missing or cannot be used append-only, or nothing ends a turn.
            ConfigurationError: the prompt set has no system prompt for the mode.
        """
        system = prompts.guided if guidance else prompts.plain
        if not system:
            mode, field = ("with", "guided") if guidance else ("without", "plain")
            raise ConfigurationError(
                f"prompts '{prompts.name}' have no system prompt {mode} guidance; set their field '{field}', or take "
                f"other prompts."
            )
        self.guidance = guidance
        self._tokenizer = tokenizer
        self.prompts = prompts
        self._pieces = chat_pieces(tokenizer, system, date)
        self.reasoning = reasoning_of(self._pieces, tokenizer.get_chat_template())
        self._encoder = Encoder(tokenizer)
        self._tag = rf"</?(?:{'|'.join(['guidance', 'action', *filter(None, [prompts.thought])])})>"
        self._guidance_pattern, self._action_pattern = (
            re.compile(rf"<{name}>((?:(?!{self._tag}).)*)</{name}>", re.DOTALL) for name in ("guidance", "action")
        )
        eos = tokenizer.eos_token_id
        others = {*stop_ids, *([eos] if isinstance(eos, int) else [])}
        self._end, self._end_length = self._end_of_turn(others)
        # Where the end of a turn ends its reasoning as well (gpt-oss), a turn goes on behind it.
        ends = self._decode([self._end]) in self.reasoning.close and others - {self._end}
        self._stop_ids = tuple(sorted(ends or others | {self._end}))
        self._reply_end = next(token for token in (self._end, eos, *self._stop_ids) if token in self._stop_ids)
        # The prompts' own words: they may hold the tags of a reply as tokens, but nothing that the template writes.
        before, _, behind = self._pieces.before
        template = (before, behind, self._pieces.between, self._pieces.first_prompt, self._pieces.prompt)
        self._reserved = self._encoder.words("\0".join([*template, *map(self._decode, zip(self._stop_ids))]))

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end a completion."""
        return self._stop_ids

    def opening(
        self, observation: str, commands: tuple[str, ...] | None = None, forms: tuple[str, ...] = ()
    ) -> list[int]:
        """Return the tokens before the first completion: system prompt, first observation (task included), prompt.

        Args:
            observation: what the environment showed.
            commands: admissible commands to show with it, None for none.
            forms: of the game's commands, for a system prompt that lists them.

        Raises:
            ConfigurationError: the system prompt lists forms, and there are none.
        """
        before, system, behind = self._pieces.before
        if FORMS in system and not forms:
            raise ConfigurationError(
                f"prompts '{self.prompts.name}' list the forms of the game's commands ({FORMS}), but the environment "
                f"names none: return them as StepResult.forms of its `reset`, or write the commands into the prompts."
            )
        if forms:
            warn_of_foreign_commands(self.prompts.name, system, forms)
        first, *others = system.split(FORMS)
        prompt: list[Part] = [(first, self._reserved)]
        for text in others:
            prompt += [(" | ".join(forms), self._encoder.control), (text, self._reserved)]
        user = self.prompts.user_message(observation, commands)
        return self._encoder.encode(
            (before, ()), *prompt, (behind, ()), (user, self._encoder.control), (self._pieces.first_prompt, ())
        )

    def following(
        self, completion_ids: Sequence[int], observation: str, commands: tuple[str, ...] | None = None
    ) -> list[int]:
        """Return the tokens to append after `completion_ids`: end of the turn if it is missing, observation, prompt."""
        user = self.prompts.user_message(observation, commands)
        ids = self._encoder.encode((self._pieces.between, ()), (user, self._encoder.control), (self._pieces.prompt, ()))
        ended = len(completion_ids) > 0 and completion_ids[-1] == self._end
        if ended:
            return ids[self._end_length :]
        return ids if self._end_length else [self._end, *ids]

    def encode_reply(self, polarity: Polarity | None, guidance_text: str, action: str) -> list[int]:
        """Return the tokens that the policy should write, stop token included (for demonstrations).

        Args:
            polarity: None where guidance is off (`guidance_text` is ignored then).
            guidance_text: what follows the polarity, e.g. "find mug".
            action: the command.
        """
        before = self.reasoning.close if self.reasoning.inside else self._pieces.header
        parts = [(f"{before}<action>", ()), (action, self._encoder.control), ("</action>", ())]
        if self.guidance:
            if polarity is None:
                raise ValueError("a guided reply needs a polarity")
            guidance = f"{polarity.value}: {guidance_text}"
            parts[:1] = [(f"{before}<guidance>", ()), (guidance, self._encoder.control), ("</guidance><action>", ())]
        ids = self._encoder.encode(*parts)
        return ids if ids[-1] in self._stop_ids else [*ids, self._reply_end]

    def parse(self, completion_ids: Sequence[int]) -> ParsedTurn:
        """Take a completion apart. Never raises: what is not understood is counted by the flags."""
        ids = [int(token) for token in completion_ids]
        whole = self._decode(self._without_end(ids))
        first, last = self.reasoning.answer(whole)
        text = whole[first:last]
        thoughts, drafted = (
            find_thoughts(part, self.prompts.thought) if self.prompts.thought else [] for part in (text, whole)
        )
        action, start = self._find_action(text, thoughts)
        # Guidance steers the action only from before it.
        boundary = self._boundary(text, start)
        guidance = self._guidance_pattern.search(text, 0, boundary) if self.guidance else None
        verdict = _VERDICT.match(guidance[1]) if guidance else None
        command = _LINE_BREAK.sub(" ", action[1].strip(_BLANKS)) if action else ""
        raw = max([boundary, *(span.end for span in thoughts if start < 0 or span.start < start)])
        border = self._border(guidance, boundary, thoughts)
        begin = max([0, *(span.end for span in thoughts if guidance and span.end <= guidance.start())])
        return ParsedTurn(
            guidance=" ".join(guidance[1].split()) if guidance else None,
            polarity=None if not self.guidance else Polarity(verdict[1].lower()) if verdict else Polarity.NEUTRAL,
            guidance_parsed=verdict is not None,
            action=command or _shortened(text[raw:]) or _shortened(text),
            action_parsed=bool(command),
            segments=self._segments(ids, first + begin, first + border),
            thought=text_of(whole, drafted, first + (start if start >= 0 else len(text))),
        )

    def answer_text(self, completion_ids: Sequence[int]) -> str:
        """Return a completion as text on one line, without reasoning and special tokens, for use in other prompts."""
        ids = [int(token) for token in completion_ids]
        first, last = self.reasoning.answer(self._decode(ids))
        answer = ids[self._reach(ids, first) : self._reach(ids, last)]
        text = self._tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return " ".join(text.split())

    def _end_of_turn(self, others: Collection[int]) -> tuple[int, int]:
        """Return the token that ends a completion and how many tokens of `following` it makes superfluous.

        It is what the template puts after a completion (white space apart), or else the tokenizer's own end, or one
        of the model's.
        """
        tokenizer = self._tokenizer
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        after = self._encoder.encode((self._pieces.between, ()))
        for position, token in enumerate(after):
            if token in special:
                return token, position + 1
            if self._decode([token]).strip():
                break
        if others:
            return next((end for end in [tokenizer.eos_token_id] if isinstance(end, int)), min(others)), 0
        raise CheckpointError(
            f"nothing ends a turn in the tokenizer '{tokenizer.name_or_path}': its chat template puts no special "
            "token after an assistant message and there is no eos_token; set one of them."
        )

    def _find_action(self, text: str, thoughts: Sequence[Span]) -> tuple[re.Match[str] | None, int]:
        """Return the action, and where it begins; an unfinished one is only a beginning, and none at all is -1.

        A command that is talked about in a thought is not the action, unless there is no other.
        """
        matches = list(self._action_pattern.finditer(text))
        action = next((match for match in matches if not inside(match.start(), thoughts)), next(iter(matches), None))
        if action:
            return action, action.start()
        opened = (match.start() for match in re.finditer(_ACTION_OPEN, text))
        return None, next((start for start in opened if not inside(start, thoughts)), -1)

    def _border(self, guidance: re.Match[str] | None, boundary: int, thoughts: Sequence[Span]) -> int:
        """Return the character at which `Segment.GUIDANCE` ends: the action's beginning, or that of its thought."""
        after = guidance.end() if guidance else 0
        return min([boundary, *(span.start for span in thoughts if span.start >= after)])

    def _boundary(self, text: str, action_start: int) -> int:
        """Return the character at which guidance ends and action begins."""
        if not self.guidance:
            return 0
        if action_start >= 0:
            return action_start
        close = text.rfind(_GUIDANCE_CLOSE)
        if close >= 0:
            return close + len(_GUIDANCE_CLOSE)
        # Cut off inside the guidance; without any tag it is all action.
        return len(text) if _GUIDANCE_OPEN in text else 0

    def _segments(self, ids: list[int], begin: int, border: int) -> list[int]:
        """Return each token's segment, with guidance between two characters: a token belongs to where it begins."""
        before = self._reach(ids, begin)
        guidance = max(0, self._reach(ids, border) - before)
        action = int(Segment.ACTION)
        return [action] * before + [int(Segment.GUIDANCE)] * guidance + [action] * (len(ids) - before - guidance)

    def _reach(self, ids: Sequence[int], position: int) -> int:
        """Return the smallest number of tokens whose text reaches a character, by bisection over decoded prefixes."""
        if position == 0:
            return 0
        return bisect_left(range(len(ids)), position, key=lambda count: len(self._decode(ids[:count])))

    def _without_end(self, ids: list[int]) -> list[int]:
        """Leave out the stop token, unless it is a tag itself."""
        if ids and ids[-1] in self._stop_ids and not re.fullmatch(self._tag, self._decode(ids[-1:]).strip()):
            return ids[:-1]
        return ids

    def _decode(self, ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text


def _shortened(text: str) -> str:
    return " ".join(text.split())[:RAW_ACTION_CHARACTERS].rstrip()
