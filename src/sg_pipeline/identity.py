"""Run identity: the outputs under one name were all made with the same parameters, from the same inputs.

`run.json` in the run's reporting folder holds every parameter that affects results, their digest (the fingerprint) and
the digests of the files that a path among them names.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sg_pipeline import __version__
from sg_pipeline.environments.registry import DEFAULT
from sg_pipeline.errors import ConfigurationError, RunIdentityError
from sg_pipeline.files import atomic_write, remove_leftovers
from sg_pipeline.parameters import Parameters, default_of, flat
from sg_pipeline.run_outputs import (
    EVALUATION,
    EVERYTHING,
    RESERVED,
    VALIDATION,
    VALIDATION_PANEL,
    data_folder,
    delete_outputs,
    is_group,
    is_trained,
    outputs_exist,
)

logger = logging.getLogger(__name__)

_SHOWN = 4
"""Differences that a message tells."""

# What may change between two starts of the same run, because no result depends on it.
_FREE = (
    "run.name",
    "run.method",  # what it sets is compared itself
    "run.share",
    "run.when_changed",
    "environment.pool",
    "sampling.vllm.gpu_memory_utilization",
    "sampling.vllm.cpu_cache_gib",
    "sampling.vllm.sleep",
    "sampling.server",  # where the engine is
    "tasks.compile_workers",
    "evaluate.batch_rows",
    "rollout.rows",
    "rollout.cache_gib",
    "checkpoints",  # which policies stay on the disk
    "publish",
    "cross_checkpoint",  # its table and files name the checkpoints themselves
    "study",  # which runs are compared
    "sweep",  # which runs are made
    "plan",  # what is foretold of a run
    "distributed",  # how many processes share it
)
# What finished policies are scored with: section -> what is made with it.
_SCORED = {"evaluate.": EVALUATION, "validation.": VALIDATION}
# What only the pipelines of the same name look at.
_OWN = ("distill", "prompting")


def fingerprint(parameters: Parameters, pipelines: Collection[str] = ()) -> dict[str, Any]:
    """Return what identifies a run: `fingerprint` (16 hex digits), `version`, and the `parameters` behind it.

    Args:
        parameters: of the run.
        pipelines: names of those that run; some have a section of their own, which no other run depends on.
    """
    tree = parameters.model_dump(mode="json", by_alias=True)
    kept = {name: value for name, value in flat(tree).items() if not _free(name, pipelines)}
    if kept.get("tasks.source") != "official":
        # Comes from an environment variable (ALFWORLD_DATA, ...), which another shell may not have.
        kept.pop("tasks.data", None)
    if parameters.sampling.engine == "transformers":
        # As before there was a choice: the fingerprints of earlier runs stay what they are.
        kept = {name: value for name, value in kept.items() if not name.startswith("sampling.")}
    if kept.get("sampling.vllm.adapters") == "auto":
        kept.pop("sampling.vllm.adapters")  # follows from what else is kept
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]
    return {"fingerprint": digest, "version": __version__, "parameters": kept}


def claim_run(path: Path, parameters: Parameters, project: Path, pipelines: Collection[str] = ("coevolve",)) -> None:
    """Write this run's identity to `path`, or make sure that the one there is the same. The caller holds the lock.

    A name without outputs is free: a first start that failed for a wrong parameter does not bind the second.

    Args:
        path: `run.json`.
        parameters: of this start.
        project: what relative paths among the parameters start from.
        pipelines: names of those that are about to run.

    Raises:
        RunIdentityError: the name cannot be a run's, or outputs under it were made with other parameters or inputs and
            may not be deleted; says which.
    """
    name = parameters.run.name
    data = data_folder(path, name)
    if name in RESERVED or is_group(data, name):
        what = "is a folder of the project's own" if name in RESERVED else "holds the runs of a study"
        raise RunIdentityError(f"run.name is '{name}', but data/*/{name} {what}: choose another name")
    for folder in sorted(data.glob(f"*/{name}")):
        remove_leftovers(folder)
    own = {**fingerprint(parameters, pipelines), "inputs": _inputs(parameters, project, pipelines)}
    if path.exists() and outputs_exist(data, name):
        recorded = _read(path, name)
        there = recorded if (path.parent / "validation").is_dir() else _not_validated(recorded, own)
        differences = _differences(there, own, pipelines)
        if differences:
            _start_over(data, parameters, pipelines, differences)
            there = own
        elif there.get("version") != __version__:
            logger.warning(
                "run '%s' was begun by sg_pipeline %s and is continued by %s", name, there.get("version"), __version__
            )
        # An input that was not there at the first start is known from now on.
        own = {**there, "inputs": {**own["inputs"], **there["inputs"]}}
        if own == recorded and not differences:
            return
        if own["parameters"] != recorded["parameters"]:  # prepared for a validation that was not made
            (data / VALIDATION_PANEL.format(name)).unlink(missing_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(own, indent=1) + "\n", encoding="utf-8")


def is_same_run(path: Path, parameters: Parameters, project: Path) -> bool:
    """Whether `path`, a `run.json`, is that of a co-evolution with these parameters and inputs."""
    there = read_identity(path)
    pipelines = ("coevolve",)
    own = {**fingerprint(parameters, pipelines), "inputs": _inputs(parameters, project, pipelines)}
    return there is not None and not _differences(_not_validated(there, own), own, pipelines)


def _start_over(data: Path, parameters: Parameters, pipelines: Collection[str], differences: dict[str, str]) -> None:
    """Delete what was made with other parameters, where the user wants that and this start makes it again."""
    name = parameters.run.name
    told = "; ".join([*differences.values()][:_SHOWN])
    if len(differences) > _SHOWN:
        told += f"; and {len(differences) - _SHOWN} more"
    if parameters.run.when_changed == "start_over":
        again = {section for section in _SCORED if any(changed.startswith(section) for changed in differences)}
        if all(changed.startswith(tuple(_SCORED)) for changed in differences):
            logger.warning("run '%s' is evaluated again: %s", name, told)
            return delete_outputs(data, name, tuple(sorted(p for section in again for p in _SCORED[section])))
        if "coevolve" in pipelines or not is_trained(data, name):
            logger.warning("run '%s' is made again: %s", name, told)
            return delete_outputs(data, name, EVERYTHING)
    raise RunIdentityError(
        f"run '{name}' has outputs that were made with other parameters ({told}); choose another name with --params "
        f"run.name=NAME, or delete data/*/{name} to start it over"
    )


def comparable(recorded: dict[str, Any], names: Iterable[str], pipelines: Collection[str] = ()) -> dict[str, Any]:
    """Return recorded parameters as this version would have recorded them.

    Those of `names` that are newer had the effect of their defaults; what no result depends on may have been recorded.
    """
    return {name: value for name, value in completed(recorded, names).items() if not _free(name, pipelines)}


def completed(recorded: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Add to recorded parameters those of `names` that are newer: then they had the effect of their defaults."""
    environment = str(recorded.get("environment.name", DEFAULT))
    newer = {
        name: default_of(name, environment, recorded.get(f"{name.rpartition('.')[0]}.kind"))
        for name in names
        if name not in recorded
    }
    return {**json.loads(json.dumps({n: v for n, v in newer.items() if v is not ...}, default=str)), **recorded}


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


def _differences(there: dict[str, Any], here: dict[str, Any], pipelines: Collection[str]) -> dict[str, str]:
    """Return what differs: name of the parameter -> in words."""
    new = here["parameters"]
    old = comparable(there["parameters"], new, pipelines)
    names = [n for n in sorted({*old, *new}) if old.get(n, "unset") != new.get(n, "unset")]
    parts = {n: f"{n} was {old.get(n, 'unset')!r}, is {new.get(n, 'unset')!r}" for n in names}
    for n in sorted({*there["inputs"]} & {*here["inputs"]}):
        if there["inputs"][n] != here["inputs"][n] and n not in parts:
            parts[n] = f"{n} is {new.get(n, 'unset')!r} as before, but what lies there has changed"
    return parts


def _inputs(parameters: Parameters, project: Path, pipelines: Collection[str]) -> dict[str, str]:
    """Return the digests of the files that parameters name: their path may stay while their content changes."""
    from sg_pipeline.policies.checkpoint import MANIFEST

    files = {}
    if parameters.base_model.source == "checkpoint":
        # The manifest holds the digest of every file of the checkpoint.
        files["base_model.path"] = project / parameters.base_model.path / MANIFEST
    if parameters.rollout.guide is not None:
        files["rollout.guide"] = project / parameters.rollout.guide / MANIFEST
    benchmark = parameters.environment.benchmark
    files |= benchmark.inputs(parameters.tasks, project)
    with suppress(ConfigurationError):  # a panel that there is none of is told where it is needed
        validated = benchmark.inputs(parameters.validation.tasks(parameters.tasks), project)
        files |= {name.replace("tasks.", "validation.", 1): path for name, path in validated.items()}
    if "distill" in pipelines and parameters.distill.source is not None:
        # The last step's trajectories tell one making of the run from another.
        source = project / "data" / "03_primary" / parameters.distill.source
        steps = sorted(source.glob("step_*/trajectories.parquet"))
        if steps:
            files["distill.source"] = steps[-1]
    return {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in files.items() if path.is_file()}


def _free(name: str, pipelines: Collection[str]) -> bool:
    free = [*_FREE, *(section for section in _OWN if section not in pipelines)]
    return any(name == part or name.startswith(f"{part}.") for part in free)
