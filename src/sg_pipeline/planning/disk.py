"""Disk that a run needs, by part."""

from __future__ import annotations

from sg_pipeline.coevolution import written_steps
from sg_pipeline.planning import habits
from sg_pipeline.planning.case import Case
from sg_pipeline.planning.seconds import checkpoint_bytes


def disk(case: Case) -> dict[str, int]:
    """Return the bytes of checkpoints and of trajectories; every checkpoint is kept."""
    rollout, lengths = case.rollout, case.lengths
    tokens = rollout.tasks_per_step * rollout.group_size * lengths.tokens(lengths.turns)
    evaluated = case.plan.evaluated_games * case.evaluate.episodes_per_game * 2 * len(case.evaluate.modes)
    return {
        "checkpoints": sum(checkpoint_bytes(case)),
        "trajectories": round(case.coevolve.steps * tokens * habits.TRAJECTORY_BYTES),
        "evaluation episodes": round(evaluated * lengths.tokens(lengths.turns) * habits.TRAJECTORY_BYTES),
    }


def checkpoints(case: Case) -> int:
    """Return how many policies the run writes down."""
    return len(written_steps(case.coevolve))
