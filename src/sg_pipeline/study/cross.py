"""Cross-checkpoint: one policy, its guidance written by earlier, the same and later checkpoints."""

from collections.abc import Mapping, Sequence
from typing import Any

from sg_pipeline.evaluation.metrics import is_graded
from sg_pipeline.randomness import stream
from sg_pipeline.study.comparison import SCORES, Study, compare
from sg_pipeline.study.outcomes import Outcomes, build_outcomes
from sg_pipeline.study.statistics import mean_success

Cell = Mapping[str, Any]
"""{policy_step, guide_step, split, score}, where it is known with method and seed; `score` is of `score_episodes`."""


def cross_checkpoint(study: Study, cells: Sequence[Cell]) -> dict[str, Any]:
    """Score guides by the success of a fixed policy that they guide.

    Args:
        study: for the games' task types.
        cells: one for each policy, guide and split, and for each seed.

    Returns:
        `cells`: method, policy_step, guide_step, split and the mean's estimate, sorted, with that of the mean score as
        `score` where episodes are graded; `trends`: for each policy and
        split that has more than one guide the latest guide against the earliest, paired by seed and game: method,
        policy_step, split, `earliest`, `latest` and `compare`.
    """
    gathered: dict[tuple[str, str, int], dict[int, dict[int, Any]]] = {}
    for cell in cells:
        key = (str(cell.get("method") or ""), str(cell["split"]), int(cell["policy_step"]))
        guides = gathered.setdefault(key, {}).setdefault(int(cell["guide_step"]), {})
        guides[int(cell.get("seed") or 0)] = cell["score"]
    types = {game: kind for record in study.records for game, kind in record.task_types.items()}
    rows: list[dict[str, Any]] = []
    trends = []
    for (method, split, policy), guides in sorted(gathered.items()):
        found: dict[int, Outcomes] = {}
        for guide, of_seeds in sorted(guides.items()):
            what = f"cross-checkpoint, policy of step {policy}, guide of step {guide}, {split}"
            per_game = {seed: score["per_game"] for seed, score in of_seeds.items()}
            found[guide] = build_outcomes(per_game, types, what)
            names = ("study", "cross", method, split, policy, guide)
            score = mean_success(found[guide], stream(study.seed, *names)).as_json()
            rows.append({"method": method, "policy_step": policy, "guide_step": guide, "split": split, **score})
            if is_graded(*of_seeds.values()):
                per_game = {seed: score.get(SCORES, score["per_game"]) for seed, score in of_seeds.items()}
                graded = mean_success(build_outcomes(per_game, types, what), stream(study.seed, *names, "score"))
                rows[-1]["score"] = graded.as_json()
        earliest, latest = min(found), max(found)
        if earliest != latest:
            names_of = ("cross", method, split, str(policy), f"{latest}-{earliest}")
            change = compare(found[latest], found[earliest], study.seed, *names_of)
            if change is not None:
                trends.append({"method": method, "policy_step": policy, "split": split, "earliest": earliest,
                               "latest": latest, **change})  # fmt: skip
    return {"cells": rows, "trends": trends}
