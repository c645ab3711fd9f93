"""Run identity: the outputs under one name were all made with the same parameters.

`run.json` in the run's reporting folder holds every parameter that affects results, and their digest (the fingerprint).
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from sg_pipeline import __version__
from sg_pipeline.errors import RunIdentityError
from sg_pipeline.files import atomic_write
from sg_pipeline.parameters import Parameters

# What may change between two starts of the same run, because no result depends on it.
_FREE = ("run.name", "environment.pool", "tasks.compile_workers", "evaluate.batch_rows")


def fingerprint(parameters: Parameters) -> dict[str, Any]:
    """Return what identifies a run: `fingerprint` (16 hex digits), `version`, and the `parameters` behind it."""
    tree = parameters.model_dump(mode="json", by_alias=True)
    kept = {name: value for name, value in _flat(tree).items() if not _free(name)}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]
    return {"fingerprint": digest, "version": __version__, "parameters": kept}


def claim_run(path: Path, parameters: Parameters) -> None:
    """Write this run's identity to `path`, or make sure that the one there is the same.

    Raises:
        RunIdentityError: outputs under this name were made with other parameters; says which.
    """
    own = fingerprint(parameters)
    if path.exists():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
            differing = _differences(there["parameters"], own["parameters"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RunIdentityError(
                f"{path} is not a run's identity; delete the outputs of run '{parameters.run.name}' or choose another "
                f"name with --params run.name=NAME"
            ) from None
        if differing:
            raise RunIdentityError(
                f"run '{parameters.run.name}' has outputs that were made with other parameters ({differing}); choose "
                f"another name with --params run.name=NAME, or delete data/*/{parameters.run.name} to start it over"
            )
        return
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(own, indent=1) + "\n", encoding="utf-8")


def _differences(there: dict[str, Any], here: dict[str, Any], shown: int = 4) -> str:
    names = [n for n in sorted({*there, *here}) if there.get(n, "unset") != here.get(n, "unset")]
    parts = [f"{n} was {there.get(n, 'unset')!r}, is {here.get(n, 'unset')!r}" for n in names[:shown]]
    return "; ".join(parts) + (f"; and {len(names) - shown} more" if len(names) > shown else "")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    if isinstance(value, dict) and value:
        return {name: leaf for key, part in value.items() for name, leaf in _flat(part, f"{prefix}{key}.").items()}
    return {prefix.removesuffix("."): value}


def _free(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in _FREE)
