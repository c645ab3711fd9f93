"""Optuna's study of a sweep: its storage, how trials are drawn and pruned, and the checks when a worker opens it."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from sg_pipeline.config.sweep import SweepConfig
from sg_pipeline.config.tree import Parameters
from sg_pipeline.errors import ConfigurationError, DataError, SgPipelineError
from sg_pipeline.files import atomic_write
from sg_pipeline.randomness import derive_seed
from sg_pipeline.runs.identity import differences, fingerprint, shortened
from sg_pipeline.runs.shared_steps import SCHEDULE
from sg_pipeline.sweep.space import PRESETS, distributions, preset_point, schedule_parameters

logger = logging.getLogger(__name__)

DEFINITION = "definition"
"""Attribute of the study: what makes its trials comparable."""

PRESET, PARAMETERS, VALIDATIONS, FAILURE, PLACE = "preset", "parameters", "validations", "failure", "place"
"""Attributes of a trial: its preset, the parameters of its run, steps -> success, why it failed, its data folder."""

JOURNAL = "journal.log"

_DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "success": "maximize",
    "calibration": "maximize",
    "steps_to_threshold": "minimize",
}
_TRIALS_DECIDE = (SCHEDULE, "coevolve.", "evaluate.")


class NumberedSampler(BaseSampler):
    """Random trials at first, then TPE; each trial draws from the random stream of its number.

    What trial n draws depends on the sweep's seed, on n, and (after the random ones) on the trials finished when it
    began. One worker therefore draws the same sweep every time, also when it is killed and started again. With several
    workers the presets and the random trials are still the same, but which trials are finished when a later one is
    drawn depends on their pace. (Optuna's samplers draw from one stream per process.)
    """

    def __init__(self, seed: int, space: Mapping[str, BaseDistribution], startup: int) -> None:
        """Take the search space, and how many trials are drawn at random."""
        self._seed, self._space, self._startup = seed, dict(space), startup
        self._of_trial: BaseSampler = RandomSampler(seed=0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begin the trial's own stream."""
        seed = derive_seed(self._seed, "sweep", trial.number, bits=31)
        random = trial.number < self._startup
        self._of_trial = RandomSampler(seed=seed) if random else TPESampler(seed=seed, n_startup_trials=1)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space: a preset outside of it has drawn nothing, and must not empty it."""
        return {} if isinstance(self._of_trial, RandomSampler) else self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw all dimensions together."""
        return self._of_trial.sample_relative(study, trial, search_space) if search_space else {}

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """Draw one dimension."""
        return self._of_trial.sample_independent(study, trial, name, distribution)


def make_pruner(sweep: SweepConfig) -> optuna.pruners.BasePruner:
    """Return what stops hopeless trials."""
    if sweep.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=sweep.startup)
    if sweep.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=sweep.validate_every, max_resource=sweep.steps, reduction_factor=2
        )
    return optuna.pruners.NopPruner()


def open_study(sweep: SweepConfig, given: Parameters, reports: Path) -> Study:
    """Open the sweep's study, or create it with its presets waiting. One worker at a time may do so.

    `given` are the parameters of its trials, except what is searched.

    Raises:
        DataError: the storage cannot be reached or read.
        ConfigurationError: a study of this name was made with another space, objective or other parameters.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            study_name=sweep.name,
            storage=_storage(sweep, reports),
            sampler=NumberedSampler(given.run.seed, distributions(sweep.space), sweep.startup),
            pruner=make_pruner(sweep),
            directions=[_DIRECTIONS[name] for name in sweep.objectives],
            load_if_exists=True,
        )
        recorded, own = study.user_attrs.get(DEFINITION), definition(sweep, given)
        if recorded is not None:
            there, here = ({"parameters": one, "inputs": {}} for one in (json.loads(recorded), own))
            if found := differences(there, here):
                raise ConfigurationError(
                    f"the sweep {sweep.name!r} was begun with other settings ({shortened(found)}), and its trials "
                    f"cannot be compared with new ones: choose another name with --params sweep.name=NAME"
                )
        elif study.get_trials(deepcopy=False):
            raise ConfigurationError(
                f"the storage {where(sweep, reports)} has a study {sweep.name!r} that no sweep of this project has "
                f"made: choose another sweep.name"
            )
        _enqueue_presets(study, sweep, given)
        if recorded is None:
            study.set_user_attr(DEFINITION, json.dumps(own, sort_keys=True))
    except SgPipelineError:
        raise
    except Exception as error:  # each database raises different errors
        advice = (
            "restore the file from a copy, or choose another sweep.name"
            if sweep.storage is None
            else "sweep.storage must be null, for a journal file, or the url of an existing database, as in "
            "sqlite:///sweep.db"
        )
        raise DataError(
            f"the storage of the sweep, {where(sweep, reports)}, cannot be used ({_line(error)}): {advice}"
        ) from error
    return study


def load_study(sweep: SweepConfig, reports: Path) -> Study:
    """Open a sweep's existing study to read it."""
    return optuna.load_study(study_name=sweep.name, storage=_storage(sweep, reports))


@contextmanager
def explained(sweep: SweepConfig, reports: Path) -> Iterator[None]:
    """Raise a DataError in place of an error of Optuna or of the database while the storage is in use."""
    try:
        yield
    except Exception as error:
        # A journal that cannot be read is an error of Python's own, raised by Optuna.
        raised_by = {frame.f_globals["__name__"] for frame, _ in walk_tb(error.__traceback__)}
        known = type(error).__module__.partition(".")[0] in ("optuna", "sqlalchemy", "sqlite3", "redis")
        if not known and not any(name.startswith("optuna.storages.") for name in raised_by):
            raise
        raise DataError(
            f"the storage of the sweep, {where(sweep, reports)}, has failed ({_line(error)}); when it works again, "
            f"run the same command to continue"
        ) from error


def definition(sweep: SweepConfig, given: Parameters) -> dict[str, Any]:
    """Return what makes trials comparable, by dotted name."""
    about = {"space": sweep.space.model_dump(mode="json"), "steps": sweep.steps, "validate_every": sweep.validate_every,
             "objectives": list(sweep.objectives)}  # fmt: skip
    if sweep.second == "steps_to_threshold":
        about["threshold"] = sweep.threshold
    parameters = fingerprint(given)["parameters"]
    kept = {name: value for name, value in parameters.items() if not name.startswith(_TRIALS_DECIDE)}
    return {**{f"sweep.{name}": value for name, value in about.items()}, **kept}


def where(sweep: SweepConfig, reports: Path) -> str:
    """Name the storage, without a password that its url may have."""
    if sweep.storage is None:
        return str(reports / JOURNAL)
    scheme, _, rest = sweep.storage.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _storage(sweep: SweepConfig, reports: Path) -> optuna.storages.BaseStorage:
    if sweep.storage is not None:
        return optuna.storages.get_storage(sweep.storage)
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    reports.mkdir(parents=True, exist_ok=True)
    _repair(reports / JOURNAL)
    return JournalStorage(JournalFileBackend(str(reports / JOURNAL)))


def _repair(path: Path) -> None:
    """Put every entry of the journal on a separate line, as Optuna reads it, and cut off one torn at the end.

    Network file systems lose line breaks between entries, and a writer that dies leaves half an entry.

    Raises:
        DataError: half an entry is in front of others.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if not path.exists():
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()  # another worker may be writing
    try:
        content = path.read_bytes()
        lines, torn = content.split(b"\n"), ""
        entries: list[str] = []
        for number, line in enumerate(lines, 1):
            whole, torn = _entries(line)
            if torn and number < len(lines):
                raise DataError(
                    f"{path}, line {number}, has half an entry in front of others ({torn[:60]!r}), which cannot be "
                    f"repaired: restore the file from a copy; or end all workers, delete that half (up to the next "
                    f"'{{\"op_code\"', if the line has one) and run the same command to continue without it"
                )
            entries += whole
        repaired = "".join(f"{entry}\n" for entry in entries).encode("utf-8", "surrogateescape")
        if repaired != content:
            what = "the half entry at its end is cut off" if torn else "each entry gets a line"
            logger.warning("%s is repaired: %s", path, what)
            with atomic_write(path) as temporary:
                temporary.write_bytes(repaired)
    finally:
        lock.release()


def _entries(line: bytes) -> tuple[list[str], str]:
    """Return the whole entries at the beginning of a line, and what follows them."""
    entries, rest = [], line.decode("utf-8", "surrogateescape").strip(" \t\r")
    while rest.startswith("{"):
        try:
            _, end = json.JSONDecoder().raw_decode(rest)
        except ValueError:
            break
        entries.append(rest[:end])
        rest = rest[end:].lstrip(" \t\r")
    return entries, rest


def _enqueue_presets(study: Study, sweep: SweepConfig, given: Parameters) -> None:
    """Let the presets wait for workers; those that the study has are not tried again."""
    known = {trial.user_attrs.get(PRESET) for trial in study.get_trials(deepcopy=False)}
    for preset in (preset for preset in sweep.presets if preset not in known):
        point = preset_point(sweep.space, preset, given)
        if point is None:  # outside of the space it draws nothing
            study.enqueue_trial({}, {PRESET: preset, PARAMETERS: schedule_parameters(PRESETS[preset])})
        else:
            study.enqueue_trial({name: point[name] for name in sweep.space.searched}, {PRESET: preset})


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200].rstrip(".")
