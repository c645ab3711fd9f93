"""A worker: takes over what dead ones have left, else begins further trials, until there are enough.

RUNNING, its claim free      the worker that had it is dead: go on from its checkpoint, under the same number
fewer than n_trials begun    begin another
others here still at work    wait: one of them may die
none of these                the search is over (what runs in another data folder is that folder's business)
"""

import logging
import time
from datetime import datetime, timedelta

import optuna
from optuna.trial import FrozenTrial, TrialState

from sg_pipeline.config.sweep import SweepConfig
from sg_pipeline.errors import RunFailedError
from sg_pipeline.sweep.claims import Claims
from sg_pipeline.sweep.runs import Runner
from sg_pipeline.sweep.trial import run_trial, trial_parameters

logger = logging.getLogger(__name__)

PLACE = "place"
"""Attribute of a trial: the data folder that its run lies in."""

MAX_FAILURES = 3
"""Trials that may fail one after the other: then it is hardly the schedules' fault."""

_POLL = 5.0
_JUST_BEGUN = timedelta(minutes=1)


class Worker:
    """One of the processes that work on a sweep."""

    def __init__(
        self, study: optuna.Study, sweep: SweepConfig, runner: Runner, claims: Claims, seed: int, poll: float = _POLL
    ) -> None:
        """Take the study, and how often (in seconds) to look whether another worker's trial has ended."""
        self._study = study
        self._sweep = sweep
        self._runner = runner
        self._claims = claims
        self._seed = seed
        self._poll = poll
        self._until = None if sweep.timeout is None else time.monotonic() + sweep.timeout

    def search(self) -> None:
        """Work until the search is over.

        Raises:
            RunFailedError: several trials in a row have failed, or a run was killed.
        """
        failures, told = 0, False
        while True:
            with self._claims.alone():
                trial = self._abandoned() or self._new()
            if trial is None:
                if not any(self._is_here(running) for running in self._running()):
                    return
                if not told:
                    logger.info("every trial is begun; waiting for those that other workers are at")
                    told = True
                time.sleep(self._poll)
                continue
            name = self._sweep.trial_name(trial.number)
            try:
                failures = 0 if run_trial(trial, self._sweep, self._runner, self._seed) else failures + 1
            finally:
                self._claims.release(name)
            if failures == MAX_FAILURES:
                reason = self._study.get_trials(deepcopy=False)[trial.number].user_attrs["failure"]
                raise RunFailedError(f"{failures} trials in a row have failed, the last one: {reason}")

    def _abandoned(self) -> optuna.Trial | None:
        """Claim a trial whose worker is dead, and whose checkpoints lie in this data folder."""
        for number in [trial.number for trial in self._running() if self._is_here(trial)]:
            name = self._sweep.trial_name(number)
            if not self._claims.take(name):
                continue
            # It may have ended since it was listed.
            now = self._study.get_trials(deepcopy=False)[number]
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
        begun = [t for t in self._study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
        if len(begun) >= self._sweep.n_trials or (self._until is not None and time.monotonic() >= self._until):
            return None
        trial = self._study.ask()
        name = self._sweep.trial_name(trial.number)
        self._claims.take(name)
        trial.set_user_attr(PLACE, self._claims.place)
        parameters = trial_parameters(trial, self._sweep.space)
        preset = trial.user_attrs.get("preset")
        about = f"the preset {preset}" if preset else ", ".join(f"{n}={v}" for n, v in parameters.items())
        logger.info("%s begins (%d of %d): %s", name, len(begun) + 1, self._sweep.n_trials, about)
        return trial

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
