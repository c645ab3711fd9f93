"""The study: every method with every seed, each run a separate process, then their comparison."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.run import RunConfig
from sg_pipeline.config.study import StudyConfig
from sg_pipeline.config.tree import Parameters
from sg_pipeline.runs.child import processes_of_a_run, run_child
from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.identity import is_same_run
from sg_pipeline.runs.outputs import LOG, RUN_JSON
from sg_pipeline.runs.stale import OF_RUNS
from sg_pipeline.study.plan import PlannedRun, plan_runs

logger = logging.getLogger(__name__)

GUIDE = "guide_figures"

# The study decides these for each run; its own section does not concern them.
_DECIDED = ("run.name", "run.seed", "run.method", "run.share", "study.")


def create_pipeline(study: StudyConfig, methods: Mapping[str, Parameters]) -> Pipeline:
    """Return the study: one node for each run, one that compares them.

    Args:
        study: methods and seeds.
        methods: each method's parameters.
    """
    runs = plan_runs(study, methods)
    nodes, made = [], {}

    def start(function: Callable[..., Any], before: list[str], output: str, name: str, namespace: str | None) -> None:
        inputs = ["command_line", "project_folder", *before]
        nodes.append(Node(function, inputs, output, name=name, namespace=namespace))

    for run in runs:
        name, namespace, summary = f"{run.method}_{run.seed}", _namespace(run), f"{_namespace(run)}.summary"
        before = [*([f"{_namespace(run.after)}.summary"] if run.after else []), *([GUIDE] if run.guided else [])]
        own = methods[run.method].run.model_copy(update={"name": run.name, "seed": run.seed})
        planned = methods[run.method].model_copy(update={"run": own})
        given = {"run.method": run.method, "run.processes": own.processes or processes_of_a_run()}
        train_and_evaluate = make_run("coevolve", run.name, run.seed, given, "summary.json", planned)
        start(train_and_evaluate, before, summary, "train_and_evaluate", namespace)
        made[f"summary_{name}"] = summary
        if run.method in study.cross_checkpoint:
            made[f"cross_{name}"] = f"{namespace}.cross_checkpoint"
            cross = make_run("cross_checkpoint", run.name, run.seed, given, "cross_checkpoint.json")
            start(cross, [summary], made[f"cross_{name}"], "cross_checkpoints", namespace)
    if any(run.guided for run in runs) and study.guide is not None:
        source = study.run_name(study.guide.method, study.guide.seed)
        teacher = next(run for run in runs if run.name == source)
        distil = make_run(
            "distill", study.guide_name, study.guide.seed, {"distill.source": source}, "distillation.json"
        )
        start(distil, [f"{_namespace(teacher)}.summary"], GUIDE, "distil_guide", None)
    parameters = {"study": "params:study", "run": "params:run", "data": "data_folder"}
    shown = {"found": "study_results", "figures": "study_figures"}
    compared = ["study_results", "study_metrics", "study_curves"]
    nodes += [
        Node(make_comparison(runs), {**parameters, **made}, compared, name="compare"),
        Node(draw, "study_results", "study_figures", name="draw"),
        Node(write_tables, shown, "study_report", name="write_tables"),
        Node(make_page(runs), {**parameters, **shown}, "study_page", name="write_page"),
    ]
    return Pipeline(nodes, tags=OF_RUNS)


def _namespace(run: PlannedRun) -> str:
    return f"{run.method}.seed_{run.seed}"


def make_run(
    pipeline: str, name: str, seed: int, given: dict[str, Any], result: str, planned: Parameters | None = None
) -> Callable[..., Any]:
    """Return the node function that runs `pipeline` for the run `name`, and returns its report `result`.

    Args:
        pipeline, name, seed: of the run.
        given: further parameters.
        result: a JSON file.
        planned: the parameters of a run that is not started if it is finished: a process that only sees that nothing is
            to be done takes seconds, times all runs.
    """

    def make(command_line: CommandLine, project: Path, *before: Any) -> Any:
        """Pass on the study's `--env` and `--params`; `before` must exist first: shared steps, the guide, a summary."""
        reports = project / "data" / "08_reporting" / name
        finished = (
            planned is not None
            and all((reports / file).exists() for file in (result, "report.html"))
            and is_same_run(reports / RUN_JSON, planned, project)
        )
        if not finished:
            own = {**given, "run.name": name, "run.seed": seed, "run.share": True}
            logger.info("run '%s': %s starts; its log is %s", name, pipeline, reports / LOG)
            run_child(pipeline, own, decided=_DECIDED, command_line=command_line, project=project)
            logger.info("run '%s': %s is done", name, pipeline)
        return json.loads((reports / result).read_text(encoding="utf-8"))

    return make


def make_comparison(runs: list[PlannedRun]) -> Callable[..., tuple[Any, Any, Any]]:
    """Return the node function that compares `runs`."""

    def compare(study: StudyConfig, run: RunConfig, data: Path, **made: Any) -> tuple[Any, Any, Any]:
        """Compare all runs, paired by seed and game; `made` are their summaries and cross-checkpoint scores.

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
        """Write the study as one HTML page with trajectories to read; the seed chooses among them."""
        from sg_pipeline.reporting.page import build_page, paragraph
        from sg_pipeline.study.document import study_sections
        from sg_pipeline.study.records import read_record, viewer_sources

        records = [read_record(data, planned.method, planned.seed, planned.name) for planned in runs]
        sources = [source for record in records for source in viewer_sources(record)]
        lead = paragraph(*(f"**{answer['question']}** {answer['answer']}" for answer in found["questions"]))
        title = f"Self-Guide: the study “{study.name}”"
        return build_page(title, lead, study_sections(found, figures), sources, seed=run.seed)

    return write_page
