"""Reflexion's words: the note that a policy writes after a failed trial, and how a later trial shows it.

    failed trial ─► transcript ─► reflection ─┐
                                              ▼
                 notes of the last trials + first observation ─► next trial

The call that writes a note is a conversation of its own, as in the original: it reads the trial as a transcript.
"""

from __future__ import annotations

import datetime
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sg_pipeline.agents.format import AgentFormat
from sg_pipeline.config.rollout import DATE
from sg_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sg_pipeline.agents.prompts import Prompts
    from sg_pipeline.trajectories.types import Trajectory


class ReflectionFormat:
    """Text and tokens of the call between two trials, for one tokenizer and prompt set."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Prompts,
        stop_ids: Collection[int] = (),
        date: datetime.date = DATE,
    ) -> None:
        """Read the tokenizer's chat template (see `AgentFormat`).

        Raises:
            ConfigurationError: the prompt set has no words for reflections.
        """
        for field in ("memory", "reflector", "reflect"):
            if not getattr(prompts, field):
                raise ConfigurationError(
                    f"prompts '{prompts.name}' lack the field '{field}', which Reflexion needs: set it, or take it "
                    f"over from the shipped set with `base: reflexion`."
                )
        self._tokenizer = tokenizer
        self._prompts = prompts
        call = replace(prompts, plain=prompts.reflector, observation="{observation}", thought="")
        self._format = AgentFormat(tokenizer, call, guidance=False, stop_ids=stop_ids, date=date)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end a reflection."""
        return self._format.stop_ids

    def memory(self, reflections: Mapping[int, str]) -> str:
        """Return the text that shows earlier trials' reflections; empty without any.

        Args:
            reflections: number of the trial, from 1 -> what was noted after it.
        """
        if not reflections:
            return ""
        notes = "\n".join(f"Attempt {trial}: {reflections[trial] or '(nothing)'}" for trial in sorted(reflections))
        return self._prompts.memory.format(reflections=notes)

    def prompt(self, trajectory: Trajectory, most: int) -> list[int]:
        """Return the tokens that ask for a reflection on a failed trial.

        A transcript that is too long loses turns from the second on: the first one holds task and room (and the notes
        that the trial began with), the last ones hold how it ended.

        Args:
            trajectory: the failed trial.
            most: tokens that the prompt may take.

        Raises:
            ConfigurationError: not even the first observation and the last turn fit.
        """
        turns = [f"{turn.observation.strip()}\n> {self.text(turn.completion_ids)}" for turn in trajectory.turns]

        def tokens(dropped: int) -> list[int]:
            left_out = [f"[{dropped} turns left out]"] if dropped else []
            transcript = "\n".join([*turns[:1], *left_out, *turns[1 + dropped :]])
            return self._format.opening(self._prompts.reflect.format(transcript=transcript))

        droppable = max(1, len(turns) - 1)
        dropped = bisect_left(range(droppable), True, key=lambda number: len(tokens(number)) <= most)
        if dropped == droppable:
            raise ConfigurationError(
                f"rollout.max_length leaves {most} tokens for the prompt of a reflection, but even the first and the "
                f"last turn of task {trajectory.task.task_id} take {len(tokens(droppable - 1))}: raise it"
            )
        return tokens(dropped)

    def text(self, ids: Sequence[int]) -> str:
        """Return what was written as text on one line, without reasoning and special tokens: it goes into prompts."""
        answer = self._format.answer_ids(ids)
        text = self._tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return " ".join(text.split())
