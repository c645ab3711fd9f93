"""Demonstrations into tokens: as the policy would have written them, with the places that it should imitate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from sg_pipeline.training.batching import EncodedDemonstration
from sg_pipeline.trajectories.types import Polarity, Segment

if TYPE_CHECKING:
    from sg_pipeline.agents.format import AgentFormat


class DemonstrationTurn(Protocol):
    """One turn of a demonstration: what was seen, and what the expert writes and does."""

    @property
    def observation(self) -> str:
        """What the environment showed before this turn; the first one holds the task."""

    @property
    def guidance_text(self) -> str:
        """The sub-goal that follows the polarity."""

    @property
    def polarity(self) -> Polarity:
        """The verdict on the trajectory so far."""

    @property
    def action(self) -> str:
        """The command."""

    @property
    def is_noise(self) -> bool:
        """The action was made wrong on purpose, so that what follows shows how to recover."""


class Demonstration(Protocol):
    """One episode of an expert."""

    @property
    def turns(self) -> Sequence[DemonstrationTurn]:
        """In order; at least one."""


def encode_demonstration(
    demonstration: Demonstration, format: AgentFormat, loss_on_noise: bool = False
) -> EncodedDemonstration:
    """Return the token sequence that a rollout of `demonstration` would have made.

    Contexts carry no loss, replies do; of a reply whose action is noise only the guidance does, unless
    `loss_on_noise`.

    Args:
        demonstration: see `Demonstration`.
        format: of the policy's tokenizer; with `format.guidance` off the guidance is left out.
        loss_on_noise: imitate noise actions, too.
    """
    ids: list[int] = []
    mask: list[int] = []
    reply: list[int] = []
    for number, turn in enumerate(demonstration.turns):
        context = format.following(reply, turn.observation) if number else format.opening(turn.observation)
        reply = format.encode_reply(turn.polarity if format.guidance else None, turn.guidance_text, turn.action)
        if turn.is_noise and not loss_on_noise:
            wanted = [int(segment == Segment.GUIDANCE) for segment in format.parse(reply).segments]
        else:
            wanted = [1] * len(reply)
        ids += context + reply
        mask += [0] * len(context) + wanted
    return EncodedDemonstration(ids, mask)
