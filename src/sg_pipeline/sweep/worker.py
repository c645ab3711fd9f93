"""A worker: takes over what dead workers have left, else begins further trials, until there are enough.

RUNNING, its claim free      its worker is dead: continue from its checkpoint, under the same number
fewer than n_trials begun    begin another
others here still running    wait: their worker may die
none of these                the search is over (trials of another data folder are left to its workers)
"""

import logging
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sg_pipeline.config.run import CoevolveConfig, written_steps
from sg_pipeline.config.sweep import SpaceConfig, SweepConfig
from sg_pipeline.errors import RunFailedError, RunKilledError
from sg_pipeline.reporting.text import percent
from sg_pipeline.runs.shared_steps import SCHEDULE, first_trust, recorded_schedule
from sg_pipeline.sweep.claims import Claims
from sg_pipeline.sweep.runs import Runner, make_run
from sg_pipeline.sweep.space import PRESETS, draw, point_parameters, schedule_parameters
from sg_pipeline.sweep.storage import FAILURE, PARAMETERS, PLACE, PRESET, VALIDATIONS

logger = logging.getLogger(__name__)

MAX_FAILURES = 3
"""So many failed trials in a row stop a worker: the schedules are hardly the cause."""

POLL = 5.0
"""Seconds between two looks at what other workers are doing."""

_JUST_BEGUN = timedelta(minutes=1)


class Worker:
    """One of the processes that work on a sweep."""

    def __init__(self, study: optuna.Study, sweep: SweepConfig, runner: Runner, claims: Claims, seed: int) -> None:
        """Take the study, and `seed`, the seed of all trials."""
        self._study, self._sweep, self._runner, self._claims, self._seed = study, sweep, runner, claims, seed
        self._until = None if sweep.timeout is None else time.monotonic() + sweep.timeout

    def search(self) -> None:
        """Work until the search is over.

        Raises:
            RunFailedError: several trials in a row have failed, or a run was killed.
        """
        failures, waiting = 0, False
        while True:
            with self._claims.alone():
                trial = self._abandoned() or self._new()
            if trial is None:
                if not any(map(self._is_here, self._trials(TrialState.RUNNING))):
                    return
                if not waiting:
                    logger.info("every trial is begun; waiting for those of other workers")
                    waiting = True
                time.sleep(POLL)
                continue
            try:
                failures = 0 if run_trial(trial, self._sweep, self._runner, self._seed) else failures + 1
            finally:
                self._claims.release(self._sweep.trial_name(trial.number))
            if failures == MAX_FAILURES:
                reason = self._trials()[trial.number].user_attrs[FAILURE]
                raise RunFailedError(f"{failures} trials in a row have failed, the last one: {reason}")

    def _abandoned(self) -> optuna.Trial | None:
        """Claim a trial whose worker is dead, and whose checkpoints are in this data folder."""
        for number in [trial.number for trial in self._trials(TrialState.RUNNING) if self._is_here(trial)]:
            name = self._sweep.trial_name(number)
            if not self._claims.take(name):
                continue
            now = self._trials()[number]  # it may have ended since it was listed
            if now.state == TrialState.RUNNING:
                logger.info("%s: its worker is gone, taken over", name)
                trial = optuna.Trial(self._study, now._trial_id)
                trial.set_user_attr(PLACE, self._claims.place)
                return trial
            self._claims.release(name)
        return None

    def _is_here(self, trial: FrozenTrial) -> bool:
        place = trial.user_attrs.get(PLACE)
        if place is not None:
            return bool(place == self._claims.place)
        # Begun and not yet marked: by a worker of this folder that died in that moment, since living ones do both in
        # one go; or in another folder, just now.
        began = trial.datetime_start
        return self._sweep.storage is None or began is None or datetime.now() - began > _JUST_BEGUN

    def _new(self) -> optuna.Trial | None:
        """Begin a trial, if there is to be another."""
        begun = sum(trial.state != TrialState.WAITING for trial in self._trials())
        if begun >= self._sweep.n_trials or (self._until is not None and time.monotonic() >= self._until):
            return None
        trial = self._study.ask()
        name = self._sweep.trial_name(trial.number)
        self._claims.take(name)
        trial.set_user_attr(PLACE, self._claims.place)
        parameters = trial_parameters(trial, self._sweep.space)
        preset = trial.user_attrs.get(PRESET)
        about = f"the preset {preset}" if preset else ", ".join(f"{n}={v}" for n, v in parameters.items())
        logger.info("%s begins (%d of %d): %s", name, begun + 1, self._sweep.n_trials, about)
        return trial

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)


def trial_parameters(trial: optuna.Trial, space: SpaceConfig) -> dict[str, Any]:
    """Return the run parameters of a trial, by dotted name; they are drawn once, and stored with it."""
    if PARAMETERS in trial.user_attrs:
        return dict(trial.user_attrs[PARAMETERS])
    found = point_parameters(draw(trial, space))
    if preset := trial.user_attrs.get(PRESET):
        other = {name: value for name, value in found.items() if not name.startswith(SCHEDULE)}
        found = {**schedule_parameters(PRESETS[preset]), **other}
    trial.set_user_attr(PARAMETERS, found)
    return found


def run_trial(trial: optuna.Trial, sweep: SweepConfig, runner: Runner, seed: int) -> bool:
    """Train a trial from one validation to the next, from wherever it is, until it is pruned or complete.

    Returns:
        Whether its run did not fail.

    Raises:
        RunKilledError: its run was killed; the trial stays RUNNING, to be taken over.
    """
    parameters = trial_parameters(trial, sweep.space)
    name, steps = sweep.trial_name(trial.number), sweep.steps
    run = make_run(name, parameters, seed=seed, steps=steps, validate_every=sweep.validate_every)
    judged_from = first_trust(recorded_schedule(parameters), steps)
    preset = PRESET in trial.user_attrs
    validations: dict[int, dict[str, Any]] = {}
    try:
        for after in written_steps(CoevolveConfig(steps=steps, checkpoint_every=sweep.validate_every))[1:]:
            validations[after] = runner.validate(run, after)
            success = {str(step): score["success_rate"] for step, score in validations.items()}
            trial.set_user_attr(VALIDATIONS, success)
            if sweep.second is not None:  # of several objectives Optuna takes no intermediate values
                continue
            if after not in trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values:
                trial.report(validations[after]["success_rate"], after)
            hopeless = trial.should_prune()  # always asked: hyperband counts the trials that have come so far
            # A schedule is not judged by the steps before it began to matter.
            if hopeless and not preset and judged_from < after < steps:
                trial.study.tell(trial, state=TrialState.PRUNED)
                logger.info("%s: pruned after %d steps", name, after)
                return True
    except RunKilledError:
        raise
    except RunFailedError as error:
        trial.set_user_attr(FAILURE, str(error))
        trial.study.tell(trial, state=TrialState.FAIL)
        logger.warning("%s: %s", name, error)
        return False
    trial.study.tell(trial, objective_values(sweep, validations))
    logger.info("%s: success %s on the validation games", name, percent(validations[steps]["success_rate"]))
    return True


def objective_values(sweep: SweepConfig, validations: Mapping[int, Mapping[str, Any]]) -> list[float]:
    """Return what is optimised, from the scores (steps -> score) up to the end of the run.

    Success at the end; and the AUC of the verdicts against the outcome (0.5, which is chance, where it is undefined),
    or the steps after which success first reached the threshold (one interval more than there are where it never did).
    """
    last = validations[max(validations)]
    values = [float(last["success_rate"])]
    if sweep.second == "calibration":
        auc = last["calibration"] and last["calibration"]["auc"]["turns"]
        values.append(0.5 if auc is None else float(auc))
    if sweep.second == "steps_to_threshold":
        reached = (after for after, score in validations.items() if score["success_rate"] >= sweep.threshold)
        values.append(float(min(reached, default=sweep.steps + sweep.validate_every)))
    return values
