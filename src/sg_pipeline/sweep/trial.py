"""One trial: a run of its own, trained from one validation to the next, until it is pruned or done."""

import logging
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from sg_pipeline.config.rewards import parse_schedule
from sg_pipeline.config.run import CoevolveConfig, written_steps
from sg_pipeline.config.sweep import SweepConfig
from sg_pipeline.errors import RunFailedError, RunKilledError
from sg_pipeline.reporting.text import percent
from sg_pipeline.sweep.runs import Runner, make_run
from sg_pipeline.sweep.space import PRESETS, SpaceConfig, draw, point_parameters, schedule_parameters
from sg_pipeline.sweep.storage import INSIDE, PRESET

logger = logging.getLogger(__name__)

PARAMETERS, VALIDATIONS, FAILURE = "parameters", "validations", "failure"
"""Attributes of a trial: the parameters of its run; steps -> success; why it failed."""

_SCHEDULE = "aggregate.schedule."


def trial_parameters(trial: optuna.Trial, space: SpaceConfig) -> dict[str, Any]:
    """Return the parameters that a trial tries, by dotted name; they are drawn once, and kept with it."""
    kept = trial.user_attrs.get(PARAMETERS)
    if kept is not None:
        return dict(kept)
    preset = trial.user_attrs.get(PRESET)
    # A preset outside of the space draws nothing: what it is stands elsewhere.
    found = point_parameters(draw(trial, space)) if trial.user_attrs.get(INSIDE, True) else {}
    if preset is not None:
        other = {name: value for name, value in found.items() if not name.startswith(_SCHEDULE)}
        found = {**schedule_parameters(PRESETS[preset]), **other}
    trial.set_user_attr(PARAMETERS, found)
    return found


def run_trial(trial: optuna.Trial, sweep: SweepConfig, runner: Runner, seed: int) -> bool:
    """Bring a trial to its end, from wherever it is.

    Args:
        trial: new, or taken over.
        sweep: the sweep.
        runner: starts its run.
        seed: of the search.

    Returns:
        Whether its run did not fail.

    Raises:
        RunKilledError: its run was killed; the trial is left as it is, to be gone on with.
    """
    parameters = trial_parameters(trial, sweep.space)
    name = sweep.trial_name(trial.number)
    run = make_run(name, parameters, seed=seed, steps=sweep.steps, validate_every=sweep.validate_every)
    judged_from = _first_trust(parameters, sweep.steps)
    free = trial.user_attrs.get(PRESET) is not None
    validations: dict[int, dict[str, Any]] = {}
    try:
        for after in written_steps(CoevolveConfig(steps=sweep.steps, checkpoint_every=sweep.validate_every))[1:]:
            validations[after] = runner.validate(run, after)
            # A schedule is not judged by what was trained before it began to matter.
            spared = free or after <= judged_from or after == sweep.steps
            if _report(trial, after, validations, single=sweep.second is None) and not spared:
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
    logger.info("%s: success %s on the validation games", name, percent(validations[sweep.steps]["success_rate"]))
    return True


def objective_values(sweep: SweepConfig, validations: Mapping[int, Mapping[str, Any]]) -> list[float]:
    """Return what is optimised.

    Args:
        sweep: names the objectives.
        validations: steps -> score, up to the end of the run.

    Returns:
        Success at the end; and the AUC of the verdicts against the outcome (0.5, which is chance, where it is
        undefined), or the steps after which success first reached the threshold (one interval more than there are
        where it never did).
    """
    last = validations[max(validations)]
    values = [float(last["success_rate"])]
    if sweep.second == "calibration":
        auc = (last["calibration"] or {"auc": {"turns": None}})["auc"]["turns"]
        values.append(0.5 if auc is None else float(auc))
    if sweep.second == "steps_to_threshold":
        reached = [after for after in sorted(validations) if validations[after]["success_rate"] >= sweep.threshold]
        values.append(float(reached[0] if reached else sweep.steps + sweep.validate_every))
    return values


def _report(trial: optuna.Trial, after: int, validations: Mapping[int, Mapping[str, Any]], *, single: bool) -> bool:
    """Report the latest validation; return whether the pruner would stop here."""
    trial.set_user_attr(VALIDATIONS, {str(step): score["success_rate"] for step, score in validations.items()})
    if not single:
        return False
    known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    if after not in known:
        trial.report(validations[after]["success_rate"], after)
    # Asked also for those that are spared: hyperband counts who has come so far.
    return trial.should_prune()


def _first_trust(parameters: Mapping[str, Any], steps: int) -> int:
    """Return the first step at which lambda is above 0; `steps` where it never is."""
    values = {n.removeprefix(_SCHEDULE): v for n, v in parameters.items() if n.startswith(_SCHEDULE)}
    schedule = parse_schedule(values)
    return next((step for step in range(steps) if schedule.trust(step, steps) > 0), steps)
