"""What a finished run left on disk, read for comparison with others."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from sg_pipeline.config.rewards import PolarityValues
from sg_pipeline.config.run import step_number
from sg_pipeline.errors import DataError
from sg_pipeline.reporting.page.source import TABLE_COLUMNS, TRAINING, ViewerSource, spread_steps

REPORTING, PANELS, TRAJECTORIES, REWARDS, MODELS, EPISODES = (
    "08_reporting", "02_intermediate", "03_primary", "04_feature", "06_models", "07_model_output"
)  # fmt: skip
"""Kedro's layers of the data folder, as in the catalog."""

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
"""Parameters that all runs of a study must share, besides the panel and the base's files: the task, the budget and the
evaluation."""

STEPS_SHOWN = 6
"""Training steps of a run whose trajectories the page shows; the first and the last are among them."""

_POLARITY = "aggregate.polarity."


@dataclass(frozen=True)
class RunRecord:
    """A finished run of one method with one seed.

    Attributes:
        name: also that of its folders.
        mode: the mode that it was trained in.
        base, final: mode -> split -> scores before and after training, with `per_game`.
        metrics: one mapping per step, in order.
        parameters, inputs: as in run.json.
        task_types: game -> task type.
        panel: description of the games' origin.
        policy_weights: number of parameters of the policy; None where the checkpoint cannot be read.
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

    Raises:
        DataError: a file is missing or broken, or the run was made with another seed; names the command that fixes it.
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
    mode, steps = summary["mode"], summary["steps"]
    files = [reporting / "steps" / f"step_{step_number(step, steps)}.json" for step in range(steps)]
    return RunRecord(
        method=method,
        seed=seed,
        name=name,
        mode=mode,
        base=_read(reporting / "evaluation_base.json", command, mode),
        final=_read(reporting / "evaluation_final.json", command, mode),
        metrics=[_read(path, command, "step", "phase") for path in files],
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
    """Check that the runs started from one base and were evaluated on the same games in the same way.

    Raises:
        DataError: two runs differ in what they must share, or are both of the same method and seed.
    """
    seen: dict[tuple[str, int], str] = {}
    for record in records:
        if (other := seen.setdefault((record.method, record.seed), record.name)) != record.name:
            raise DataError(
                f"runs {other} and {record.name} are both method {record.method} with seed {record.seed}: a study "
                f"takes one run of each seed."
            )
    must_share = [
        {
            "the panel's sha256": record.panel_sha256,
            **{f"the content of {name}": digest for name, digest in sorted(record.inputs.items())},
            **{name: record.parameters[name] for name in SAME_IN_ALL if name in record.parameters},
        }
        for record in records
    ]
    for record, own in zip(records, must_share, strict=True):
        for what, value in must_share[0].items():
            if own.get(what, value) != value:
                raise DataError(
                    f"runs {records[0].name} and {record.name} cannot be compared: {what} is {value!r} in the one "
                    f"and {own[what]!r} in the other, and must be the same in all runs of a study."
                )


def count_weights(path: Path) -> int | None:
    """Count a checkpoint's parameters from the header of its safetensors file; None where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError):
        return None


def viewer_sources(record: RunRecord) -> list[ViewerSource]:
    """Read a run's trajectories for the page: every evaluation, the final policy's first, and some training steps.

    Raises:
        DataError: a table is missing or not readable.
    """
    values = {n.removeprefix(_POLARITY): v for n, v in record.parameters.items() if n.startswith(_POLARITY)}
    common: dict[str, Any] = {
        "method": record.method, "seed": record.seed, "run": record.name, "values": PolarityValues(**values)
    }  # fmt: skip
    sources = []
    for policy, step in (("final", len(record.metrics)), ("base", 0)):
        for mode in sorted(record.evaluation(policy), key=lambda mode: mode != record.mode):
            table = read_table(record.data / EPISODES / record.name / f"{policy}_{mode}.parquet", TABLE_COLUMNS)
            origin = f"evaluation: {policy} {mode}"
            sources.append(ViewerSource(**common, origin=origin, phase=None, step=step, trust=None, table=table))
    for step in spread_steps(range(len(record.metrics)), STEPS_SHOWN):
        metrics, folder = record.metrics[step], f"{record.name}/step_{step_number(step, len(record.metrics))}"
        table = read_table(record.data / TRAJECTORIES / folder / "trajectories.parquet", TABLE_COLUMNS)
        of_step: dict[str, Any] = {"phase": metrics["phase"], "step": step, "trust": metrics["lambda"]}
        for name, file in (("rewards", "rewards.parquet"), ("gaps", "logprob_gaps.parquet")):
            if (path := record.data / REWARDS / folder / file).exists():
                of_step[name] = pl.read_parquet(path)
        sources.append(ViewerSource(**common, origin=TRAINING, table=table, **of_step))
    return sources


def read_table(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read some columns of a run's table; DataError where it is missing, cannot be read or lacks one."""
    try:
        return pl.read_parquet(path, columns=list(columns))
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        again = "delete it and run its run again with --only-missing-outputs"
        raise DataError(f"{path} is not a readable table of a run ({reason}); {again}") from error


def _read(path: Path, command: str, *needed: str) -> dict[str, Any]:
    """Read a JSON object that must have these fields."""
    again = f"delete it and make it again with: {command} --only-missing-outputs"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist, so this run is not finished; make it with: {command}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable JSON file ({error}); {again}") from None
    missing = [name for name in needed if not isinstance(value, dict) or name not in value]
    if missing:
        raise DataError(f"{path} has no field {missing[0]!r}, so it is not of a finished run; {again}")
    return dict(value)
