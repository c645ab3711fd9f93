"""What a run has left in the data folder, and what goes when it is made again."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sg_pipeline.files import remove

RUN_JSON, LOCK, CLOCK, LOG = "run.json", ".lock", "clock.json", "log.txt"
"""Files beside a run's reports that are no outputs: whose they are, who works on them, how long, what was printed."""

PLAN = ("plan.json", "plan.md")
"""What was foretold of the run; no output either, since it is made before the run and binds it to nothing."""

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
"""What parameters of the evaluation decide, and all that is made of it: Kedro would take the latter for done."""

_VALIDATION_PANEL = "02_intermediate/{}/validation_panel.json"

MADE_WITH: Mapping[str, tuple[str, ...]] = {
    "evaluate": EVALUATION,
    "validation": (_VALIDATION_PANEL, "08_reporting/{}/validation"),
    "prompting": ("07_model_output/{}/prompting", "08_reporting/{}/prompting*"),
    "distill": ("06_models/{}/guide", "08_reporting/{}/distillation.json"),
}
"""Sections that decide a part of the outputs, which can be made again apart from the others."""

OF_TRAINING = ("07_model_output/{}/cross_checkpoint", "08_reporting/{}/shared.json", "06_models/{}/best.json")
"""What tells of checkpoints and is no dataset of the graph, or has others with other settings."""

RESERVED = ("games", "compiled_games", "tiny-alfworld", "tiny-scienceworld", "tiny-webshop")
"""Folders of the layers that belong to no run."""


def data_folder(path: Path, name: str) -> Path:
    """Return the data folder that `path`, the `run.json` of run `name`, lies in; the name may hold a group."""
    return path.parents[2 + name.count("/")]


def is_group(data: Path, name: str) -> bool:
    """Whether other runs lie in folders of this name, as those of a study do."""
    return any((data / "08_reporting" / name).glob(f"*/{RUN_JSON}"))


def outputs_exist(data: Path, name: str) -> bool:
    """Whether any layer holds an output of the run."""
    return any(
        path.is_file() and path.name not in (RUN_JSON, LOCK, CLOCK, LOG, *PLAN)
        for folder in sorted(data.glob(f"*/{name}"))
        for path in folder.rglob("*")
    )


def any_output(data: Path, name: str, patterns: Iterable[str]) -> bool:
    """Whether there is a file under these patterns. A panel that is prepared for a validation is none yet."""
    return any(
        path.is_file() or any(part.is_file() for part in path.rglob("*"))
        for pattern in patterns
        if pattern != _VALIDATION_PANEL
        for path in data.glob(pattern.format(name))
    )


def is_trained(data: Path, name: str) -> bool:
    """Whether the run has rolled out: what it has cost to make."""
    return any((data / "03_primary" / name).glob("step_*"))


def delete_outputs(data: Path, name: str, patterns: tuple[str, ...]) -> None:
    """Delete the run's outputs under these patterns, what is made last first.

    Its `run.json` stays until the caller overwrites it: outputs of a start that is killed meanwhile are not taken for
    new ones, and nothing is left of which the origin is gone.
    """
    for path in sorted({path for pattern in patterns for path in data.glob(pattern.format(name))}, reverse=True):
        if path.name not in (RUN_JSON, LOCK, LOG):
            remove(path)
