"""Disk that a run needs, by part."""

from __future__ import annotations

from sg_pipeline.config.run import written_steps
from sg_pipeline.planning import habits
from sg_pipeline.planning.case import Case
from sg_pipeline.planning.seconds import checkpoint_bytes


def disk(case: Case) -> dict[str, int]:
    """Return the bytes of checkpoints and of trajectories; at its fullest."""
    rollout, lengths = case.rollout, case.lengths
    tokens = rollout.tasks_per_step * rollout.group_size * lengths.tokens(lengths.turns)
    evaluated = case.plan.evaluated_games * case.evaluate.episodes_per_game * 2 * len(case.evaluate.modes)
    return {
        "checkpoints": sum(
            size
            for after, size in zip(written_steps(case.coevolve), checkpoint_bytes(case), strict=True)
            if after in kept(case)
        ),
        "trajectories": round(case.coevolve.steps * tokens * habits.TRAJECTORY_BYTES),
        "evaluation episodes": round(evaluated * lengths.tokens(lengths.turns) * habits.TRAJECTORY_BYTES),
    }


def kept(case: Case) -> list[int]:
    """Return which policies lie on the disk when it is fullest, by the steps before them.

    One more checkpoint than stay, since one goes when the next is written; the best is any of them.
    """
    base, *between, final = written_steps(case.coevolve)
    config = case.checkpoints
    if config.keep_last is None:
        return [base, *between, final]
    count = config.keep_last + 1 + (config.best is not None)
    if config.keep_cross_checkpoint:
        count += 2  # besides base and final, by the default fractions
    return [base, *between[-count:], final]


def checkpoints(case: Case) -> int:
    """Return how many policies the run writes down."""
    return len(written_steps(case.coevolve))
