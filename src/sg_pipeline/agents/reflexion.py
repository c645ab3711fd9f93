"""Reflexion's words: the note that a policy writes after a failed trial, and how a later trial shows it.

    failed trial ─► transcript ─► reflection ─┐
                                              ▼
                 notes of the last trials + first observation ─► next trial

A note is written in a separate conversation, as in the original: it reads the trial as a transcript.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sg_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sg_pipeline.agents.format import AgentFormat
    from sg_pipeline.agents.prompts import Prompts
    from sg_pipeline.trajectories.types import Trajectory


def reflection_prompts(prompts: Prompts) -> Prompts:
    """Return the prompt set of the conversation in which a note is written, to be used without guidance.

    Raises:
        ConfigurationError: the prompt set has no words for reflections.
    """
    for field in ("memory", "reflector", "reflect"):
        if not getattr(prompts, field):
            raise ConfigurationError(
                f"prompts '{prompts.name}' lack the field '{field}', which Reflexion needs: set it, or inherit it from "
                f"the shipped set with `base: reflexion`."
            )
    return replace(prompts, plain=prompts.reflector, observation="{observation}", thought="")


def memory_text(prompts: Prompts, notes: Mapping[int, str]) -> str:
    """Return the text that shows the notes on earlier trials; empty without any.

    Args:
        prompts: a set with words for reflections.
        notes: number of the trial, from 1 -> what was noted after it.
    """
    if not notes:
        return ""
    lines = (f"Attempt {trial}: {notes[trial] or '(nothing)'}" for trial in sorted(notes))
    return prompts.memory.format(reflections="\n".join(lines))


def reflection_request(agent_format: AgentFormat, trajectory: Trajectory, max_tokens: int) -> list[int]:
    """Return the tokens that ask for a note on a failed trial.

    A transcript that is too long loses turns from the second on: the first one holds task and room (and the notes that
    the trial began with), the last ones show how it ended.

    Args:
        agent_format: of `reflection_prompts`.
        trajectory: the failed trial.
        max_tokens: limit of the request.

    Raises:
        ConfigurationError: not even the first observation and the last turn fit.
    """
    turns = [
        f"{turn.observation.strip()}\n> {agent_format.answer_text(turn.completion_ids)}" for turn in trajectory.turns
    ]

    def tokens(dropped: int) -> list[int]:
        left_out = [f"[{dropped} turns left out]"] if dropped else []
        transcript = "\n".join([*turns[:1], *left_out, *turns[1 + dropped :]])
        return agent_format.opening(agent_format.prompts.reflect.format(transcript=transcript))

    droppable = max(1, len(turns) - 1)
    dropped = bisect_left(range(droppable), True, key=lambda number: len(tokens(number)) <= max_tokens)
    if dropped == droppable:
        raise ConfigurationError(
            f"rollout.max_length leaves {max_tokens} tokens for the prompt of a reflection, but even the first and the "
            f"last turn of task {trajectory.task.task_id} take {len(tokens(droppable - 1))}: raise it"
        )
    return tokens(dropped)
