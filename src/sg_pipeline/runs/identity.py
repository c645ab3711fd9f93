"""Run identity: the outputs under one name were all made with the same parameters, from the same inputs.

`run.json` in the run's reporting folder holds the parameters that affect results, their digest (the fingerprint) and
the digests of what a path or name among them stands for. It has those that were read so far: a start is compared in
what it reads itself (`lineage.parameters_read`), and adds what no earlier start has read.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sg_pipeline import __version__
from sg_pipeline.config.tree import Parameters, flat
from sg_pipeline.errors import RunIdentityError
from sg_pipeline.files import atomic_write, remove_leftovers
from sg_pipeline.runs.inputs import read_inputs
from sg_pipeline.runs.outputs import (
    EVERYTHING,
    MADE_WITH,
    RESERVED,
    any_output,
    data_folder,
    delete_outputs,
    is_group,
    is_trained,
    outputs_exist,
)

logger = logging.getLogger(__name__)

Identity = Mapping[str, Any]
"""What a `run.json` holds; at least `parameters` and `inputs`, both by dotted name."""

_SHOWN = 4
"""Differences that a message tells."""

_UNSET = "unset"

# What may change between two starts of the same run, because no result depends on it. Sections add to it what has no
# effect next to their other values: their method `unused`.
_FREE = (
    "run.name",
    "run.method",  # what it sets is compared itself
    "run.share",
    "run.when_changed",
    "environment.pool",
    "environment.arguments.heap_mb",
    "sampling.vllm.gpu_memory_utilization",
    "sampling.vllm.cpu_cache_gib",
    "sampling.vllm.sleep",
    "tasks.compile_workers",
    "evaluate.batch_rows",
    "rollout.rows",
    "rollout.cache_gib",
    "checkpoints",  # which policies stay on disk
    "publish",
    "cross_checkpoint",  # its table and files name the checkpoints themselves
    "study",  # which runs are compared
    "sweep",  # which runs are made
    "plan",  # what is predicted of a run
    "distributed",  # how many processes share it
)
# What co-evolution, its evaluation and its validation do not read.
_OWN = ("distill", "prompting")


def fingerprint(parameters: Parameters, read: Collection[str] | None = None) -> dict[str, Any]:
    """Return what identifies a run: `fingerprint` (16 hex digits), `version`, and the `parameters` behind it.

    Args:
        parameters: of the run.
        read: sections and parameters that count; None: those of co-evolution, evaluation and validation.
    """
    free = [*_FREE, *_unused(parameters), *(_OWN if read is None else ())]
    tree = flat(parameters.model_dump(mode="json", by_alias=True))
    kept = {n: value for n, value in tree.items() if not _under(n, free) and (read is None or _under(n, read))}
    return {"fingerprint": _digest(kept), "version": __version__, "parameters": kept}


def claim_run(
    path: Path,
    parameters: Parameters,
    project: Path,
    read: Collection[str] | None = None,
    *,
    from_scratch: bool = True,
) -> None:
    """Write this run's identity to `path`, or make sure that the one there is the same. The caller holds the lock.

    Parameters bind as long as there are outputs that were made with them: a first start that failed for a wrong
    parameter does not bind the second.

    Args:
        path: `run.json`.
        parameters: of this start.
        project: what relative paths among the parameters start from.
        read: what this start reads, see `fingerprint`.
        from_scratch: it makes the whole run, so that `run.when_changed` may start a trained one over.

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
    own = _identify(parameters, project, read)
    recorded = _read(path, name) if path.exists() and outputs_exist(data, name) else None
    there = _binding(recorded, data, name)
    if found := differences(there, own):
        _start_over(data, parameters, found, from_scratch=from_scratch)
        there = _binding(recorded if outputs_exist(data, name) else None, data, name)
    elif there.get("version", __version__) != __version__:
        logger.warning(
            "run '%s' was begun by sg_pipeline %s and is continued by %s", name, there.get("version"), __version__
        )
    kept = {key: {**own[key], **there[key]} for key in ("parameters", "inputs")}
    new = {"fingerprint": _digest(kept["parameters"]), "version": there.get("version", __version__), **kept}
    if new == recorded:
        return
    if recorded is not None:
        for section in MADE_WITH:  # prepared for something that was not made, such as a validation's panel
            if any(_under(n, (section,)) for n in differences(recorded, new)):
                delete_outputs(data, name, MADE_WITH[section])
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")


def is_same_run(path: Path, parameters: Parameters, project: Path) -> bool:
    """Whether `path`, a `run.json`, is that of a co-evolution with these parameters and inputs."""
    there = read_identity(path)
    if there is None:
        return False
    name = parameters.run.name
    return not differences(_binding(there, data_folder(path, name), name), _identify(parameters, project, None))


def differences(there: Identity, here: Identity) -> dict[str, str]:
    """Return in what two identities differ of what both have read: name of the parameter -> in words."""
    old, new = there["parameters"], here["parameters"]
    common = {_whole(n) for n in old} & {_whole(n) for n in new}
    names = [n for n in sorted({*old, *new}) if _whole(n) in common and old.get(n, _UNSET) != new.get(n, _UNSET)]
    parts = {n: f"{n} was {old.get(n, _UNSET)!r}, is {new.get(n, _UNSET)!r}" for n in names}
    for n in sorted({*there["inputs"]} & {*here["inputs"]}):
        if there["inputs"][n] != here["inputs"][n] and n not in parts:
            parts[n] = f"{n} is {new.get(n, _UNSET)!r} as before, but the content there has changed"
    return parts


def read_identity(path: Path) -> dict[str, Any] | None:
    """Return what a `run.json` holds; None where there is none that can be read."""
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(there[key], dict) for key in ("parameters", "inputs")):
            return dict(there)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _identify(parameters: Parameters, project: Path, read: Collection[str] | None) -> dict[str, Any]:
    own = fingerprint(parameters, read)
    names = own["parameters"]
    return {**own, "inputs": read_inputs(parameters, project, lambda part: any(_touches(n, part) for n in names))}


def _binding(recorded: Identity | None, data: Path, name: str) -> dict[str, Any]:
    """Return what of a recorded identity there are outputs of."""
    if recorded is None:
        return {"parameters": {}, "inputs": {}}
    loose = [section for section, patterns in MADE_WITH.items() if not any_output(data, name, patterns)]
    kept = {key: {n: v for n, v in recorded[key].items() if not _under(n, loose)} for key in ("parameters", "inputs")}
    return {**recorded, **kept}


def _start_over(data: Path, parameters: Parameters, found: Mapping[str, str], *, from_scratch: bool) -> None:
    """Delete what was made with other parameters, where the user wants that and this start makes it again."""
    name = parameters.run.name
    told = "; ".join([*found.values()][:_SHOWN])
    if len(found) > _SHOWN:
        told += f"; and {len(found) - _SHOWN} more"
    if parameters.run.when_changed == "start_over":
        again = [section for section in MADE_WITH if any(_under(n, (section,)) for n in found)]
        if all(_under(n, again) for n in found):
            logger.warning("run '%s' is evaluated again: %s", name, told)
            return delete_outputs(data, name, tuple(pattern for section in again for pattern in MADE_WITH[section]))
        if from_scratch or not is_trained(data, name):
            logger.warning("run '%s' is made again: %s", name, told)
            return delete_outputs(data, name, EVERYTHING)
    raise RunIdentityError(
        f"run '{name}' has outputs that were made with other parameters ({told}); choose another name with --params "
        f"run.name=NAME, or delete data/*/{name} to start it over"
    )


def _read(path: Path, name: str) -> dict[str, Any]:
    there = read_identity(path)
    if there is not None:
        return there
    raise RunIdentityError(
        f"{path} is not a run's identity; delete data/*/{name} to start the run over, or choose another name with "
        f"--params run.name=NAME"
    )


def _unused(section: BaseModel, prefix: str = "") -> Iterator[str]:
    """Yield the parameters that have no effect next to the values of the others."""
    if hasattr(section, "unused"):
        yield from (f"{prefix}{name}" for name in section.unused())
    for name, field in type(section).model_fields.items():
        if isinstance(value := getattr(section, name), BaseModel):
            yield from _unused(value, f"{prefix}{field.alias or name}.")


def _whole(name: str) -> str:
    """Return the parameter that is compared as a whole: "base_model.lora" is None, or has a rank and more."""
    return ".".join(name.split(".")[:2])


def _under(name: str, parts: Collection[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _touches(name: str, part: str) -> bool:
    return _under(name, (part,)) or _under(part, (name,))


def _digest(parameters: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:16]
