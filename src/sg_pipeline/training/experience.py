"""What one training step learns from: rows of tokens with log-probabilities, masks and advantages.

validated, rewards ─► ExperienceRow ─► plan_updates ─► micro-batches, `accumulation` of them per optimizer step
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sg_pipeline.errors import DataError
from sg_pipeline.rewards.dials import CREDITS
from sg_pipeline.training.batching import group_by_length, group_with_least_padding
from sg_pipeline.trajectories.types import TRAJECTORY_KEY, Segment

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class ExperienceRow:
    """One trajectory as the trainer sees it.

    Attributes:
        prompt_ids: the first turn's context; at least one token, never trained on.
        completion_ids: everything after it, later observations included; at least one token.
        logprobs: the sampler's log pi of each completion token, 0.0 for tokens of others. Same length.
        loss_mask: 1 where the policy wrote the token, 0 elsewhere. Same length.
        advantage: one for the whole row, or one per completion token.
        key: (step, group, item) of the trajectory.
        spans: of each turn, where its completion starts and ends in prompt and completion together.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    logprobs: list[float]
    loss_mask: list[int]
    advantage: float | list[float]
    key: tuple[int, int, int] = (0, 0, 0)
    spans: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Reject rows with parts of different lengths or values that are not finite."""
        length = len(self.completion_ids)
        if not self.prompt_ids or not length:
            raise DataError("An experience row needs at least one prompt token and one completion token.")
        parts = {"logprobs": len(self.logprobs), "loss_mask": len(self.loss_mask)}
        if isinstance(self.advantage, list):
            parts["advantage"] = len(self.advantage)
        for name, found in parts.items():
            if found != length:
                raise DataError(f"An experience row has {length} completion_ids but {found} values in '{name}'.")
        if not (np.isfinite(self.logprobs).all() and np.isfinite(self.advantage).all()):
            raise DataError("An experience row holds a log-probability or an advantage that is not a finite number.")

    @property
    def length(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt_ids) + len(self.completion_ids)

    @property
    def idle(self) -> bool:
        """Whether the policy gradient of this row is zero: it has no advantage or no token of the policy."""
        return not np.any(np.multiply(self.advantage, self.loss_mask))

    @property
    def trained_tokens(self) -> int:
        """Tokens that carry loss."""
        return sum(self.loss_mask)


POLICY_SEGMENTS = frozenset({Segment.GUIDANCE, Segment.ACTION})
"""What the policy writes, unless a guide writes its guidance."""


def experience_table(
    turns: pl.DataFrame,
    rewards: pl.DataFrame,
    own: Collection[Segment] = POLICY_SEGMENTS,
    verdict_length: Callable[[Sequence[int]], int] | None = None,
) -> list[ExperienceRow]:
    """Join a step's turns with their advantages.

    Args:
        turns: a table that satisfies `trajectories.schema.ValidTable`; its tokens are taken over untouched.
        rewards: one row a trajectory with `step`, `group`, `item`, `selected` and `advantage`; where tokens of a turn
            get something besides, also `action_credit` and `verdict_credit`, lists with one number a turn.
        own: segments that the policy wrote; no other token carries loss.
        verdict_length: after how many tokens of a completion its verdict is complete (`Handover.verdict_length`). These
            tokens, as far as they are guidance, get `verdict_credit`, all others `action_credit`.

    Returns:
        One row for each trajectory that is selected, ordered by (step, group, item).

    Raises:
        DataError: a trajectory has no advantage, or an advantage no trajectory.
    """
    advantages: dict[tuple[int, int, int], tuple[float, list[float] | None, list[float] | None]] = {}
    chosen: set[tuple[int, int, int]] = set()
    credits = [name if name in rewards.columns else pl.lit(None).alias(name) for name in CREDITS]
    wanted = rewards.select(*TRAJECTORY_KEY, "selected", "advantage", *credits)
    for step, group, item, selected, *value in wanted.iter_rows():
        advantages[step, group, item] = (value[0], value[1], value[2])
        if selected:
            chosen.add((step, group, item))
    played: dict[tuple[int, int, int], list[tuple[list[int], list[int], list[float], list[int]]]] = {}
    columns = (*TRAJECTORY_KEY, "context_ids", "completion_ids", "logprobs", "segments")
    for step, group, item, *tokens in turns.sort(*TRAJECTORY_KEY, "turn").select(columns).iter_rows():
        played.setdefault((step, group, item), []).append(tuple(tokens))
    if set(played) != set(advantages) or len(played) != rewards.height:
        raise DataError(
            f"The rewards do not belong to these trajectories: {len(played)} trajectories, {rewards.height} "
            f"rewards, {len(set(played) & set(advantages))} in common; aggregate the step again."
        )
    return [_experience_row(key, played[key], advantages[key], own, verdict_length) for key in played if key in chosen]


def _experience_row(
    key: tuple[int, int, int],
    turns: Sequence[tuple[list[int], list[int], list[float], list[int]]],
    reward: tuple[float, list[float] | None, list[float] | None],
    own: Collection[Segment],
    verdict_length: Callable[[Sequence[int]], int] | None,
) -> ExperienceRow:
    whole, action, verdict = reward
    ids: list[int] = []
    logprobs: list[float] = []
    mask: list[int] = []
    advantages: list[float] = []
    spans: list[tuple[int, int]] = []
    for number, (context, completion, recorded, segments) in enumerate(turns):
        written = [segment in own for segment in segments]
        ids += context + completion
        logprobs += [0.0] * len(context) + [p if w else 0.0 for p, w in zip(recorded, written, strict=True)]
        mask += [0] * len(context) + [int(w) for w in written]
        spans.append((len(ids) - len(completion), len(ids)))
        if action is not None and verdict is not None:
            judged = 0 if verdict_length is None else verdict_length(completion)
            credit = [
                verdict[number] if place < judged and segment == Segment.GUIDANCE else action[number]
                for place, segment in enumerate(segments)
            ]
            advantages += [0.0] * len(context) + [whole + extra for extra in credit]
    prompt = len(turns[0][0])
    advantage = advantages[prompt:] if advantages else whole
    return ExperienceRow(ids[:prompt], ids[prompt:], logprobs[prompt:], mask[prompt:], advantage, key, tuple(spans))


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows that go through the model together.

    Attributes:
        rows: indices into the experience; at least one.
        filler: nothing of it is trained on; it only keeps the count of micro-batches equal.
    """

    rows: tuple[int, ...]
    filler: bool = False


@dataclass(frozen=True, slots=True)
class UpdatePlan:
    """The micro-batches of one training step, in order.

    Attributes:
        micro_batches: `accumulation` in a row make one optimizer step.
        accumulation: micro-batches per optimizer step, the same for all (what transformers' Trainer needs).
        updates_per_pass: optimizer steps per pass over the experience.
    """

    micro_batches: tuple[MicroBatch, ...]
    accumulation: int
    updates_per_pass: int


def plan_updates(
    lengths: Sequence[int],
    *,
    minibatch: int,
    micro_batch_tokens: int,
    orders: Sequence[np.ndarray],
    idle: Collection[int] = (),
    overhead: int | None = None,
) -> UpdatePlan:
    """Cut the experience into optimizer steps and these into micro-batches of similar length.

    Args:
        lengths: tokens of each row.
        minibatch: rows per optimizer step at most; the steps of a pass differ by one row at most.
        micro_batch_tokens: budget of a micro-batch, padding included; a longer row is a separate one.
        orders: for each pass a permutation of the rows.
        idle: rows that add nothing to any gradient: they take their place in a step, but are not computed.
        overhead: tokens that a micro-batch costs besides its own, to be weighed against padding; None: each is filled.
    """
    updates = max(1, -(-len(lengths) // minibatch))
    steps = []
    for order in orders:
        for part in np.array_split(order, updates):
            busy = [int(i) for i in part if i not in idle]
            chosen = [lengths[i] for i in busy]
            if overhead is None:
                groups = group_by_length(chosen, micro_batch_tokens)
            else:
                groups = group_with_least_padding(chosen, micro_batch_tokens, overhead)
            step = [MicroBatch(tuple(busy[i] for i in group)) for group in groups]
            steps.append(step or [MicroBatch((int(part[0]),), filler=True)])
    accumulation = max(len(step) for step in steps)
    micro_batches = [micro for step in steps for micro in fill(step, accumulation)]
    return UpdatePlan(tuple(micro_batches), accumulation, updates)


def fill(step: list[MicroBatch], count: int) -> list[MicroBatch]:
    """Return `step` in exactly `count` micro-batches: the largest are halved, then fillers are added."""
    step = list(step)
    while len(step) < count:
        largest = max(range(len(step)), key=lambda i: len(step[i].rows))
        rows = step[largest].rows
        if len(rows) == 1:
            step.append(MicroBatch(rows, filler=True))
        else:
            half = len(rows) // 2
            step[largest : largest + 1] = [MicroBatch(rows[:half]), MicroBatch(rows[half:])]
    return step


def collate(rows: Sequence[ExperienceRow], pad_id: int, *, filler: bool = False) -> dict[str, torch.Tensor]:
    """Return the tensors of `GRPOTrainer._compute_loss` for `rows`, padded on the right.

    The first token is the prompt and all others are the completion: the mask alone says what is trained
    on, and no row needs padding on the left.

    Returns:
        prompt_ids (B, 1), prompt_mask (B, 1), completion_ids (B, T), completion_mask (B, T; 1 = no padding),
        tool_mask (B, T; 1 = policy token), advantages (B,) or (B, T), sampling_per_token_logps (B, T).
    """
    import torch

    width = max(row.length for row in rows)
    size = len(rows)
    ids = np.full((size, width), pad_id, dtype=np.int64)
    present = np.zeros((size, width), dtype=np.int64)
    trained = np.zeros((size, width), dtype=np.int64)
    logprobs = np.zeros((size, width), dtype=np.float32)
    advantages = np.zeros((size, width), dtype=np.float32)
    for i, row in enumerate(rows):
        start, end = len(row.prompt_ids), row.length
        ids[i, :end] = row.prompt_ids + row.completion_ids
        present[i, :end] = 1
        trained[i, start:end] = 0 if filler else row.loss_mask
        logprobs[i, start:end] = row.logprobs
        advantages[i, start:end] = row.advantage
    per_row = all(isinstance(row.advantage, float) for row in rows)
    return {
        "prompt_ids": torch.from_numpy(ids[:, :1]),
        "prompt_mask": torch.from_numpy(present[:, :1]),
        "completion_ids": torch.from_numpy(ids[:, 1:]),
        "completion_mask": torch.from_numpy(present[:, 1:]),
        "tool_mask": torch.from_numpy(trained[:, 1:]),
        "advantages": torch.tensor([row.advantage for row in rows], dtype=torch.float32)
        if per_row
        else torch.from_numpy(advantages[:, 1:]),
        "sampling_per_token_logps": torch.from_numpy(logprobs[:, 1:]),
    }
