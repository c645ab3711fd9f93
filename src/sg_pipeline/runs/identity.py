"""Run identity: all outputs under one name were made with the same parameters, from the same inputs.

`run.json` in the run's reporting folder contains the parameters that affect results, their digest (the fingerprint) and
the digests of the files that paths and names among them refer to. It contains only what was read so far: each start is
compared by what it reads itself (`lineage.parameters_read`), and adds what no earlier start read.
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
"""Content of a `run.json`; at least `parameters` and `inputs`, both by dotted name."""

_SHOWN = 4
_UNSET = "unset"

# Parameters that may change between two starts of the same run, because no result depends on them. The method `unused`
# of a section adds those without effect for its other values.
_FREE = (
    "run.name",
    "run.processes",  # recorded in each step; a run may continue with another number
    "run.method",  # the parameters that it sets are compared
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
    "tracking",
    "cross_checkpoint",  # its table and files name the checkpoints
    "study",  # which runs are compared
    "sweep",  # which runs are started
    "plan",  # a prediction about the run
    "distributed",  # number of processes
)
# Not read by co-evolution, its evaluation and its validation.
_OWN = ("distill", "prompting")


def fingerprint(parameters: Parameters, read: Collection[str] | None = None) -> dict[str, Any]:
    """Return the identity of a run: `fingerprint` (16 hex digits), `version`, and the `parameters` it is computed from.

    These are the sections and parameters `read`; None: those of co-evolution, evaluation and validation.
    """
    free = [*_FREE, *_unused(parameters), *(_OWN if read is None else ())]
    tree = flat(parameters.model_dump(mode="json", by_alias=True))
    kept = {n: value for n, value in tree.items() if not _under(n, free) and (read is None or _under(n, read))}
    return {"fingerprint": _digest(kept), "version": __version__, "parameters": kept}


def claim_run(
    path: Path, parameters: Parameters, project: Path, read: Collection[str] | None = None, *, from_scratch: bool = True
) -> None:
    """Write this run's identity to `path`, or check that the recorded one is the same. The caller holds the lock.

    Parameters are binding only while outputs made with them exist: a first start that failed because of a wrong
    parameter does not restrict the second.

    Args:
        path, parameters: `run.json`, and those of this start.
        project: base folder of relative paths among the parameters.
        read: what this start reads, see `fingerprint`.
        from_scratch: this start makes the whole run, so `run.when_changed` may start a trained one over.

    Raises:
        RunIdentityError: the name is reserved, or outputs under it were made with other parameters or inputs and may
            not be deleted; lists the differences.
    """
    name = parameters.run.name
    data = data_folder(path, name)
    if name in RESERVED or is_group(data, name):
        what = "is a reserved folder of the project" if name in RESERVED else "contains the runs of a study"
        raise RunIdentityError(f"run.name is '{name}', but data/*/{name} {what}: choose another name")
    for folder in sorted(data.glob(f"*/{name}")):
        remove_leftovers(folder)
    own = _identify(parameters, project, read)
    recorded = None
    if path.exists() and outputs_exist(data, name):
        recorded = read_identity(path)
        if recorded is None:
            raise RunIdentityError(
                f"{path} is not a valid run identity; delete data/*/{name} to start the run over, or choose another "
                f"name with --params run.name=NAME"
            )
    there = _binding(recorded, data, name)
    if found := differences(there, own):
        _start_over(data, parameters, found, from_scratch=from_scratch)
        there = _binding(recorded if outputs_exist(data, name) else None, data, name)
    elif there.get("version", __version__) != __version__:
        logger.warning(
            "run '%s' was started by sg_pipeline %s and is continued by %s", name, there.get("version"), __version__
        )
    kept = {key: {**own[key], **there[key]} for key in ("parameters", "inputs")}
    new = {"fingerprint": _digest(kept["parameters"]), "version": there.get("version", __version__), **kept}
    if new == recorded:
        return
    if recorded is not None:
        for section in MADE_WITH:  # prepared for outputs that were not made, such as a validation's panel
            if any(_under(n, (section,)) for n in differences(recorded, new)):
                delete_outputs(data, name, MADE_WITH[section])
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")


def is_same_run(path: Path, parameters: Parameters, project: Path) -> bool:
    """Whether the `run.json` at `path` belongs to a co-evolution with these parameters and inputs."""
    there = read_identity(path)
    if there is None:
        return False
    name = parameters.run.name
    return not differences(_binding(there, data_folder(path, name), name), _identify(parameters, project, None))


def differences(there: Identity, here: Identity) -> dict[str, str]:
    """Return the differences in what both identities have read: name of the parameter -> description."""
    old, new = there["parameters"], here["parameters"]
    common = {_whole(n) for n in old} & {_whole(n) for n in new}
    names = [n for n in sorted({*old, *new}) if _whole(n) in common and old.get(n, _UNSET) != new.get(n, _UNSET)]
    parts = {n: f"{n} was {old.get(n, _UNSET)!r}, is {new.get(n, _UNSET)!r}" for n in names}
    for n in sorted({*there["inputs"]} & {*here["inputs"]}):
        if there["inputs"][n] != here["inputs"][n] and n not in parts:
            parts[n] = f"{n} is {new.get(n, _UNSET)!r} as before, but its content has changed"
    return parts


def shortened(found: Mapping[str, str]) -> str:
    """Return the first of these `differences` as text."""
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join([*found.values()][:_SHOWN]) + more


def read_identity(path: Path) -> dict[str, Any] | None:
    """Return the content of a `run.json`; None if it is missing or invalid."""
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(there[key], dict) for key in ("parameters", "inputs")):
            return dict(there)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _identify(parameters: Parameters, project: Path, read: Collection[str] | None) -> dict[str, Any]:
    own = fingerprint(parameters, read)

    def reads(part: str) -> bool:
        return any(_under(name, (part,)) or _under(part, (name,)) for name in own["parameters"])

    return {**own, "inputs": read_inputs(parameters, project, reads)}


def _binding(recorded: Identity | None, data: Path, name: str) -> dict[str, Any]:
    """Return the part of a recorded identity for which outputs exist."""
    if recorded is None:
        return {"parameters": {}, "inputs": {}}
    loose = [section for section, patterns in MADE_WITH.items() if not any_output(data, name, patterns)]
    kept = {key: {n: v for n, v in recorded[key].items() if not _under(n, loose)} for key in ("parameters", "inputs")}
    return {**recorded, **kept}


def _start_over(data: Path, parameters: Parameters, found: Mapping[str, str], *, from_scratch: bool) -> None:
    """Delete outputs made with other parameters, if `run.when_changed` allows it and this start makes them again."""
    name, text = parameters.run.name, shortened(found)
    if parameters.run.when_changed == "start_over":
        again = [section for section in MADE_WITH if any(_under(n, (section,)) for n in found)]
        if all(_under(n, again) for n in found):
            logger.warning("run '%s' is evaluated again: %s", name, text)
            return delete_outputs(data, name, tuple(pattern for section in again for pattern in MADE_WITH[section]))
        if from_scratch or not is_trained(data, name):
            logger.warning("run '%s' is made again: %s", name, text)
            return delete_outputs(data, name, EVERYTHING)
    raise RunIdentityError(
        f"run '{name}' has outputs that were made with other parameters ({text}); choose another name with --params "
        f"run.name=NAME, or delete data/*/{name} to start it over"
    )


def _unused(section: BaseModel, prefix: str = "") -> Iterator[str]:
    """Yield the parameters that have no effect given the values of the others."""
    if hasattr(section, "unused"):
        yield from (f"{prefix}{name}" for name in section.unused())
    for name, field in type(section).model_fields.items():
        if isinstance(value := getattr(section, name), BaseModel):
            yield from _unused(value, f"{prefix}{field.alias or name}.")


def _whole(name: str) -> str:
    """Return the parameter that is compared as a unit: "base_model.lora" is None, or a section with a rank."""
    return ".".join(name.split(".")[:2])


def _under(name: str, parts: Collection[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _digest(parameters: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:16]
