"""What a finished run left behind, read for comparison with others."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sg_pipeline.errors import DataError

REPORTING, PANELS, TRAJECTORIES, REWARDS, MODELS, EPISODES = (
    "08_reporting", "02_intermediate", "03_primary", "04_feature", "06_models", "07_model_output"
)  # fmt: skip
"""Kedro's layers of the data folder, as the catalog has them."""

SAME_IN_ALL = (
    "environment.name",
    "base_model.source",
    "base_model.dtype",
    "coevolve.steps",
    "rollout.tasks_per_step",
    "rollout.group_size",
    "rollout.max_turns",
    "rollout.max_new_tokens",
    "rollout.max_length",
    "rollout.temperature",
    "rollout.prompts",
    "train.learning_rate",
    "train.minibatch",
    "train.num_iterations",
    "evaluate.splits",
    "evaluate.temperature",
    "evaluate.episodes_per_game",
    "evaluate.games",
    "evaluate.max_turns",
)
"""Parameters that all runs of a study must share, beside the panel and the base's files: what is played, with which
budget, and how it is judged."""


@dataclass(frozen=True)
class RunRecord:
    """A finished run of one method with one seed.

    Attributes:
        method, seed, name: whose run it is, and the name of its folders.
        mode: the mode that it was trained in.
        base, final: mode -> split -> scores before and after training, with `per_game`.
        metrics: one mapping per step, in order.
        parameters: "section.name" -> value, as in run.json.
        wall_seconds: its duration.
        task_types: game -> task type.
        panel: where its games come from, in words.
        panel_sha256: the panel's digest.
        inputs: digests of the files that parameters name.
        policy_weights: how many weights the policy has; None where the checkpoint does not tell.
        data: the data folder, for the large tables.
    """

    method: str
    seed: int
    name: str
    mode: str
    base: Mapping[str, Mapping[str, Any]]
    final: Mapping[str, Mapping[str, Any]]
    metrics: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any]
    wall_seconds: float
    task_types: Mapping[str, str] = field(default_factory=dict, repr=False)
    panel: str = ""
    panel_sha256: Any = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    policy_weights: int | None = None
    data: Path = Path("data")

    def evaluation(self, part: str) -> Mapping[str, Mapping[str, Any]]:
        """Scores of "base" or "final"."""
        return self.base if part == "base" else self.final


def read_record(data_folder: Path, method: str, seed: int, name: str) -> RunRecord:
    """Read a finished run.

    Args:
        data_folder: the project's data folder.
        method: what was trained.
        seed: of the run.
        name: of the run.

    Raises:
        DataError: a file is missing or broken, or the run was made with another seed; says what makes it.
    """
    command = f"kedro run --pipeline=coevolve --params run.method={method},run.seed={seed},run.name={name}"
    reporting = data_folder / REPORTING / name
    summary = _read(reporting / "summary.json", command, "mode", "steps", "wall_seconds", "panel", "panel_sha256")
    identity = _read(reporting / "run.json", command, "parameters")
    panel = _read(data_folder / PANELS / name / "panel.json", command, "splits")
    found = identity["parameters"].get("run.seed", seed)
    if found != seed:
        raise DataError(
            f"{reporting / 'run.json'} has run.seed = {found}, but the study takes {name} for seed {seed}: a run of "
            f"another seed needs another name; make this one with: {command}"
        )
    steps = summary["steps"]
    width = max(3, len(str(max(steps, 1) - 1)))
    metrics = [_read(reporting / "steps" / f"step_{i:0{width}d}.json", command, "step", "phase") for i in range(steps)]
    return RunRecord(
        method=method,
        seed=seed,
        name=name,
        mode=summary["mode"],
        base=_read(reporting / "evaluation_base.json", command, summary["mode"]),
        final=_read(reporting / "evaluation_final.json", command, summary["mode"]),
        metrics=metrics,
        parameters=identity["parameters"],
        wall_seconds=float(summary["wall_seconds"]),
        task_types={task["task_id"]: task["task_type"] for tasks in panel["splits"].values() for task in tasks},
        panel=summary["panel"],
        panel_sha256=summary["panel_sha256"],
        inputs=identity.get("inputs") or {},
        policy_weights=count_weights(data_folder / MODELS / name / "base" / "model.safetensors"),
        data=data_folder,
    )


def check_comparable(records: Sequence[RunRecord]) -> None:
    """Make sure that the runs started from one base and were judged on the same games in the same way.

    Raises:
        DataError: two runs differ in what they must share, or claim to be the same method and seed.
    """
    seen: dict[tuple[str, int], str] = {}
    for record in records:
        other = seen.setdefault((record.method, record.seed), record.name)
        if other != record.name:
            raise DataError(
                f"runs {other} and {record.name} are both method {record.method} with seed {record.seed}: a study "
                f"takes one run of each seed."
            )
    for record in records[1:]:
        first = records[0]
        pairs = {"the panel's sha256": (first.panel_sha256, record.panel_sha256)}
        pairs |= {f"the content of {n}": (first.inputs[n], record.inputs[n])
                  for n in sorted(first.inputs) if n in record.inputs}  # fmt: skip
        pairs |= {n: (first.parameters[n], record.parameters[n])
                  for n in SAME_IN_ALL if n in first.parameters and n in record.parameters}  # fmt: skip
        for what, (here, there) in pairs.items():
            if here != there:
                raise DataError(
                    f"runs {first.name} and {record.name} cannot be compared: {what} is {here!r} in the one and "
                    f"{there!r} in the other, and must be the same in all runs of a study."
                )


def count_weights(path: Path) -> int | None:
    """Count a checkpoint's numbers from the header of its safetensors file; None where there is no such file."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    except (OSError, ValueError, struct.error):
        return None
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            size = 1
            for length in tensor["shape"]:
                size *= length
            total += size
    return total


def _read(path: Path, command: str, *needed: str) -> dict[str, Any]:
    """Read a JSON object that must have these fields."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist, so this run of the study is not finished; make it with: {command}"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} is not a readable JSON file ({error}); delete it and make it anew with: {command} "
            f"--only-missing-outputs"
        ) from None
    missing = [name for name in needed if not isinstance(value, dict) or name not in value]
    if missing:
        raise DataError(
            f"{path} has no field {missing[0]!r}, so it is not what a finished run writes; delete it and make it anew "
            f"with: {command} --only-missing-outputs"
        )
    return dict(value)
