"""What one training step learns from: rows of tokens with log-probabilities, masks and advantages.

Trajectory ─► ExperienceRow ─► plan_updates ─► micro-batches, `accumulation` of them per optimizer step
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sg_pipeline.errors import DataError
from sg_pipeline.training.batching import group_by_length, group_with_least_padding
from sg_pipeline.trajectories.frame import from_frame
from sg_pipeline.trajectories.types import Segment, Trajectory

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class ExperienceRow:
    """One trajectory as the trainer sees it.

    Attributes:
        prompt_ids: the first turn's context; at least one token, never trained on.
        completion_ids: everything after it, later observations included; at least one token.
        logprobs: the sampler's log pi of each completion token, 0.0 where it is none of the policy's. Same length.
        loss_mask: 1 where the policy wrote the token, 0 elsewhere. Same length.
        advantage: one for the whole row, or one per completion token.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    logprobs: list[float]
    loss_mask: list[int]
    advantage: float | list[float]

    def __post_init__(self) -> None:
        """Refuse rows whose parts do not fit, before they reach a gradient."""
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
        return not np.any(self.advantage) or not any(self.loss_mask)

    @property
    def trained_tokens(self) -> int:
        """Tokens that carry loss."""
        return sum(self.loss_mask)


POLICY_SEGMENTS = frozenset({Segment.GUIDANCE, Segment.ACTION})
"""What the policy writes, unless somebody else writes its guidance."""


def experience_row(
    trajectory: Trajectory, advantage: float | Sequence[float], own: Collection[Segment] = POLICY_SEGMENTS
) -> ExperienceRow:
    """Return the row of one trajectory.

    Args:
        trajectory: its tokens go over untouched.
        advantage: of the whole trajectory, or one per token that follows the first turn's context.
        own: segments that the policy wrote; no other token carries loss.
    """
    prompt = len(trajectory.turns[0].context_ids)
    tokens = list(trajectory.tokens())
    rest = tokens[prompt:]
    return ExperienceRow(
        prompt_ids=[token for token, _, _ in tokens[:prompt]],
        completion_ids=[token for token, _, _ in rest],
        logprobs=[logprob if segment in own else 0.0 for _, logprob, segment in rest],
        loss_mask=[int(segment in own) for _, _, segment in rest],
        advantage=float(advantage) if isinstance(advantage, (int, float)) else [float(value) for value in advantage],
    )


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
        micro_batch_tokens: budget of a micro-batch, padding included; a longer row is one of its own.
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

    The first token stands as the prompt and all others as the completion: the mask alone says what is trained
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


def experience_table(
    turns: pl.DataFrame, rewards: pl.DataFrame, own: Collection[Segment] = POLICY_SEGMENTS
) -> list[ExperienceRow]:
    """Join a step's turns with their advantages.

    Args:
        turns: a table that satisfies `trajectories.schema.ValidTable`.
        rewards: one row a trajectory with `step`, `group`, `item`, `selected` and `advantage`.
        own: segments that the policy wrote.

    Returns:
        One row for each trajectory that is selected, ordered by (step, group, item).

    Raises:
        DataError: a trajectory has no advantage, or an advantage no trajectory.
    """
    advantages = {(step, group, item): value for step, group, item, value in rewards.select(
        "step", "group", "item", "advantage"
    ).iter_rows()}  # fmt: skip
    trajectories = from_frame(turns)
    keys = [(trajectory.policy_step, trajectory.group, trajectory.item) for trajectory in trajectories]
    if set(keys) != set(advantages) or len(keys) != rewards.height:
        raise DataError(
            f"The rewards do not belong to these trajectories: {len(set(keys))} trajectories, {rewards.height} "
            f"rewards, {len(set(keys) & set(advantages))} in common; aggregate the step again."
        )
    selected = set(rewards.filter("selected").select("step", "group", "item").iter_rows())
    return [
        experience_row(trajectory, advantages[key], own)
        for trajectory, key in zip(trajectories, keys, strict=True)
        if key in selected
    ]
