"""What came out of a sweep: who wins on the validation games, and what that is worth on games never looked at.

The winner is named by its validation success over the confirming seeds, presets among the contenders. Its evaluation
plays no part in that, so its lead over the presets on the evaluation panels is not the luckiest of many.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from sg_pipeline.config.sweep import SweepConfig
from sg_pipeline.reporting.text import interval, percent, points
from sg_pipeline.runs.shared_steps import validation_file
from sg_pipeline.study.comparison import Study, compare, group_runs, scores
from sg_pipeline.study.records import check_comparable, read_record
from sg_pipeline.study.statistics import NOISE, holm
from sg_pipeline.sweep.confirm import Contender


def sweep_results(
    sweep: SweepConfig, search: Mapping[str, Any], chosen: Sequence[Contender], data: Path, seed: int
) -> dict[str, Any]:
    """Return everything that is shown of a sweep, JSON-ready.

    Args:
        sweep: the sweep.
        search: of `trials.read_trials`.
        chosen: the contenders.
        data: the data folder, with their runs.
        seed: of the search; names the random streams of the intervals.

    Returns:
        `search`; `sweep`: its settings; `winner`: label, parameters, `preset` (it is one), or None where no trial is
        complete; `confirmation`: None without confirming seeds, else `contenders` (label -> parameters, validation
        success by seed and mean, evaluation: split -> scores) and `rows`, the winner against each preset on each split;
        `verdict`: in words.
    """
    found = {"sweep": sweep.model_dump(mode="json"), "search": dict(search)}
    if not search["ranking"]:
        return {
            **found,
            "winner": None,
            "confirmation": None,
            "verdict": "No trial is complete, so there is no winner.",
        }
    if not sweep.confirm_seeds:
        best = next(trial for trial in search["trials"] if trial["number"] == search["ranking"][0])
        label = best["preset"] or f"trial-{best['number']:04d}"
        winner = {"label": label, "parameters": best["parameters"], "preset": best["preset"] is not None}
        verdict = (
            f"{label} was the best of {len(search['trials'])} trials on the validation games, "
            f"{percent(best['values'][0])}; with one seed each, and the best of many being partly the luckiest, this "
            f"says nothing yet: sweep.confirm_seeds runs it again."
        )
        return {**found, "winner": winner, "confirmation": None, "verdict": verdict}
    study = _read_runs(sweep, chosen, data, seed)
    confirmation = _confirmation(sweep, chosen, study, data)
    # Of equals the one that was named first: a preset.
    contender = max(chosen, key=lambda one: confirmation["contenders"][one.label]["validation"]["mean"])
    winner = {"label": contender.label, "parameters": dict(contender.parameters), "preset": contender.preset}
    confirmation["rows"] = _against_presets(contender, chosen, study, seed)
    return {**found, "winner": winner, "confirmation": confirmation, "verdict": _verdict(winner, confirmation)}


def _read_runs(sweep: SweepConfig, chosen: Sequence[Contender], data: Path, seed: int) -> Study:
    records = [
        read_record(data, contender.label, each, contender.run(sweep, each).name)
        for contender in chosen
        for each in sweep.confirm_seeds
    ]
    check_comparable(records)
    return group_runs(records, {contender.label: contender.label for contender in chosen}, seed)


def _confirmation(sweep: SweepConfig, chosen: Sequence[Contender], study: Study, data: Path) -> dict[str, Any]:
    mode, evaluated = study.records[0].mode, scores(study)
    entries = {}
    for contender in chosen:
        by_seed = {}
        for seed in sweep.confirm_seeds:
            run = contender.run(sweep, seed)
            path = validation_file(data, run.name, run.steps, run.steps)
            by_seed[str(seed)] = json.loads(path.read_text(encoding="utf-8"))["success_rate"]
        entries[contender.label] = {
            "preset": contender.preset,
            "parameters": dict(contender.parameters),
            "validation": {"by_seed": by_seed, "mean": fmean(by_seed.values())},
            "evaluation": evaluated[contender.label][mode],
        }
    return {
        "contenders": entries,
        "base": evaluated["base"][mode],
        "seeds": list(sweep.confirm_seeds),
        "splits": study.splits,
        "steps": sweep.confirm_steps or sweep.steps,
    }


def _against_presets(winner: Contender, chosen: Sequence[Contender], study: Study, seed: int) -> list[dict[str, Any]]:
    """Compare the winner with the presets, paired by seed and game; p-values are corrected for their number (Holm)."""
    rows: list[dict[str, Any]] = []
    for other in chosen:
        if not other.preset or other.label == winner.label:
            continue
        for split in study.splits:
            sides = [study.outcomes(one.label, "final", study.mode(one.label), split) for one in (winner, other)]
            if sides[0] is None or sides[1] is None:
                continue
            found = compare(sides[0], sides[1], seed, "sweep", winner.label, other.label, split)
            if found is not None:
                rows.append({"left": winner.label, "right": other.label, "split": split, **found})
    corrected = holm([1.0 if row["p_value"] is None else row["p_value"] for row in rows])
    for row, p_holm in zip(rows, corrected, strict=True):
        row["p_holm"] = p_holm
        row["survives"] = row["verdict"] != NOISE and p_holm < 0.05
    return rows


def _verdict(winner: Mapping[str, Any], confirmation: Mapping[str, Any]) -> str:
    """Say in words who won, and whether that is more than noise."""
    validation = confirmation["contenders"][winner["label"]]["validation"]["mean"]
    count = len(confirmation["seeds"])
    seeds = f"{count} seed{'s' * (count != 1)}"
    if winner["preset"]:
        told = [
            f"No searched schedule was better than the preset {winner['label']}, which has the highest success on the "
            f"validation games with {seeds}, {percent(validation)}."
        ]
    else:
        told = [
            f"{winner['label']} has the highest success on the validation games with {seeds}, {percent(validation)}."
        ]
    for row in confirmation["rows"]:
        lead = f"{points(row['value'])} points {interval(row['ci95'], points)} against {row['right']} on {row['split']}"
        if row["survives"]:
            told.append(f"On the evaluation games, never looked at in the search, it is {row['verdict']}: {lead}.")
        elif row["verdict"] == NOISE:
            told.append(f"The difference is noise: {lead}.")
        else:
            told.append(
                f"{lead}, which does not survive the correction for {len(confirmation['rows'])} comparisons: noise."
            )
    if confirmation["rows"] and not any(row["survives"] for row in confirmation["rows"]):
        told.append(
            f"So nothing that this sweep has found is known to be better or worse than the presets, with {seeds} of "
            f"{confirmation['steps']} steps."
        )
    return " ".join(told)
