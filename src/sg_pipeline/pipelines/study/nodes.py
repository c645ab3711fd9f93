"""Nodes that start the study's runs, each a separate process, and nodes that compare them."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sg_pipeline.config.run import RunConfig
from sg_pipeline.config.study import StudyConfig
from sg_pipeline.config.tree import Parameters
from sg_pipeline.runs.child import run_child
from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.identity import is_same_run
from sg_pipeline.runs.outputs import LOG, RUN_JSON
from sg_pipeline.study.plan import PlannedRun

logger = logging.getLogger(__name__)

# The study decides these for each run; its own section does not concern them.
_DECIDED = ("run.name", "run.seed", "run.method", "run.share", "study.")


def make_run(run: PlannedRun, parameters: Parameters) -> Callable[..., dict[str, Any]]:
    """Return the node function that makes one run of the study; `parameters` are the method's."""
    own = parameters.run.model_copy(update={"name": run.name, "seed": run.seed})
    planned = parameters.model_copy(update={"run": own})

    def train_and_evaluate(command_line: CommandLine, project: Path, *before: Any) -> dict[str, Any]:
        """Co-evolve, evaluate and report.

        Args:
            command_line: of the study; its `--env` and `--params` are passed on.
            project: the project's folder.
            before: what must exist first: a run whose steps are shared, the guide.

        Returns:
            The run's summary.
        """
        reports = _reports(project, run.name)
        files = [reports / "summary.json", reports / "report.html"]
        # Starting a process only to see that nothing is to be done takes seconds, times all runs.
        if not (all(path.exists() for path in files) and is_same_run(reports / RUN_JSON, planned, project)):
            _start("coevolve", run.name, run.seed, {"run.method": run.method}, command_line, project)
        return dict(_read(files[0]))

    return train_and_evaluate


def make_guide(source: str, name: str, seed: int) -> Callable[..., dict[str, Any]]:
    """Return the node function that distils the guide of the offline methods from the run `source`."""

    def distil_guide(command_line: CommandLine, project: Path, teacher: Any) -> dict[str, Any]:
        """Distil the guide from the trajectories of a finished run; return the metrics of the distillation."""
        _start("distill", name, seed, {"distill.source": source}, command_line, project)
        return dict(_read(_reports(project, name) / "distillation.json"))

    return distil_guide


def make_cross_checkpoint(run: PlannedRun) -> Callable[..., Any]:
    """Return the node function that evaluates a run with guidance written by its other checkpoints."""

    def cross_checkpoints(command_line: CommandLine, project: Path, summary: Any) -> Any:
        """Return the scores: one entry for each checkpoint that wrote guidance, and split."""
        _start("cross_checkpoint", run.name, run.seed, {"run.method": run.method}, command_line, project)
        return _read(_reports(project, run.name) / "cross_checkpoint.json")

    return cross_checkpoints


def make_comparison(runs: list[PlannedRun]) -> Callable[..., tuple[Any, Any, Any]]:
    """Return the node function that compares `runs`."""

    def compare(study: StudyConfig, run: RunConfig, data: Path, **made: Any) -> tuple[Any, Any, Any]:
        """Compare all runs, paired by seed and game.

        Args:
            study, run: parameters; the seed names the bootstrap's random streams.
            data: the data folder, for the runs' tables.
            made: summaries of all runs, and the cross-checkpoint scores.

        Returns:
            (study.json; the success rates alone, for `dvc metrics`; the learning curves alone, for `dvc plots`).
        """
        from sg_pipeline.study.records import read_record
        from sg_pipeline.study.results import compare_runs, curve_rows, headline

        records = [read_record(data, planned.method, planned.seed, planned.name) for planned in runs]
        cells = [
            {**cell, "method": planned.method, "seed": planned.seed}
            for planned in runs
            for cell in made.get(f"cross_{planned.method}_{planned.seed}", [])
        ]
        titles = {method: study.titles.get(method, method) for method in study.all_methods}
        found = compare_runs(records, titles, cells, run.seed)
        for answer in found["questions"]:
            logger.info("%s %s", answer["question"], answer["answer"])
        return found, headline(found), curve_rows(found)

    return compare


def draw(found: dict[str, Any]) -> dict[str, bytes]:
    """Draw the study's figures: name -> PNG."""
    from sg_pipeline.study.figures import draw_figures

    return draw_figures(found)


def write_tables(found: dict[str, Any], figures: dict[str, bytes]) -> str:
    """Write the study in Markdown; figures are in the folder `figures` next to it."""
    from sg_pipeline.study.document import study_markdown

    return study_markdown(found, {name: f"figures/{name}.png" for name in figures})


def make_page(runs: list[PlannedRun]) -> Callable[..., str]:
    """Return the node function that writes the page of `runs`."""

    def write_page(
        study: StudyConfig, run: RunConfig, data: Path, found: dict[str, Any], figures: dict[str, bytes]
    ) -> str:
        """Write the study as one HTML page with trajectories to read.

        Args:
            study, run: parameters; the seed chooses among trajectories.
            data: the data folder, for the trajectories.
            found, figures: of `compare` and `draw`.
        """
        from sg_pipeline.reporting.page import build_page, paragraph
        from sg_pipeline.study.document import study_sections
        from sg_pipeline.study.records import read_record, viewer_sources

        records = [read_record(data, planned.method, planned.seed, planned.name) for planned in runs]
        sources = [source for record in records for source in viewer_sources(record)]
        lead = paragraph(*(f"**{answer['question']}** {answer['answer']}" for answer in found["questions"]))
        title = f"Self-Guide: the study “{study.name}”"
        return build_page(title, lead, study_sections(found, figures), sources, seed=run.seed)

    return write_page


def _start(
    pipeline: str, name: str, seed: int, given: dict[str, Any], command_line: CommandLine, project: Path
) -> None:
    """Run a pipeline for the run `name`."""
    own = {**given, "run.name": name, "run.seed": seed, "run.share": True}
    logger.info("run '%s': %s starts; its log is %s", name, pipeline, _reports(project, name) / LOG)
    run_child(pipeline, own, decided=_DECIDED, command_line=command_line, project=project)
    logger.info("run '%s': %s is done", name, pipeline)


def _reports(project: Path, name: str) -> Path:
    return project / "data" / "08_reporting" / name


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
