"""Text and tokens of a turn, both ways.

    opening ─► completion ─► following ─► completion ─► …        (contexts: `Segment.ENVIRONMENT`)
    completion = <guidance>polarity: text</guidance><action>command</action> + end of turn

A prompt set may ask for a thought between the two or in place of the guidance, and a reasoning model drafts before
both. Their tokens count as `Segment.ACTION` wherever they are, since they lead to the action and carry no verdict. What
the text of a completion says is in `turns.py`.

Works on any tokenizer with a chat template: tags may be one token or spread over many. Of what is encoded, only the
template and the tags of a reply are control tokens (see `encoding.py`).
"""

from __future__ import annotations

import datetime
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sg_pipeline.agents.chat import chat_pieces, reasoning_of
from sg_pipeline.agents.encoding import Encoder, Part, decode
from sg_pipeline.agents.prompts import FORMS, Prompts, warn_of_foreign_commands
from sg_pipeline.agents.turns import ParsedTurn, TurnParser
from sg_pipeline.config.rollout import DATE
from sg_pipeline.errors import CheckpointError, ConfigurationError
from sg_pipeline.trajectories.types import Polarity, Segment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class AgentFormat:
    """Converts observations to tokens and completions to actions, for one tokenizer, prompt set and mode.

    Attributes:
        guidance: the policy writes guidance before each action.
        prompts: the prompt set.
        reasoning: where the answer is in a completion.
        stop_ids: tokens that end a completion.
    """

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
            date: what the template uses as today's date.

        Raises:
            CheckpointError: the template is missing or cannot be used append-only, or nothing ends a turn.
            ConfigurationError: the prompt set has no system prompt for the mode.
        """
        system = prompts.guided if guidance else prompts.plain
        if not system:
            mode, field = ("with", "guided") if guidance else ("without", "plain")
            raise ConfigurationError(
                f"prompts '{prompts.name}' have no system prompt {mode} guidance; set their field '{field}', or use "
                f"other prompts."
            )
        self.guidance = guidance
        self.prompts = prompts
        self._tokenizer = tokenizer
        self._pieces = chat_pieces(tokenizer, system, date)
        self.reasoning = reasoning_of(self._pieces, tokenizer.get_chat_template())
        self._encoder = Encoder(tokenizer)
        self._parser = TurnParser(prompts.thought, guidance, self.reasoning)
        self.stop_ids = self._find_ends({int(token) for token in stop_ids})
        # The prompts' own words: they may hold the tags of a reply as tokens, but nothing that the template writes.
        before, _, behind = self._pieces.before
        template = (before, behind, self._pieces.between, self._pieces.first_prompt, self._pieces.prompt)
        self._reserved = self._encoder.words("\0".join([*template, *map(self._decode, zip(self.stop_ids))]))

    def _find_ends(self, others: set[int]) -> tuple[int, ...]:
        """Set the token that ends a reply and the one that `following` puts after a cut one; return all ends."""
        eos = self._tokenizer.eos_token_id
        if isinstance(eos, int):
            others |= {eos}
        self._end, self._end_length = self._end_of_turn(others)
        # Where the end of a turn ends its reasoning as well (gpt-oss), a turn continues after it.
        ends = self._decode([self._end]) in self.reasoning.close and others - {self._end}
        stop_ids = tuple(sorted(ends or others | {self._end}))
        self._reply_end = next(token for token in (self._end, eos, *stop_ids) if token in stop_ids)
        return stop_ids

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
        return ids if ids[-1] in self.stop_ids else [*ids, self._reply_end]

    def parse(self, completion_ids: Sequence[int]) -> ParsedTurn:
        """Parse a completion. Never raises: what is not understood is reported by the flags."""
        ids = [int(token) for token in completion_ids]
        parsed, begin, end = self._parser.parse(self._decode(self._without_end(ids)))
        return replace(parsed, segments=self._segments(ids, begin, end))

    def answer_text(self, completion_ids: Sequence[int]) -> str:
        """Return a completion as text on one line, without reasoning and special tokens, for use in other prompts."""
        ids = [int(token) for token in completion_ids]
        first, last = self.reasoning.answer(self._decode(ids))
        answer = ids[self._reach(ids, first) : self._reach(ids, last)]
        return " ".join(decode(self._tokenizer, answer, skip_special_tokens=True).split())

    def _segments(self, ids: list[int], begin: int, end: int) -> list[int]:
        """Return each token's segment, with guidance between two characters: a token belongs to where it begins."""
        before = self._reach(ids, begin)
        guidance = max(0, self._reach(ids, end) - before)
        action = int(Segment.ACTION)
        return [action] * before + [int(Segment.GUIDANCE)] * guidance + [action] * (len(ids) - before - guidance)

    def _reach(self, ids: Sequence[int], position: int) -> int:
        """Return the smallest number of tokens whose text reaches a character, by bisection over decoded prefixes."""
        if position == 0:
            return 0
        return bisect_left(range(len(ids)), position, key=lambda count: len(self._decode(ids[:count])))

    def _without_end(self, ids: list[int]) -> list[int]:
        """Leave out the stop token, unless it is a tag itself."""
        if ids and ids[-1] in self.stop_ids and not self._parser.tag.fullmatch(self._decode(ids[-1:]).strip()):
            return ids[:-1]
        return ids

    def _decode(self, ids: Sequence[int]) -> str:
        return decode(self._tokenizer, ids)
