"""A small run for the tests of reporting."""

from typing import Any

from played_episodes import N, P, Z, episode

from sg_pipeline.evaluation.metrics import evaluate_table
from sg_pipeline.reporting.summary import build_summary
from sg_pipeline.trajectories.frame import to_frame

PHASES = ("phase_1_warmup", "phase_2_activation", "phase_3_full", "phase_4_annealing")


def metrics(steps: int = 8, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "phase": PHASES[4 * step // steps],
            "lambda": [0.0, 0.25, 0.5, 0.125][4 * step // steps],
            "success_rate": 0.25 + step / 32,
            "r_env": 0.25,
            "r_sg": 0.1,
            "positive_share": 0.5,
            "neutral_share": 0.25,
            "negative_share": 0.25,
            "r_sg_gap": 0.375 if step else None,
            "corr_r_sg_turns": -0.5,
            "guidance_only_groups": 0.125,
            "quarantined": int(step == 3),
            "training": {"loss": 0.0, "kl": 0.001, "entropy": 0.5, "clip_share": 0.0, "grad_norm": 1.0},
            "seconds": {"environment": 1.0, "sampling": 2.0, "training": 0.5, "total": 4.0},
            **changes,
        }
        for step in range(steps)
    ]


def played(wins: int, games: int = 40, guided: bool = True, step: int = 0) -> Any:
    verdicts = (Z, P, N) if guided else (None, None, None)
    return to_frame(
        episode(game, 0, verdicts, won=game < wins, split=split, step=step)
        for split in ("valid_seen", "valid_unseen")
        for game in range(games)
    )


def evaluation(wins: int, wins_plain: int, step: int = 0) -> dict[str, Any]:
    return {
        "with_guidance": evaluate_table(played(wins, step=step), 0),
        "without_guidance": evaluate_table(played(wins_plain, guided=False, step=step), 0),
    }


def summary(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "run": "demo", "fingerprint": "f00d", "environment": "alfworld",
        "panel": "generated games, panel demo", "panel_sha256": {"valid_seen": "abc"},
        "wall_seconds": 125.0, "metrics": metrics(), "base": evaluation(10, 12), "final": evaluation(24, 13, step=8),
        "guidance": True, "seed": 0,
    }  # fmt: skip
    return build_summary(**{**arguments, **changes})
