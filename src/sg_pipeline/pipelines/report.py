"""Report: everything that the run has measured, on one page."""

import logging
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import EvaluationConfig
from sg_pipeline.config.rewards import RewardConfig, TrustSchedule
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import CoevolveConfig, RunConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.files import atomic_write
from sg_pipeline.pipelines.evaluate import EVALUATED
from sg_pipeline.reporting.figures import learning_curve
from sg_pipeline.reporting.page import ViewerSource, build_page, paragraph
from sg_pipeline.reporting.page.source import spread_steps, training_source
from sg_pipeline.reporting.progress import result_lines
from sg_pipeline.reporting.run_report import pick_trajectories, report_markdown, run_sections
from sg_pipeline.reporting.run_tables import verdicts
from sg_pipeline.reporting.summary import build_summary
from sg_pipeline.runs import clock
from sg_pipeline.runs.steps import Step, unroll

logger = logging.getLogger(__name__)

STEPS_SHOWN = 21
"""Steps of which the page shows trajectories, spread over the run: all of 80 would make it slow to open."""


def create_pipeline(config: CoevolveConfig, schedule: TrustSchedule, evaluation: EvaluationConfig) -> Pipeline:
    """Return the pipeline that reports on a whole run."""
    steps = unroll(config, schedule)
    shown = spread_steps([step.index for step in steps], STEPS_SHOWN)
    # Gathered within their phase: in kedro viz a phase then leads to the report by two datasets instead of fifty.
    phases = {phase: list(group) for phase, group in groupby(steps, key=lambda step: step.namespace.partition(".")[0])}
    gathering = [node for phase, group in phases.items() for node in _gather(phase, group, shown)]
    inputs = [
        "params:run",
        "params:environment",
        "params:rollout",
        "run_identity",
        "panel",
        "evaluate.base.evaluation",
        "evaluate.final.evaluation",
        f"{steps[0].namespace}.trajectories",
        f"{steps[-1].namespace}.trajectories",
        f"evaluate.final.episodes_{evaluation.modes[0]}",
        *(f"{phase}.gathered_metrics" for phase in phases),
    ]
    outputs = ["summary", "learning_curve", "report"]
    of_card = ["summary", "run_identity", "policies", "params:environment", "params:rollout"]
    page = {"run": "params:run", "aggregate": "params:aggregate", "summary": "summary", "curve": "learning_curve"}
    for number, phase in enumerate(phases):
        page |= {f"phase_{number}": f"{phase}.gathered_metrics", f"shown_{number}": f"{phase}.shown_steps"}
    for policy in EVALUATED:
        page |= {f"evaluated_{policy}_{mode}": f"evaluate.{policy}.episodes_{mode}" for mode in evaluation.modes}
    reporting = [
        Node(write_report, inputs, outputs, name="write_report"),
        Node(write_cards, of_card, "model_card", name="write_cards"),
        Node(write_page, page, "page", name="write_page"),
    ]
    return Pipeline([*gathering, *reporting])


def _gather(phase: str, steps: Sequence[Step], shown: Collection[int]) -> tuple[Node, Node]:
    metrics = [f"{step.namespace}.metrics" for step in steps]
    # The gaps, which are small, of all steps: kedro viz draws datasets that no node reads outside the phase.
    tables = {f"gaps_{step.index}": f"{step.namespace}.logprob_gaps" for step in steps}
    for step in steps:
        if step.index in shown:
            tables |= {f"{name}_{step.index}": f"{step.namespace}.{name}" for name in ("trajectories", "rewards")}
    return (
        Node(gather_metrics, metrics, f"{phase}.gathered_metrics", name="gather_metrics", namespace=phase),
        Node(gather_shown, tables, f"{phase}.shown_steps", name="gather_shown", namespace=phase),
    )


def gather_metrics(*metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics of a phase's steps, in order."""
    return list(metrics)


def gather_shown(**tables: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return a phase's `gaps_<step>`, and `trajectories_<step>`, `rewards_<step>` of the steps that the page shows."""
    return tables


def write_report(
    run: RunConfig,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    identity: dict[str, Any],
    panel: dict[str, Any],
    base: dict[str, Any],
    final: dict[str, Any],
    first_step: pl.DataFrame,
    last_step: pl.DataFrame,
    final_episodes: pl.DataFrame,
    *phases: list[dict[str, Any]],
) -> tuple[dict[str, Any], bytes, str]:
    """Summarise the run; `phases` are the metrics of each phase's steps, in order.

    Returns:
        (summary.json, learning curve as PNG, report.md).
    """
    metrics = [step for phase in phases for step in phase]
    summary = build_summary(
        run=run.name,
        fingerprint=identity["fingerprint"],
        environment=environment.name,
        panel=panel["source"],
        panel_sha256=panel["sha256"],
        wall_seconds=clock.elapsed(),
        metrics=metrics,
        base=base,
        final=final,
        guidance=rollout.guidance,
        seed=run.seed,
    )
    shown = pick_trajectories(
        {"First step of training": first_step, "Last step of training": last_step, "Final evaluation": final_episodes}
    )
    mode = summary["mode"]
    for line in result_lines(summary):
        logger.info("%s", line)
    curve = learning_curve(metrics, base.get(mode), final.get(mode), title=f"Run {run.name} on {panel['source']}")
    return summary, curve, report_markdown(summary, metrics, shown)


def write_cards(
    summary: dict[str, Any],
    identity: dict[str, Any],
    policies: Path,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
) -> str:
    """Write the model card of the final policy, and of the best checkpoint where one was chosen.

    The latter's is written to its folder in `policies`; that of the final policy is returned.
    """
    from sg_pipeline.agents.prompts import load_prompts
    from sg_pipeline.policies.checkpoint import CARD, is_whole
    from sg_pipeline.policies.retention import read_best
    from sg_pipeline.reporting.model_card import model_card

    prompts = load_prompts(rollout.prompts, load_benchmark(environment.name).name)
    system = prompts.guided if rollout.guidance else prompts.plain

    def card(folder: Path, best: dict[str, Any] | None = None) -> str:
        adapter = (folder / "adapter_config.json").is_file()
        return model_card(summary, identity, system, adapter=adapter, best=best)

    best = read_best(policies)
    if best is not None and best["folder"] != "final" and is_whole(policies / best["folder"]) and world().first:
        folder = policies / best["folder"]
        with atomic_write(folder / CARD) as temporary:
            temporary.write_text(card(folder, best), encoding="utf-8")
    return card(policies / "final")


def write_page(run: RunConfig, aggregate: RewardConfig, summary: dict[str, Any], curve: bytes, **tables: Any) -> str:
    """Write the run as one HTML page, with trajectories to read.

    Args:
        run, aggregate: parameters; the seed chooses among trajectories where not all fit.
        summary, curve: of `write_report`.
        tables: `phase_0`, …: metrics of each phase's steps, in order; `evaluated_<policy>_<mode>`: episodes;
            `shown_0`, …: of each phase, see `gather_shown`.
    """
    metrics = {step["step"]: step for name in tables if name.startswith("phase_") for step in tables[name]}
    shown = {name: table for group in tables if group.startswith("shown_") for name, table in tables[group].items()}
    method = run.method or run.name
    common: dict[str, Any] = {"method": method, "seed": run.seed, "run": run.name, "values": aggregate.polarity}
    sources = [
        ViewerSource(
            **common,
            origin=f"evaluation: {policy} {mode}",
            phase=None,
            step=len(metrics) if policy == "final" else 0,
            trust=None,
            table=tables[name],
        )
        for name in sorted(tables, reverse=True)  # the final policy's before the base's
        if name.startswith("evaluated_")
        for policy, _, mode in [name.removeprefix("evaluated_").partition("_")]
    ]
    sources += [
        training_source(
            step, shown[f"trajectories_{number}"], shown[f"rewards_{number}"], shown[f"gaps_{number}"], **common
        )
        for number, step in sorted(metrics.items())
        if f"trajectories_{number}" in shown
    ]
    title, lead = f"Self-Guide: run “{run.name}”", paragraph(*verdicts(summary), kind="verdict")
    return build_page(title, lead, run_sections(summary, list(metrics.values()), curve), sources, seed=run.seed)
