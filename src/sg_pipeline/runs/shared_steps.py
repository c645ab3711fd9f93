"""Shared first steps: steps that another run made with the same parameters are copied instead of repeated.

Two runs whose parameters differ only in the trust schedule are the same run up to the step where the schedules part:
lambda(u) and the phase agree, so trajectories, rewards and weights do, bit for bit. What a donor has of these steps
(trajectories, rewards, metrics, checkpoints) is copied; Kedro's `--only-missing-outputs` then starts behind it, as
it does after a kill. In the same way a base policy that was evaluated with the same parameters is not evaluated again.

Donors are found by their `run.json`: the same version of the package, the same inputs, the same parameters except
those below. A donor may be running at the same time, since files appear under their name only when they are whole.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sg_pipeline import __version__
from sg_pipeline.config.rewards import TrustSchedule, parse_schedule
from sg_pipeline.config.run import step_number
from sg_pipeline.config.tree import Parameters
from sg_pipeline.files import atomic_write
from sg_pipeline.runs.identity import fingerprint, read_identity

logger = logging.getLogger(__name__)

SCHEDULE = "aggregate.schedule."
# The length of a run matters by lambda(u) and the phase alone; where it writes checkpoints, not at all.
_APART = ("validation.", "prompting.", "distill.")
_NOT_IN_A_STEP = (SCHEDULE, "coevolve.", "evaluate.", *_APART)
# An evaluation of the base policy comes before all training, in both modes, at a separate temperature.
_NOT_IN_THE_BASE = (
    "aggregate.", "coevolve.", "train.", "validate.", "rollout.guidance", "rollout.dynamic_sampling",
    "rollout.tasks_per_step", "rollout.group_size", "rollout.temperature", *_APART,
)  # fmt: skip

SHARED = "shared.json"
"""File next to a run's reports with the steps it has from other runs: a list of `donor`, `first` and `last` (one behind
the last that was taken over)."""

Recorded = Mapping[str, Any]
"""Parameters by dotted name, as in `run.json`, and the digest of what a parameter names as "NAME content"."""


def take_over(data: Path, parameters: Parameters) -> int:
    """Copy the steps and the evaluation of the base policy that a run, which holds its lock, shares with other runs.

    Returns:
        Number of steps in common with the best donor.
    """
    name = parameters.run.name
    identity = read_identity(data / "08_reporting" / name / "run.json") or {"inputs": {}}
    own = _recorded({**identity, "parameters": fingerprint(parameters)["parameters"]})
    donors = dict(_donors(data, name))
    prunes = parameters.checkpoints.keep_last is not None
    if prunes:  # it would make the checkpoints between the donor's, and prune those they start from
        every = "coevolve.checkpoint_every"
        donors = {donor: there for donor, there in donors.items() if there.get(every) == own[every]}
    with suppress(FileNotFoundError):  # the donor is starting over
        return _take_from(data, name, own, donors, parameters.coevolve.steps, prunes)
    return 0


def _take_from(data: Path, name: str, own: Recorded, donors: dict[str, Recorded], steps: int, prunes: bool) -> int:
    for donor in (donor for donor, there in donors.items() if _same(own, there, _NOT_IN_THE_BASE)):
        for pattern in ("07_model_output/{}/base_*.parquet", "08_reporting/{}/evaluation_base.json"):
            for source in sorted(data.glob(pattern.format(donor))):
                _copy(source, data, donor, name)
    shared = {donor: _steps_there(data, donor, common_steps(own, there), steps) for donor, there in donors.items()}
    best = max(sorted(shared), key=lambda donor: shared[donor], default=None)
    own_steps = 0 if best is None else _steps_there(data, name, shared[best], steps)
    if best is None or own_steps == shared[best]:
        return 0
    sources, checkpoints = [data / "02_intermediate" / best / "panel.json", data / "06_models" / best / "base"], []
    for step in range(shared[best]):
        *needed, checkpoint = _files_of(data, best, step, steps)
        sources += needed
        checkpoints.append(checkpoint)
    for source in sources:
        _copy(source, data, best, name)
    _copy_checkpoints(checkpoints, data, best, name, prunes)
    if all(own.get(n) == donors[best].get(n) for n in {*own, *donors[best]} if n.startswith("validation.")):
        _copy(data / "02_intermediate" / best / "validation_panel.json", data, best, name)
        for step in range(shared[best]):
            _copy(validation_file(data, best, step + 1, steps), data, best, name)
    noted = [*read_shared(data, name), {"donor": best, "first": own_steps, "last": shared[best]}]
    with atomic_write(data / "08_reporting" / name / SHARED) as temporary:
        temporary.write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")
    logger.info("run '%s': copied its first %d steps from run '%s'", name, shared[best], best)
    return shared[best]


def validation_file(data: Path, run: str, after: int, steps: int) -> Path:
    """Return the path of the validation of the policy that was trained for `after` of `steps` steps."""
    return data / "08_reporting" / run / "validation" / f"after_{step_number(after, steps + 1)}.json"


def read_shared(data: Path, run: str) -> list[dict[str, Any]]:
    """Return the steps that the run has taken over, see `SHARED`."""
    path = data / "08_reporting" / run / SHARED
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def common_steps(own: Recorded, other: Recorded) -> int:
    """Return how many steps, from the first on, two runs share; 0 where they differ in more than the schedule."""
    if not _same(own, other, _NOT_IN_A_STEP):
        return 0
    (mine, n), (theirs, m) = ((recorded_schedule(run), int(run["coevolve.steps"])) for run in (own, other))
    if mine.reads_evidence or theirs.reads_evidence:  # each step reads the metrics of the one before
        return n if mine == theirs and n == m else 0
    if n != m and own.get("aggregate.truth.kind", "off") != "off":  # its weight depends on the length
        return 0
    for step in range(min(n, m)):
        if (mine.trust(step, n), mine.phase(step, n)) != (theirs.trust(step, m), theirs.phase(step, m)):
            return step
    return min(n, m)


def recorded_schedule(recorded: Recorded) -> TrustSchedule:
    """Return the trust schedule among recorded parameters."""
    values = {name.removeprefix(SCHEDULE): value for name, value in recorded.items() if name.startswith(SCHEDULE)}
    return parse_schedule(values)


def first_trust(schedule: TrustSchedule, steps: int) -> int:
    """Return the first step at which lambda is, or may be, above 0; `steps` where it never is."""
    return next((step for step in range(steps) if schedule.trust(step, steps) != 0.0), steps)


def _donors(data: Path, name: str) -> Iterator[tuple[str, Recorded]]:
    """Yield the other runs of this version with their recorded parameters."""
    reports = data / "08_reporting"
    for path in sorted([*reports.glob("*/run.json"), *reports.glob("*/*/run.json")]):
        recorded, donor = read_identity(path), path.parent.relative_to(reports).as_posix()
        if donor != name and recorded is not None and recorded.get("version") == __version__:
            yield donor, _recorded(recorded)


def _recorded(identity: Mapping[str, Any]) -> Recorded:
    return {**identity["parameters"], **{f"{name} content": digest for name, digest in identity["inputs"].items()}}


def _same(own: Recorded, other: Recorded, apart_from: tuple[str, ...]) -> bool:
    mine, theirs = ({n: v for n, v in run.items() if not n.startswith(apart_from)} for run in (own, other))
    return mine == theirs


def _steps_there(data: Path, run: str, limit: int, steps: int) -> int:
    """Return how many steps up to `limit` the run has completed, under the file names of a run of `steps`."""
    for step in range(limit):
        *needed, _ = _files_of(data, run, step, steps)
        if not all(path.exists() for path in needed):
            return step
    return limit


def _files_of(data: Path, run: str, step: int, steps: int) -> list[Path]:
    """Return the paths of a step's outputs; the last one is the checkpoint, which few steps have."""
    number = step_number(step, steps)
    return [
        *(data / "03_primary" / run / f"step_{number}" / name
          for name in ("trajectories.parquet", "rollout_report.json", "quarantined.parquet")),
        *(data / "04_feature" / run / f"step_{number}" / name for name in ("rewards.parquet", "logprob_gaps.parquet")),
        data / "08_reporting" / run / "steps" / f"step_{number}.json",
        data / "06_models" / run / "checkpoints" / f"step_{number}",
    ]  # fmt: skip


def _copy_checkpoints(folders: list[Path], data: Path, donor: str, name: str, prunes: bool) -> None:
    """Copy the donor's complete checkpoints, the last one first.

    One that the donor has pruned is enough for a run that prunes too and has a later one to continue from. Any other
    run makes it again, from the recorded trajectories.
    """
    from sg_pipeline.policies.checkpoint import is_pruned, is_whole

    later = False
    for folder in reversed(folders):
        if is_whole(folder):
            _copy(folder, data, donor, name)
            later = later or is_whole(_place(folder, data, donor, name))
        elif prunes and later and is_pruned(folder):
            _copy(folder, data, donor, name)


def _place(source: Path, data: Path, donor: str, name: str) -> Path:
    """Return the place in the run of a file or folder of the donor."""
    layer = source.relative_to(data).parts[0]
    return data / layer / name / source.relative_to(data / layer / donor)


def _copy(source: Path, data: Path, donor: str, name: str) -> None:
    """Copy a file or folder of the donor to its place in the run, whole or not at all."""
    from sg_pipeline.policies.checkpoint import is_pruned, is_whole

    target = _place(source, data, donor, name)
    if target.exists() or not source.exists():
        return
    if source.is_file():
        with atomic_write(target) as temporary:
            shutil.copyfile(source, temporary)
        return
    half = target.with_name(f".{target.name}.copy.tmp")
    shutil.rmtree(half, ignore_errors=True)  # left by a killed process
    with suppress(shutil.Error):  # the donor prunes it meanwhile
        shutil.copytree(source, half)
        if is_whole(half) or is_pruned(half):
            half.rename(target)
    shutil.rmtree(half, ignore_errors=True)
