"""Where a sweep is kept: Optuna's study, opened by every worker, and made sure to be the one that is meant."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any, Literal

import optuna

from sg_pipeline.config.sweep import SweepConfig
from sg_pipeline.config.tree import Parameters
from sg_pipeline.errors import ConfigurationError, DataError, SgPipelineError
from sg_pipeline.files import atomic_write
from sg_pipeline.runs.identity import fingerprint
from sg_pipeline.sweep.sampler import NumberedSampler, make_pruner
from sg_pipeline.sweep.space import distributions, preset_point

logger = logging.getLogger(__name__)

DEFINITION, PRESET, INSIDE = "definition", "preset", "inside"
"""Attributes: of the study, what makes its trials comparable; of a trial, which preset it is, and whether that lies in
the space."""

JOURNAL = "journal.log"

_DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "success": "maximize",
    "calibration": "maximize",
    "steps_to_threshold": "minimize",
}
_TRIALS_DECIDE = ("aggregate.schedule.", "coevolve.", "evaluate.")
_SHOWN = 4


def open_study(sweep: SweepConfig, given: Parameters, reports: Path) -> optuna.Study:
    """Open the sweep's study, or make it, with its presets waiting. One worker at a time may do so.

    Args:
        sweep: the sweep.
        given: parameters of its trials, but for what is searched.
        reports: the sweep's folder of reports.

    Raises:
        DataError: the storage cannot be reached or read.
        ConfigurationError: a study of this name was made with another space, objective or other parameters.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = distributions(sweep.space)
    try:
        study = optuna.create_study(
            study_name=sweep.name,
            storage=_storage(sweep, reports),
            sampler=NumberedSampler(given.run.seed, space, sweep.startup),
            pruner=make_pruner(sweep.pruner, sweep.startup, sweep.validate_every, sweep.steps),
            directions=[_DIRECTIONS[name] for name in sweep.objectives],
            load_if_exists=True,
        )
        there, own = study.user_attrs.get(DEFINITION), definition(sweep, given)
        if there is None and study.get_trials(deepcopy=False):
            raise ConfigurationError(
                f"the storage {where(sweep, reports)} has a study {sweep.name!r} that no sweep of this project has "
                f"made: choose another sweep.name"
            )
        if there is not None:
            _check_same(json.loads(there), own, sweep.name)
        _enqueue_presets(study, sweep, given)
        if there is None:
            study.set_user_attr(DEFINITION, json.dumps(own, sort_keys=True))
    except SgPipelineError:
        raise
    except Exception as error:  # every database has errors of its own
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


@contextmanager
def explained(sweep: SweepConfig, reports: Path) -> Iterator[None]:
    """Tell what has happened when the storage fails while it is in use.

    Raises:
        DataError: in place of an error of Optuna or of the database.
    """
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
            f"run the same command to go on"
        ) from error


def definition(sweep: SweepConfig, given: Parameters) -> dict[str, Any]:
    """Return what makes trials comparable, by dotted name."""
    parameters = fingerprint(given)["parameters"]
    about = {"space": sweep.space.model_dump(mode="json"), "steps": sweep.steps, "validate_every": sweep.validate_every,
             "objectives": list(sweep.objectives)}  # fmt: skip
    if sweep.second == "steps_to_threshold":
        about["threshold"] = sweep.threshold
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
        DataError: half an entry stands before others.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if not path.exists():
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()  # another worker may be writing
    try:
        content = path.read_bytes()
        *lines, tail = content.split(b"\n")
        entries: list[str] = []
        for number, line in enumerate(lines, 1):
            whole, torn = _entries(line)
            if torn:
                raise DataError(
                    f"{path}, line {number}, has half an entry in front of others ({torn[:60]!r}), which cannot be "
                    f"repaired: restore the file from a copy; or end all workers, delete that half (up to the next "
                    f"'{{\"op_code\"', if the line has one) and run the same command to continue without it"
                )
            entries += whole
        whole, torn = _entries(tail)
        repaired = "".join(f"{entry}\n" for entry in (*entries, *whole)).encode("utf-8", "surrogateescape")
        if repaired != content:
            logger.warning(
                "%s is repaired: %s", path, "the half entry at its end is cut off" if torn else "each entry gets a line"
            )
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


def _enqueue_presets(study: optuna.Study, sweep: SweepConfig, given: Parameters) -> None:
    """Let the presets wait for workers; those that the study has are not tried again."""
    there = {trial.user_attrs.get(PRESET) for trial in study.get_trials(deepcopy=False)}
    for preset in sweep.presets:
        if preset not in there:
            point = preset_point(sweep.space, preset, given)
            drawn = {name: value for name, value in (point or {}).items() if name in sweep.space.searched}
            study.enqueue_trial(drawn, user_attrs={PRESET: preset, INSIDE: point is not None})


def _check_same(there: Mapping[str, Any], own: Mapping[str, Any], name: str) -> None:
    differing = [
        f"{key} was {there.get(key, 'unset')!r}, is {own.get(key, 'unset')!r}"
        for key in sorted({*there, *own})
        if there.get(key, "unset") != own.get(key, "unset")
    ]
    if differing:
        more = f"; and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise ConfigurationError(
            f"the sweep {name!r} was begun with other settings ({'; '.join(differing[:_SHOWN])}{more}), and its trials "
            f"cannot be compared with new ones: choose another name with --params sweep.name=NAME"
        )


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200].rstrip(".")
