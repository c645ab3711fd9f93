"""The result of a sweep: its trials, the best of them run again, and what they reach on games never played before.

The best of many trials owes something to luck, so the best ones and the presets are run again with other seeds. The
winner is the best of these on the validation games; its evaluation plays no part in that, so its lead over the presets
on the evaluation panels is not the luckiest of many.
"""

import json
import logging
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sg_pipeline.config.sweep import SweepConfig
from sg_pipeline.reporting.text import percent
from sg_pipeline.runs.shared_steps import validation_file
from sg_pipeline.study.comparison import Study, compare_pairs, group_runs, scores
from sg_pipeline.study.records import check_comparable, read_record
from sg_pipeline.study.statistics import BETTER, WORSE
from sg_pipeline.sweep.claims import Claims
from sg_pipeline.sweep.runs import Runner, SweepRun, make_run, work_of
from sg_pipeline.sweep.space import PRESETS, schedule_parameters
from sg_pipeline.sweep.storage import FAILURE, PARAMETERS, PRESET, VALIDATIONS
from sg_pipeline.sweep.worker import POLL

logger = logging.getLogger(__name__)

FEWEST_FOR_IMPORTANCE = 10
"""Completed trials below which the shares of importance would mean nothing."""


def read_trials(study: optuna.Study, sweep: SweepConfig, data: Path) -> dict[str, Any]:
    """Return the search so far, JSON-ready.

    Returns:
        `objectives`; `trials`: for each that was begun `number`, `run`, `state` (complete, pruned, failed, running),
        `preset`, `parameters`, `point` (what it has drawn), `values` (None unless complete), `validations` [[steps,
        success], …], `failure`, `work` (see `runs.work_of`); `ranking`: numbers of complete trials, the best first;
        `front`: those that no other beats in both objectives, where there are two; `importance`: dimension -> share,
        or None; `saved`: the sums of `work`.
    """
    begun = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
    trials = [_as_json(trial, sweep, data) for trial in begun]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    ranking = sorted(complete, key=lambda trial: (-trial["values"][0], trial["number"]))  # of equals the earlier one
    two = len(sweep.objectives) > 1 and complete
    return {
        "objectives": list(sweep.objectives),
        "trials": trials,
        "ranking": [trial["number"] for trial in ranking],
        "front": sorted(trial.number for trial in study.best_trials) if two else None,
        "importance": _importance(study, sweep),
        "saved": {
            key: sum(trial["work"][key] for trial in trials)
            for key in ("steps", "shared", "retrained", "seconds", "seconds_saved")
        },
    }


def _as_json(trial: FrozenTrial, sweep: SweepConfig, data: Path) -> dict[str, Any]:
    run = sweep.trial_name(trial.number)
    state = "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
    return {
        "number": trial.number,
        "run": run,
        "state": state,
        "preset": trial.user_attrs.get(PRESET),
        "parameters": trial.user_attrs.get(PARAMETERS, {}),
        "point": dict(sorted(trial.params.items())),
        "values": list(trial.values) if state == "complete" else None,
        "validations": [[int(after), value] for after, value in trial.user_attrs.get(VALIDATIONS, {}).items()],
        "failure": trial.user_attrs.get(FAILURE),
        "work": work_of(data, run, sweep.steps),
    }


def _importance(study: optuna.Study, sweep: SweepConfig) -> dict[str, float] | None:
    """Return the share that each dimension has in reaching a high success (PED-ANOVA), None with too few trials."""
    searched = list(sweep.space.searched)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if sum(set(searched) <= set(trial.params) for trial in complete) < FEWEST_FOR_IMPORTANCE:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the number of trials
        # Given a target, PED-ANOVA takes low values for good ones.
        found = optuna.importance.get_param_importances(study, params=searched, target=lambda trial: -trial.values[0])
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


@dataclass(frozen=True)
class Contender:
    """A schedule that is run again; its label is "trial-0007", or the preset's name."""

    label: str
    parameters: Mapping[str, Any]
    preset: bool

    def run(self, sweep: SweepConfig, seed: int) -> SweepRun:
        """Return its run with a seed."""
        name, steps = f"{sweep.name}/{self.label}-seed{seed}", sweep.confirm_steps or sweep.steps
        return make_run(name, self.parameters, seed=seed, steps=steps, validate_every=sweep.validate_every)


def contenders(sweep: SweepConfig, search: Mapping[str, Any]) -> list[Contender]:
    """Return the presets, then the best searched trials: of the Pareto front, where there is one."""
    if not search["ranking"]:
        return []
    trials = {trial["number"]: trial for trial in search["trials"]}
    own = {trial["preset"]: trial["parameters"] for trial in trials.values() if trial["preset"]}
    found = [Contender(name, own.get(name) or schedule_parameters(PRESETS[name]), True) for name in sweep.presets]
    eligible = [n for n in search["ranking"] if not trials[n]["preset"] and n in (search["front"] or search["ranking"])]
    # A trial that is a preset in all but name would be run twice.
    best = [n for n in eligible if trials[n]["parameters"] not in [dict(one.parameters) for one in found]]
    return found + [Contender(f"trial-{n:04d}", trials[n]["parameters"], False) for n in best[: sweep.candidates]]


def confirm(sweep: SweepConfig, chosen: Sequence[Contender], runner: Runner, claims: Claims) -> None:
    """Make the missing runs of the contenders, together with the other workers, and wait for all."""
    # Seed by seed: if this ends early, there are whole comparisons.
    runs = [contender.run(sweep, seed) for seed in sweep.confirm_seeds for contender in chosen]
    missing = [run for run in runs if not runner.is_finished(run)]
    if missing:
        logger.info("%d schedules are run again with other seeds: %d runs to make", len(chosen), len(missing))
    while missing:
        made = False
        for run in missing:
            if not claims.take(run.name):
                continue
            try:
                if not runner.is_finished(run):
                    logger.info("%s begins", run.name)
                    runner.finish(run)
                    made = True
            finally:
                claims.release(run.name)
        missing = [run for run in missing if not runner.is_finished(run)]
        if missing and not made:
            time.sleep(POLL)


def sweep_results(
    sweep: SweepConfig, search: Mapping[str, Any], chosen: Sequence[Contender], data: Path, seed: int
) -> dict[str, Any]:
    """Return everything that is shown of a sweep, JSON-ready; `search` is of `read_trials`.

    Returns:
        `search`; `sweep`: its settings; `winner`: label, parameters, `preset` (it is one), or None where no trial is
        complete; `confirmation`: None without confirming seeds, else `contenders` (label -> parameters, validation
        success by seed and mean, evaluation: split -> scores) and `rows`, the winner against each preset on each split;
        `verdict`: one sentence.
    """
    found: dict[str, Any] = {"sweep": sweep.model_dump(mode="json"), "search": dict(search)}
    found |= {"winner": None, "confirmation": None, "verdict": "No trial is complete, so there is no winner."}
    if not search["ranking"]:
        return found
    if not sweep.confirm_seeds:
        best = next(trial for trial in search["trials"] if trial["number"] == search["ranking"][0])
        label = best["preset"] or f"trial-{best['number']:04d}"
        found["winner"] = {"label": label, "parameters": best["parameters"], "preset": best["preset"] is not None}
        found["verdict"] = (
            f"{label} was the best of {len(search['trials'])} trials on the validation games "
            f"({percent(best['values'][0])}), not confirmed with other seeds (sweep.confirm_seeds)."
        )
        return found
    runs = [(one.label, each, one.run(sweep, each).name) for one in chosen for each in sweep.confirm_seeds]
    records = [read_record(data, *run) for run in runs]
    check_comparable(records)
    study = group_runs(records, {contender.label: contender.label for contender in chosen}, seed)
    confirmation = _confirmation(sweep, chosen, study, data)
    # Of equals the one that was named first: a preset.
    winner = max(chosen, key=lambda one: confirmation["contenders"][one.label]["validation"]["mean"])
    presets = [one.label for one in chosen if one.preset and one.label != winner.label]
    rows = confirmation["rows"] = compare_pairs(study, [(winner.label, preset) for preset in presets])
    better, worse = (sum(row["survives"] and row["verdict"] == word for row in rows) for word in (BETTER, WORSE))
    validation = percent(confirmation["contenders"][winner.label]["validation"]["mean"])
    verdict = (
        f"{'The preset ' * winner.preset}{winner.label} has the highest success on the validation games ({validation}; "
        f"seeds: {', '.join(map(str, sweep.confirm_seeds))})."
    )
    if rows:
        verdict += (
            f" On the evaluation games, which the search never played, against the {'other ' * winner.preset}presets: "
            f"better in {better}, worse in {worse}, within the noise in {len(rows) - better - worse} of {len(rows)} "
            f"comparisons (corrected for their number)."
        )
    own = {"label": winner.label, "parameters": dict(winner.parameters), "preset": winner.preset}
    return {**found, "winner": own, "confirmation": confirmation, "verdict": verdict}


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
