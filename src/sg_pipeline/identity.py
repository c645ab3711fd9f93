"""Run identity: the outputs under one name were all made with the same parameters, from the same inputs.

`run.json` in the run's reporting folder holds every parameter that affects results, their digest (the fingerprint) and
the digests of the files that a path among them names.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sg_pipeline import __version__
from sg_pipeline.errors import RunIdentityError
from sg_pipeline.files import atomic_write, remove_leftovers
from sg_pipeline.parameters import Parameters, default_of, flat

logger = logging.getLogger(__name__)

_SHOWN = 4
"""Differences that a message tells."""

_EVALUATION = (
    "07_model_output/{}/*",
    "08_reporting/{}/evaluation_*",
    "08_reporting/{}/summary.json",
    "02_intermediate/{}/validation_panel.json",
    "08_reporting/{}/validation",
)
"""Outputs that parameters of `evaluate` and `validation` decide alone; what is made of them is made again with them."""

LOCK = ".lock"
"""Name of the file beside `run.json` that one process at a time holds (see `run_lock`)."""

# What may change between two starts of the same run, because no result depends on it.
_FREE = (
    "run.name",
    "run.method",  # what it sets is compared itself
    "run.share",
    "run.when_changed",
    "environment.pool",
    "tasks.compile_workers",
    "evaluate.batch_rows",
    "cross_checkpoint",  # its table and files name the checkpoints themselves
    "study",  # which runs are compared
    "sweep",  # which runs are made
)


def fingerprint(parameters: Parameters) -> dict[str, Any]:
    """Return what identifies a run: `fingerprint` (16 hex digits), `version`, and the `parameters` behind it."""
    tree = parameters.model_dump(mode="json", by_alias=True)
    kept = {name: value for name, value in flat(tree).items() if not _free(name)}
    if parameters.tasks.source != "official":
        # Comes from the environment variable ALFWORLD_DATA, which another shell may not have.
        kept.pop("tasks.data", None)
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]
    return {"fingerprint": digest, "version": __version__, "parameters": kept}


def claim_run(path: Path, parameters: Parameters, project: Path) -> None:
    """Write this run's identity to `path`, or make sure that the one there is the same. The caller holds the lock.

    A name without outputs is free: a first start that failed for a wrong parameter does not bind the second.

    Args:
        path: `run.json`.
        parameters: of this start.
        project: what relative paths among the parameters start from.

    Raises:
        RunIdentityError: outputs under this name were made with other parameters or inputs; says which.
    """
    name = parameters.run.name
    data = data_folder(path, name)
    for folder in sorted(data.glob(f"*/{name}")):
        remove_leftovers(folder)
    own = {**fingerprint(parameters), "inputs": _inputs(parameters, project)}
    if path.exists() and _outputs_exist(data, name):
        recorded = _read(path, name)
        there = recorded if (path.parent / "validation").is_dir() else _not_validated(recorded, own)
        differences = _differences(there, own)
        differing = "; ".join([*differences.values()][:_SHOWN])
        if len(differences) > _SHOWN:
            differing += f"; and {len(differences) - _SHOWN} more"
        if differing and parameters.run.when_changed == "start_over":
            only_evaluation = all(changed.startswith(("evaluate.", "validation.")) for changed in differences)
            logger.warning("run '%s' is %s again: %s", name, "evaluated" if only_evaluation else "made", differing)
            _delete_outputs(data, name, _EVALUATION if only_evaluation else ("*/{}/*",))
            there = own
        elif differing:
            raise RunIdentityError(
                f"run '{name}' has outputs that were made with other parameters ({differing}); choose another name "
                f"with --params run.name=NAME, or delete data/*/{name} to start it over"
            )
        elif there.get("version") != __version__:
            logger.warning(
                "run '%s' was begun by sg_pipeline %s and is continued by %s", name, there.get("version"), __version__
            )
        # An input that was not there at the first start is known from now on.
        own = {**there, "inputs": {**own["inputs"], **there["inputs"]}}
        if own == recorded and not differing:
            return
        if own["parameters"] != recorded["parameters"]:  # prepared for the validation that was not made
            (data / "02_intermediate" / name / "validation_panel.json").unlink(missing_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(own, indent=1) + "\n", encoding="utf-8")


def completed(parameters: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Add to recorded parameters those of `names` that are newer: then they had the effect of their defaults."""
    newer = {
        name: default_of(name, parameters.get(f"{name.rpartition('.')[0]}.kind"))
        for name in names
        if name not in parameters
    }
    return {**json.loads(json.dumps({n: v for n, v in newer.items() if v is not ...}, default=str)), **parameters}


def _not_validated(there: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return what is recorded of a run that has no validation yet: how it will be validated is free."""
    parameters, inputs = (
        {name: value for name, value in recorded.items() if not name.startswith("validation.")}
        for recorded in (there["parameters"], there["inputs"])
    )
    parameters |= {name: value for name, value in own["parameters"].items() if name.startswith("validation.")}
    return {**there, "parameters": parameters, "inputs": inputs}


def read_identity(path: Path) -> dict[str, Any] | None:
    """Return what a `run.json` holds; None where there is none that can be read."""
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(there[key], dict) for key in ("parameters", "inputs")):
            return dict(there)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _read(path: Path, name: str) -> dict[str, Any]:
    there = read_identity(path)
    if there is not None:
        return there
    raise RunIdentityError(
        f"{path} is not a run's identity; delete data/*/{name} to start the run over, or choose another name with "
        f"--params run.name=NAME"
    )


def _differences(there: dict[str, Any], here: dict[str, Any]) -> dict[str, str]:
    """Return what differs: name of the parameter -> in words."""
    old, new = there["parameters"], here["parameters"]
    old = completed(old, new)
    names = [n for n in sorted({*old, *new}) if old.get(n, "unset") != new.get(n, "unset")]
    parts = {n: f"{n} was {old.get(n, 'unset')!r}, is {new.get(n, 'unset')!r}" for n in names}
    for n in sorted({*there["inputs"]} & {*here["inputs"]}):
        if there["inputs"][n] != here["inputs"][n] and n not in parts:
            parts[n] = f"{n} is {new[n]!r} as before, but what lies there has changed"
    return parts


def _inputs(parameters: Parameters, project: Path) -> dict[str, str]:
    """Return the digests of the files that parameters name: their path may stay while their content changes."""
    from sg_pipeline.environments.alfworld.generation.panel import PANELS
    from sg_pipeline.policies.checkpoint import MANIFEST

    files = {}
    if parameters.base_model.source == "checkpoint":
        # The manifest holds the digest of every file of the checkpoint.
        files["base_model.path"] = project / parameters.base_model.path / MANIFEST
    if parameters.rollout.guide is not None:
        files["rollout.guide"] = project / parameters.rollout.guide / MANIFEST
    if parameters.tasks.source == "panel":
        shipped = PANELS / f"{parameters.tasks.panel}.json"
        files["tasks.panel"] = shipped if shipped.is_file() else project / parameters.tasks.panel
    if not (PANELS / f"{parameters.validation.panel}.json").is_file():
        files["validation.panel"] = project / parameters.validation.panel
    return {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in files.items() if path.is_file()}


def data_folder(path: Path, name: str) -> Path:
    """Return the data folder that `path`, the `run.json` of run `name`, lies in; the name may hold a group."""
    return path.parents[2 + name.count("/")]


def _delete_outputs(data: Path, name: str, patterns: tuple[str, ...]) -> None:
    """Delete what the run has left under these patterns, but for the lock, which is held, and whose outputs they are.

    The latter is overwritten afterwards: outputs of a start that is killed meanwhile are not taken for new ones.
    """
    for path in sorted(path for pattern in patterns for path in data.glob(pattern.format(name))):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in (LOCK, "run.json"):
            path.unlink()


def _outputs_exist(data: Path, name: str) -> bool:
    """Return whether any layer of the data folder holds a file of the run, beside what says whose it is."""
    return any(
        path.is_file() and path.name not in ("run.json", "clock.json", LOCK)
        for folder in sorted(data.glob(f"*/{name}"))
        for path in folder.rglob("*")
    )


def _free(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in _FREE)
