"""A report on a run in progress, made from its finished steps."""

import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.rewards import PolarityValues
from sg_pipeline.config.run import RunConfig
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.reporting.figures import learning_curve
from sg_pipeline.reporting.page import ViewerSource, build_page, paragraph
from sg_pipeline.reporting.page.source import spread_steps, training_source
from sg_pipeline.reporting.run_report import run_sections
from sg_pipeline.reporting.summary import build_summary
from sg_pipeline.runs.clock import noted
from sg_pipeline.runs.identity import read_identity
from sg_pipeline.runs.outputs import CLOCK, LIVE, RUN_JSON

logger = logging.getLogger(__name__)

STEPS_SHOWN = 7
"""Steps of which the page shows trajectories: few, because the page is made often."""


def create_pipeline() -> Pipeline:
    """Return the pipeline; its node looks for finished steps on disk, because the graph does not know them."""
    return Pipeline([Node(report_so_far, ["params:run", "data_folder"], list(LIVE), name="report_so_far")])


def report_so_far(run: RunConfig, data: Path) -> tuple[str, bytes]:
    """Return the page and the learning curve of the steps of a run that are finished.

    Args:
        run: names the run; its parameters are read from its `run.json`.
        data: the data folder.

    Raises:
        ConfigurationError: the run has not begun, or has finished no step.
    """
    reports = data / "08_reporting" / run.name
    identity = read_identity(reports / RUN_JSON)
    steps = sorted((reports / "steps").glob("step_*.json"))
    if identity is None or not steps:
        raise ConfigurationError(
            f"run '{run.name}' has finished no step ({reports / 'steps'} is empty): wait, or name another run with "
            f"--params run.name=NAME"
        )
    given = identity["parameters"]
    metrics = [_json(path) for path in steps]
    base, final = (_json(reports / f"evaluation_{policy}.json") for policy in ("base", "final"))
    panel = _json(data / "02_intermediate" / run.name / "panel.json")
    summary = build_summary(
        run=run.name,
        fingerprint=identity["fingerprint"],
        environment=given["environment.name"],
        panel=panel.get("source", ""),
        panel_sha256=panel.get("sha256"),
        wall_seconds=noted(reports / CLOCK),
        metrics=metrics,
        base=base,
        final=final,
        guidance=given["rollout.guidance"],
        seed=given["run.seed"],
    )
    so_far = f"{len(metrics)} of {given['coevolve.steps']} steps"
    curve = learning_curve(metrics, base.get(summary["mode"]), title=f"Run {run.name}: {so_far}")
    logger.info("run '%s': %s, success %.1f %%", run.name, so_far, 100 * metrics[-1]["success_rate"])
    page = build_page(
        f"Self-Guide: run “{run.name}”, in progress",
        paragraph(f"**{so_far}** are finished; values and trajectories are from these."),
        run_sections(summary, metrics, curve),
        _sources(run.name, given, data, {path.stem: step for path, step in zip(steps, metrics, strict=True)}),
        seed=given["run.seed"],
    )
    return page, curve


def _sources(name: str, given: dict[str, Any], data: Path, metrics: dict[str, Any]) -> list[ViewerSource]:
    """Return the trajectories of some finished steps, including the last; `metrics`: step's folder -> its metrics."""
    polarity = PolarityValues(**{label: given[f"aggregate.polarity.{label}"] for label in PolarityValues.model_fields})
    common = {"method": given.get("run.method") or name, "seed": given["run.seed"], "run": name, "values": polarity}
    shown = spread_steps([step["step"] for step in metrics.values()], STEPS_SHOWN)
    sources = []
    for folder, step in metrics.items():
        played, feature = data / "03_primary" / name / folder, data / "04_feature" / name / folder
        files = [played / "trajectories.parquet", feature / "rewards.parquet", feature / "logprob_gaps.parquet"]
        if step["step"] in shown and all(file.exists() for file in files):
            sources.append(training_source(step, *map(pl.read_parquet, files), **common))
    return sources


def _json(path: Path) -> dict[str, Any]:
    """Return the content of a file; {} if it does not exist yet."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
