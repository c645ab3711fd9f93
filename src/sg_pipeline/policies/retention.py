"""Retention of checkpoints: the last ones, the best one, and those that are still needed stay on disk.

    <models>/base                      stays
             checkpoints/step_NNN      written after NNN + 1 steps; pruned when later ones exist
             final                     stays
             best.json                 the best of them, and by which measure

A checkpoint is pruned only when a later one is complete on disk, so a killed run can always resume. The decision
depends only on the files on disk: a run that was killed meanwhile repeats the same decision.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sg_pipeline.config.checkpoints import CheckpointsConfig
from sg_pipeline.config.run import CoevolveConfig, step_number, written_steps
from sg_pipeline.errors import CheckpointError
from sg_pipeline.files import atomic_write
from sg_pipeline.policies.checkpoint import is_pruned, is_whole, prune_policy

logger = logging.getLogger(__name__)

BEST = "best.json"
"""File next to the policies: `after` (steps), `folder` (relative to it), `by`, `value`, `measured_on`."""

_MEASURED_ON = {
    "train_success": "training episodes of the steps since the previous checkpoint",
    "validation": "the validation panel",
}


def folder_after(models: Path, after: int, steps: int) -> Path:
    """Return the folder of the policy after `after` of `steps` steps."""
    if after in (0, steps):
        return models / ("base" if after == 0 else "final")
    return models / "checkpoints" / f"step_{step_number(after - 1, steps)}"


def tidy(
    models: Path, reports: Path, config: CheckpointsConfig, coevolve: CoevolveConfig, needed: Collection[int] = ()
) -> list[int]:
    """Prune the checkpoints that a run need not keep, and record the best one.

    Checkpoints are identified by the number of steps before them.

    Args:
        models: folder of the run's policies.
        reports: folder of the run's reports: metrics of steps, and validations.
        config: which checkpoints to keep.
        coevolve: length of the run.
        needed: checkpoints to keep in any case.

    Returns:
        The checkpoints pruned now.
    """
    steps = coevolve.steps
    between = written_steps(coevolve)[1:-1]
    for after in between:
        if is_pruned(folder := folder_after(models, after, steps)):
            prune_policy(folder)  # a process may have been killed before it finished
    there = [after for after in between if is_whole(folder_after(models, after, steps))]
    ended = is_whole(folder_after(models, steps, steps))
    values = measure(reports, config, coevolve, [*there, *([steps] if ended else [])])
    best = max(values, key=lambda after: (values[after], after), default=None)
    if best is not None:
        _note_best(models, best, values[best], config, steps)
    if config.keep_last is None:
        return []
    stay = {*there[-config.keep_last :], *needed} | ({best} if best is not None else set())
    if config.best == "validation":
        stay |= set(there) - set(values)
    gone = [after for after in there if after not in stay]
    for after in gone:
        freed = prune_policy(folder_after(models, after, steps))
        logger.info("checkpoint after %d steps pruned: %.1f MB freed", after, freed / 1e6)
    return gone


def measure(
    reports: Path, config: CheckpointsConfig, coevolve: CoevolveConfig, written: Collection[int]
) -> dict[int, float]:
    """Return the measure by which the best of `written` policies is chosen: steps before it -> success, where known."""
    steps = coevolve.steps
    values: dict[int, float] = {}
    for after in written:
        if config.best == "validation":
            # As `runs.steps.validation_output` names them.
            found = [_success(reports / "validation" / f"after_{step_number(after, steps + 1)}.json")]
        elif config.best == "train_success":
            before = max(step for step in written_steps(coevolve) if step < after)
            names = [f"step_{step_number(step, steps)}.json" for step in range(before, after)]
            found = [_success(reports / "steps" / name) for name in names]
        else:
            return {}
        if all(value is not None for value in found):
            values[after] = sum(value for value in found if value is not None) / len(found)
    return values


def read_best(models: Path) -> dict[str, Any] | None:
    """Return what `BEST` holds; None where no best one was chosen."""
    path = models / BEST
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def check_there(models: Path, coevolve: CoevolveConfig, wanted: Collection[int], what: str) -> None:
    """Check that no required checkpoint was pruned.

    Args:
        models: folder of the run's policies.
        coevolve: length of the run.
        wanted: the required checkpoints, by the steps before them.
        what: description of what requires them.

    Raises:
        CheckpointError: lists the pruned ones and how to restore them.
    """
    gone = [after for after in sorted(wanted) if is_pruned(folder_after(models, after, coevolve.steps))]
    if gone:
        raise CheckpointError(
            f"{what} needs the checkpoints of {models} after {', '.join(map(str, gone))} steps, but they were pruned "
            f"(checkpoints.keep_last): delete their folders and run the pipeline coevolve with --only-missing-outputs "
            f"and checkpoints.keep_last=null to make them again"
        )


def _note_best(models: Path, after: int, value: float, config: CheckpointsConfig, steps: int) -> None:
    best = {
        "after": after,
        "folder": folder_after(models, after, steps).relative_to(models).as_posix(),
        "by": config.best,
        "value": value,
        "measured_on": _MEASURED_ON[str(config.best)],
    }
    if best != read_best(models):
        with atomic_write(models / BEST) as temporary:
            temporary.write_text(json.dumps(best, indent=1) + "\n", encoding="utf-8")


def _success(path: Path) -> float | None:
    """Return the success rate in a metrics file; None if it is missing."""
    if not path.exists():
        return None
    value = json.loads(path.read_text(encoding="utf-8")).get("success_rate")
    return None if value is None else float(value)
