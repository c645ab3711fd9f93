"""The sweep's trials as plain values: what reports and figures are made of."""

import math
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sg_pipeline.config.sweep import SweepConfig
from sg_pipeline.sweep.saved import work_of
from sg_pipeline.sweep.storage import PRESET
from sg_pipeline.sweep.trial import FAILURE, PARAMETERS, VALIDATIONS

FEWEST_FOR_IMPORTANCE = 10
"""Completed trials below which a share of importance would be made of nothing."""


def read_trials(study: optuna.Study, sweep: SweepConfig, data: Path) -> dict[str, Any]:
    """Return the search so far, JSON-ready.

    Args:
        study: the sweep's.
        sweep: the sweep.
        data: the data folder.

    Returns:
        `objectives`; `trials`: for each that was begun `number`, `run`, `state` (complete, pruned, failed, running),
        `preset`, `parameters`, `point` (what it has drawn), `values` (None unless complete), `validations` [[steps,
        success], …], `failure`, `work` (see `saved.work_of`); `ranking`: numbers of complete trials, the best first;
        `front`: those that no other beats in both objectives, where there are two; `importance`: dimension -> share,
        or None; `saved`: the sums of `work`.
    """
    trials = [
        _as_json(trial, sweep, data) for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING
    ]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    # Of equals the one that was there first.
    ranking = sorted(complete, key=lambda trial: (-trial["values"][0], trial["number"]))
    work = [trial["work"] for trial in trials]
    return {
        "objectives": list(sweep.objectives),
        "trials": trials,
        "ranking": [trial["number"] for trial in ranking],
        "front": sorted(trial.number for trial in study.best_trials)
        if len(sweep.objectives) > 1 and complete
        else None,
        "importance": _importance(study, sweep),
        "saved": {
            key: sum(each[key] for each in work) for key in ("steps", "shared", "retrained", "seconds", "seconds_saved")
        },
    }


def _as_json(trial: FrozenTrial, sweep: SweepConfig, data: Path) -> dict[str, Any]:
    run = sweep.trial_name(trial.number)
    state = {TrialState.FAIL: "failed"}.get(trial.state, trial.state.name.lower())
    return {
        "number": trial.number,
        "run": run,
        "state": state,
        "preset": trial.user_attrs.get(PRESET),
        "parameters": trial.user_attrs.get(PARAMETERS, {}),
        "point": {name: trial.params[name] for name in sorted(trial.params)},
        "values": list(trial.values) if state == "complete" else None,
        "validations": [[int(after), value] for after, value in trial.user_attrs.get(VALIDATIONS, {}).items()],
        "failure": trial.user_attrs.get(FAILURE),
        "work": work_of(data, run, sweep.steps),
    }


def _importance(study: optuna.Study, sweep: SweepConfig) -> dict[str, float] | None:
    """Return the share that each dimension has in reaching a high success (PED-ANOVA), None with too few trials."""
    searched = list(sweep.space.searched)
    drawn = [
        t for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if set(searched) <= set(t.params)
    ]
    if len(drawn) < FEWEST_FOR_IMPORTANCE:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains of figures that are as few as they are
        found = optuna.importance.get_param_importances(study, params=searched, target=lambda trial: -trial.values[0])
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}
