"""A report on a run that is under way, made beside it of the steps that are finished."""

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
from sg_pipeline.reporting.page.source import spread_steps
from sg_pipeline.reporting.run_report import run_sections
from sg_pipeline.reporting.summary import build_summary
from sg_pipeline.runs.clock import noted
from sg_pipeline.runs.identity import read_identity
from sg_pipeline.runs.outputs import CLOCK, LIVE, RUN_JSON

logger = logging.getLogger(__name__)

STEPS_SHOWN = 7
"""Steps of which the page shows trajectories: the page is made again and again."""


def create_pipeline() -> Pipeline:
    """Return the pipeline; what it reads is looked for on disk, since no graph knows how far a run has come."""
    return Pipeline([Node(report_so_far, ["params:run", "data_folder"], list(LIVE), name="report_so_far")])


def report_so_far(run: RunConfig, data: Path) -> tuple[str, bytes]:
    """Return the page and the learning curve of the steps of a run that are finished.

    Args:
        run: names the run; all else is read from its `run.json`.
        data: the data folder.

    Raises:
        ConfigurationError: the run has not begun, or has finished no step.
    """
    reports = data / "08_reporting" / run.name
    identity = read_identity(reports / RUN_JSON)
    steps = sorted((reports / "steps").glob("step_*.json"))
    if identity is None or not steps:
        raise ConfigurationError(
            f"run '{run.name}' has finished no step ({reports / 'steps'} holds none): wait, or name a run that has "
            f"with --params run.name=NAME"
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
    last = metrics[-1]
    logger.info("run '%s': %s, success %.1f %%", run.name, so_far, 100 * last["success_rate"])
    lead = paragraph(f"**{so_far}** are finished; figures and trajectories are of these.")
    page = build_page(
        f"Self-Guide: run “{run.name}”, under way",
        lead,
        run_sections(summary, metrics, curve),
        _sources(run.name, given, data, {path.stem: step for path, step in zip(steps, metrics, strict=True)}),
        seed=given["run.seed"],
    )
    return page, curve


def _sources(name: str, given: dict[str, Any], data: Path, metrics: dict[str, Any]) -> list[ViewerSource]:
    """Return the trajectories of some finished steps, the last among them; `metrics` by the name of a step's folder."""
    polarity = PolarityValues(**{label: given[f"aggregate.polarity.{label}"] for label in PolarityValues.model_fields})
    shown = spread_steps([step["step"] for step in metrics.values()], STEPS_SHOWN)
    sources = []
    for folder, step in metrics.items():
        tables = {
            part: data / layer / name / folder / f"{file}.parquet"
            for part, layer, file in (
                ("table", "03_primary", "trajectories"),
                ("rewards", "04_feature", "rewards"),
                ("gaps", "04_feature", "logprob_gaps"),
            )
        }
        if step["step"] in shown and all(path.exists() for path in tables.values()):
            sources.append(
                ViewerSource(
                    method=given.get("run.method") or name,
                    seed=given["run.seed"],
                    run=name,
                    values=polarity,
                    origin="training",
                    phase=step["phase"],
                    step=step["step"],
                    trust=step["lambda"],
                    **{part: pl.read_parquet(path) for part, path in tables.items()},
                )
            )
    return sources


def _json(path: Path) -> dict[str, Any]:
    """Return the content of a file; {} where there is none yet."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
