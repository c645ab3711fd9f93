"""Outputs of a run in the data folder, and which of them are deleted when it is made again."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sg_pipeline.files import remove

RUN_JSON, LOCK, CLOCK, LOG = "run.json", ".lock", "clock.json", "log.txt"
"""Files next to a run's reports that are not outputs: identity, lock, time spent, log."""

PLAN = ("plan.json", "plan.md")
"""The plan of the run; not an output either, because it is made before the run and does not bind it."""

LIVE = ("live.page", "live.curve")
"""Datasets of a report on a run in progress, which needs neither the run's lock nor its parameters."""

EVERYTHING = ("*/{}/*",)
"""Every output of a run."""

EVALUATION = (
    "07_model_output/{}/*",
    "08_reporting/{}/evaluation_*",
    "08_reporting/{}/prompting*",
    "08_reporting/{}/cross_checkpoint.json",
    "08_reporting/{}/summary.json",
    "08_reporting/{}/learning_curve.png",
    "08_reporting/{}/report.*",
    "06_models/{}/final/README.md",
)
"""Outputs that depend on the evaluation's parameters, and all made from them: Kedro would take the latter for done."""

_VALIDATION_PANEL = "02_intermediate/{}/validation_panel.json"

MADE_WITH: Mapping[str, tuple[str, ...]] = {
    "evaluate": EVALUATION,
    "validation": (_VALIDATION_PANEL, "08_reporting/{}/validation"),
    "prompting": ("07_model_output/{}/prompting", "08_reporting/{}/prompting*"),
    "distill": ("06_models/{}/guide", "08_reporting/{}/distillation.json"),
}
"""Sections that affect only some of the outputs, which can be made again separately."""

OF_TRAINING = ("07_model_output/{}/cross_checkpoint", "08_reporting/{}/shared.json", "06_models/{}/best.json")
"""Outputs about checkpoints that are not datasets of the graph, or differ between settings."""

RESERVED = ("games", "compiled_games", "smollm2-alfworld", "tiny-alfworld", "tiny-scienceworld", "tiny-webshop")
"""Folders of the data layers that belong to no run."""


def data_folder(path: Path, name: str) -> Path:
    """Return the data folder that contains `path`, the `run.json` of run `name`; the name may include a group."""
    return path.parents[2 + name.count("/")]


def is_group(data: Path, name: str) -> bool:
    """Whether the folder of this name contains other runs, as that of a study does."""
    return any((data / "08_reporting" / name).glob(f"*/{RUN_JSON}"))


def outputs_exist(data: Path, name: str) -> bool:
    """Whether any layer contains an output of the run."""
    return any(
        path.is_file() and path.name not in (RUN_JSON, LOCK, CLOCK, LOG, *PLAN)
        for folder in sorted(data.glob(f"*/{name}"))
        for path in folder.rglob("*")
    )


def any_output(data: Path, name: str, patterns: Iterable[str]) -> bool:
    """Whether a file matches these patterns. The prepared panel of a validation does not count."""
    return any(
        path.is_file() or any(part.is_file() for part in path.rglob("*"))
        for pattern in patterns
        if pattern != _VALIDATION_PANEL
        for path in data.glob(pattern.format(name))
    )


def is_trained(data: Path, name: str) -> bool:
    """Whether the run has rollouts, its expensive part."""
    return any((data / "03_primary" / name).glob("step_*"))


def delete_outputs(data: Path, name: str, patterns: tuple[str, ...]) -> None:
    """Delete the run's outputs that match these patterns, the last made first.

    Its `run.json` stays until the caller overwrites it: if the process is killed meanwhile, the remaining outputs still
    have their identity and are not taken for new ones.
    """
    for path in sorted({path for pattern in patterns for path in data.glob(pattern.format(name))}, reverse=True):
        if path.name not in (RUN_JSON, LOCK, LOG):
            remove(path)
