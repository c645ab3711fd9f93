"""How good is the guidance? Its dials through training, and its calibration on the evaluation panels with intervals.

Dials, by phase: label shares, R_sg of wins and losses and the AUC pool the turns (episodes) of a phase; correlations
and shares of groups are means of the phase's steps, since a policy that improves within a phase would show up in a
pooled correlation. What the steps' metrics lack is computed from the run's tables; it is None where these are gone.

Calibration: the turns of one episode share their outcome, and the episodes of one game are alike, so turns are not
independent: seeds and games are resampled as for success (`statistics`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sg_pipeline.config.evaluation import WITH_GUIDANCE
from sg_pipeline.config.run import step_number
from sg_pipeline.evaluation.calibration import LABELS, MEASURES, THIRDS, label_counts, measures
from sg_pipeline.reporting.text import mean
from sg_pipeline.study.comparison import PARTS, Study, policies
from sg_pipeline.study.outcomes import Outcomes, build_outcomes
from sg_pipeline.study.records import EPISODES, REWARDS, TRAJECTORIES, RunRecord, read_table
from sg_pipeline.study.statistics import FEWEST_DIFFERING, Estimate, estimates, verdict

DIALS = (
    "lambda", "success_rate", *(f"{label}_share" for label in reversed(LABELS)), "r_sg_wins", "r_sg_losses",
    "r_sg_gap", "corr_r_sg_turns", "guidance_only_groups", "invalid_action_share", "auc",
    *(f"auc_{third}" for third in THIRDS),
)  # fmt: skip

_MEANS_OF_STEPS = ("lambda", "success_rate", "corr_r_sg_turns", "guidance_only_groups", "invalid_action_share")
_EPISODE = ["step", "group", "item"]
_TURN = [*_EPISODE, "split", "task_id", "turn", "polarity", "won"]


def guidance_dials(study: Study) -> dict[str, Any]:
    """Gather the dials: method -> phase -> {first, last, seeds, dial: {mean, least, most}} over the method's seeds.

    A method without a schedule has a single phase, which would hide how its guidance drifts: it is cut where the
    phases of the study's first scheduled method change, so that the two can be compared.
    """
    reference = next((run for run in study.records if len(_phases(run)) > 1), None)
    result: dict[str, Any] = {}
    for method, runs in study.runs.items():
        by_run = [phase_dials(run, reference) for run in runs]
        for phase in dict.fromkeys(phase for run in by_run for phase in run):
            rows = [run[phase] for run in by_run if phase in run]
            entry: dict[str, Any] = {"first": rows[0]["first"], "last": rows[0]["last"], "seeds": len(rows)}
            for dial in DIALS:
                known = [row[dial] for row in rows if row[dial] is not None]
                entry[dial] = {"mean": mean(known), "least": min(known), "most": max(known)} if known else None
            result.setdefault(method, {})[phase] = entry
    return result


def phase_dials(run: RunRecord, reference: RunRecord | None = None) -> dict[str, dict[str, Any]]:
    """Return phase -> the `DIALS` of one run, with its `first` and `last` step.

    A run of a single phase is cut where the phases of `reference` change; they are then called "steps_000_039".
    """
    parts = _phases(run)
    if len(parts) == 1 and reference is not None and len(reference.metrics) == len(run.metrics):
        parts = {f"steps_{steps[0]:03d}_{steps[-1]:03d}": steps for steps in _phases(reference).values()}
    by_step = {int(step["step"]): step for step in run.metrics}
    return {phase: _phase(run, [by_step[step] for step in steps]) for phase, steps in parts.items()}


def _phases(run: RunRecord) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for step in run.metrics:
        found.setdefault(str(step["phase"]), []).append(int(step["step"]))
    return found


def _phase(run: RunRecord, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    entry: dict[str, Any] = dict.fromkeys(DIALS)
    entry |= {"first": int(steps[0]["step"]), "last": int(steps[-1]["step"])}
    entry |= {name: mean(step.get(name) for step in steps) for name in _MEANS_OF_STEPS}
    guided = [step for step in steps if step.get("positive_share") is not None]  # all turns of a step or none
    turns = sum(int(step["turns"]) for step in guided)
    if not turns:
        return entry
    for name in (f"{label}_share" for label in LABELS):
        entry[name] = sum(int(step["turns"]) * step[name] for step in guided) / turns
    rewards, counts = _tables(run, [int(step["step"]) for step in steps])
    entry["r_sg_gap"] = mean(step.get("r_sg_gap") for step in steps)
    if rewards is not None:
        wins, losses = (mean(rewards.filter(pl.col("won") == won).sort(_EPISODE)["r_sg"]) for won in (True, False))
        gap = None if wins is None or losses is None else wins - losses
        entry |= {"r_sg_wins": wins, "r_sg_losses": losses, "r_sg_gap": gap}
    if counts is not None:
        found = dict(zip(MEASURES, measures(counts).tolist(), strict=True))
        names = {"auc": "auc.turns", **{f"auc_{third}": f"auc.{third}" for third in THIRDS}}
        entry |= {dial: found[name] if np.isfinite(found[name]) else None for dial, name in names.items()}
    return entry


def _tables(run: RunRecord, steps: Sequence[int]) -> tuple[pl.DataFrame | None, np.ndarray | None]:
    """(R_sg and outcome of each episode, counts of labels) over these steps; None where a table is gone."""
    folders = [Path(run.name) / f"step_{step_number(step, len(run.metrics))}" for step in steps]
    rewarded = [run.data / REWARDS / folder / "rewards.parquet" for folder in folders]
    played = [run.data / TRAJECTORIES / folder / "trajectories.parquet" for folder in folders]
    if not all(path.is_file() for path in rewarded):
        return None, None
    rewards = [read_table(path, [*_EPISODE, "r_sg", "won"]) for path in rewarded]
    if not all(path.is_file() for path in played):
        return pl.concat(rewards), None
    # What was quarantined has no reward.
    kept = (read_table(path, _TURN).join(of, on=_EPISODE, how="semi") for path, of in zip(played, rewards, strict=True))
    return pl.concat(rewards), sum(map(label_counts, kept), np.zeros((3, 3, 2)))


def calibration(study: Study) -> list[dict[str, Any]]:
    """Calibrate the guidance of the base policy and of every method's final policy.

    Returns:
        Rows of method ("base" for the base policy), split, `seeds`, `turns` and the `MEASURES`, each with its estimate;
        a final policy's row also has `moved`: final - base of the same measures within the method, and `auc_verdict`,
        the verdict on the AUC's change. Runs whose evaluation episodes are not on disk are left out.
    """
    rows = []
    for part, method, only in policies(study):
        runs = only.runs[method]
        tables = {p: [_episodes(run, p) for run in runs] for p in PARTS if p in ("base", part)}
        for split in study.splits:
            cells = {p: _cells(runs, found, split) for p, found in tables.items()}
            if (own := cells[part]) is None:
                continue
            counted, frame = own
            row: dict[str, Any] = {
                "method": method, "part": part, "split": split, "seeds": len(frame.seeds), "turns": int(counted.sum()),
                **_json(_estimate(study, frame, "calibration", method, split, after=counted)),
            }  # fmt: skip
            before = cells["base"]
            if part == "final" and before and (before[1].games, before[1].seeds) == (frame.games, frame.seeds):
                moved = _estimate(study, frame, "moved", method, split, after=counted, before=before[0])
                change = moved["auc.turns"]
                row["moved"] = _json(moved)
                row["auc_verdict"] = verdict(change, FEWEST_DIFFERING) if row["moved"]["auc.turns"]["ci95"] else None
            rows.append(row)
    return rows


def _episodes(run: RunRecord, part: str) -> pl.DataFrame | None:
    path = run.data / EPISODES / run.name / f"{part}_{WITH_GUIDANCE}.parquet"
    return read_table(path, _TURN) if path.is_file() else None


def _cells(
    runs: Sequence[RunRecord], tables: Sequence[pl.DataFrame | None], split: str
) -> tuple[np.ndarray, Outcomes] | None:
    """((S, G, 3, 3, 2) counts, seeds and games to resample), of the runs whose episodes exist."""
    found = {run.seed: table.filter(pl.col("split") == split)
             for run, table in zip(runs, tables, strict=True) if table is not None}  # fmt: skip
    if not found or any(table.is_empty() for table in found.values()):
        return None
    per_game = {seed: dict.fromkeys(table["task_id"].to_list(), (0, 1)) for seed, table in found.items()}
    frame = build_outcomes(per_game, runs[0].task_types, f"guided episodes of {split}")
    return np.stack([label_counts(found[seed], frame.games) for seed in frame.seeds]), frame


def _estimate(
    study: Study, frame: Outcomes, *names: str, after: np.ndarray, before: np.ndarray | None = None
) -> dict[str, Estimate]:
    """Estimate the measures of counts (S, G, 3, 3, 2), or their change where `before` is given."""

    def resampled(cells: np.ndarray, picks: np.ndarray, counts: np.ndarray) -> np.ndarray:
        seeds, games = cells.shape[:2]
        flat = cells.transpose(1, 0, 2, 3, 4).reshape(games, -1)
        per_seed = (counts @ flat).reshape(len(counts), seeds, -1)
        drawn = np.take_along_axis(per_seed, picks[:, :, None], axis=1).sum(axis=1)
        return measures(drawn.reshape(-1, 3, 3, 2))

    def statistics(picks: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return resampled(after, picks, counts) - (0 if before is None else resampled(before, picks, counts))

    found = estimates(statistics, frame, study.stream(*names))
    least = 0.0 if before is None else -1.0
    return {name: value.within(least, 1.0) for name, value in zip(MEASURES, found, strict=True)}


def _json(found: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: value.as_json() for name, value in found.items()}
