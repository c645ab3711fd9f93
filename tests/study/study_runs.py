"""Little runs for the tests of the study: in memory, and as the files of a finished run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from played_episodes import N, P, Z, episode

from sg_pipeline.study.records import RunRecord
from sg_pipeline.trajectories.frame import to_frame

GAMES, KINDS = 48, ("clean", "heat", "put")
SPLITS = ("valid_seen", "valid_unseen")
PHASES = ("phase_1_warmup", "phase_2_activation", "phase_3_full", "phase_4_annealing")
TITLES = {"grpo": "GRPO", "grpo_sg": "GRPO w/ SG", "grpo_sg_gr": "GRPO w/ SG & GR", "immediate": "immediate"}
TYPES = {f"{split}-{game}": KINDS[game % len(KINDS)] for split in SPLITS for game in range(GAMES)}


def evaluation(seed: int, wins: int, wins_plain: int | None = None) -> dict[str, Any]:
    """Both modes; of each split the first games are won, shifted by the seed, so that seeds differ in which."""

    def score(won: int) -> dict[str, Any]:
        return {
            split: {
                "success_rate": won / GAMES,
                "episodes": GAMES,
                "per_game": {f"{split}-{(game + seed) % GAMES}": [int(game < won), 1] for game in range(GAMES)},
            }
            for split in SPLITS
        }

    return {"with_guidance": score(wins), "without_guidance": score(wins if wins_plain is None else wins_plain)}


def graded(seed: int, wins: int) -> dict[str, Any]:
    """The same of graded episodes: what is not won scores a half."""
    found = evaluation(seed, wins)
    for splits in found.values():
        for score in splits.values():
            games = {game: [won or 0.5, played] for game, (won, played) in score["per_game"].items()}
            score |= {"score": wins / GAMES + (1 - wins / GAMES) / 2, "score_ci95": [0.0, 1.0], "score_per_game": games}
    return found


def step_metrics(steps: int = 8, guided: bool = True, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "step": step, "phase": PHASES[4 * step // steps], "lambda": (0.0, 0.5, 1.0, 0.25)[4 * step // steps],
            "success_rate": 0.25 + step / 16, "trajectories": 4, "turns": 12, "policy_tokens": 24,
            "positive_share": 0.5 if guided else None, "neutral_share": 0.25 if guided else None,
            "negative_share": 0.25 if guided else None, "r_sg_gap": 0.5 if guided else None,
            "corr_r_sg_turns": -0.5 if guided else None, "guidance_only_groups": 0.25, "invalid_action_share": 0.125,
            "rollout": {"sampled_tokens": 30}, "training": {"tokens_trained": 24, "optimizer_steps": 2},
            "seconds": {"total": 4.0}, **changes,
        }
        for step in range(steps)
    ]  # fmt: skip


def record(method: str, seed: int, wins: int, base: int = 16, guided: bool = True, **changes: Any) -> RunRecord:
    arguments: dict[str, Any] = {
        "name": f"{method}-{seed}", "mode": "with_guidance" if guided else "without_guidance",
        "base": evaluation(seed, base), "final": evaluation(seed, wins), "metrics": step_metrics(guided=guided),
        "parameters": {"environment.name": "alfworld", "evaluate.temperature": 1.0}, "wall_seconds": 60.0,
        "task_types": TYPES, "panel": "generated games, panel demo", "panel_sha256": "abcdef" * 10,
        "policy_weights": 1_040_000, "data": Path("nowhere"),
    }  # fmt: skip
    return RunRecord(method, seed, **{**arguments, **changes})


def records(wins: dict[str, int], seeds: int = 3) -> list[RunRecord]:
    """Runs of these methods, each with so many wins a split with seed 0 and one more with each further seed."""
    return [
        record(method, seed, won + seed, guided=method != "grpo")
        for method, won in wins.items()
        for seed in range(seeds)
    ]


def guided_episodes(share: float, seed: int, step: int = 0) -> Any:
    """Wins say + at their end, losses - ; so many of all episodes are wins."""
    chance = np.random.default_rng(seed)
    return to_frame(
        episode(
            game, 0, (Z, P if won else N, P if won or game % 5 == 0 else N), won=bool(won), split=split, step=step,
            kind=KINDS[game % len(KINDS)],
        )
        for split in SPLITS
        for game, won in enumerate(chance.random(GAMES) < share)
    )  # fmt: skip


def write_run(data: Path, name: str, seed: int = 0, steps: int = 4) -> None:
    """The files of a finished run."""
    reporting = data / "08_reporting" / name
    found = record("grpo_sg_gr", seed, 30)
    files: dict[Path, Any] = {
        reporting / "summary.json": {"mode": "with_guidance", "steps": steps, "wall_seconds": 60.0,
                                     "panel": found.panel, "panel_sha256": found.panel_sha256},
        reporting / "run.json": {"parameters": {"run.seed": seed, **found.parameters}, "inputs": {"tasks.panel": "f0"}},
        reporting / "evaluation_base.json": found.base,
        reporting / "evaluation_final.json": found.final,
        data / "02_intermediate" / name / "panel.json": {
            "splits": {split: [{"task_id": task, "task_type": kind} for task, kind in TYPES.items()
                               if task.startswith(split)] for split in SPLITS}
        },
        **{reporting / "steps" / f"step_{m['step']:03d}.json": m for m in step_metrics(steps)},
    }  # fmt: skip
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    episodes = data / "07_model_output" / name
    episodes.mkdir(parents=True)
    for part, share in (("base", 0.3), ("final", 0.6)):
        guided_episodes(share, seed).write_parquet(episodes / f"{part}_with_guidance.parquet")
