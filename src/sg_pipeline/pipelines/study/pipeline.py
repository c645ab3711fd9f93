"""The study: every method with every seed, each a separate run, then their comparison."""

from collections.abc import Mapping

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.study import StudyConfig
from sg_pipeline.config.tree import Parameters
from sg_pipeline.pipelines.study.nodes import (
    draw,
    make_comparison,
    make_cross_checkpoint,
    make_guide,
    make_page,
    make_run,
    write_tables,
)
from sg_pipeline.runs.stale import OF_RUNS
from sg_pipeline.study.plan import PlannedRun, plan_runs

GUIDE = "guide_figures"
_STARTED = ["command_line", "project_folder"]


def create_pipeline(study: StudyConfig, methods: Mapping[str, Parameters]) -> Pipeline:
    """Return the study: one node for each run, one that compares them.

    Args:
        study: methods and seeds.
        methods: each method's parameters.
    """
    runs = plan_runs(study, methods)
    nodes, made = [], {}
    for run in runs:
        name, namespace = f"{run.method}_{run.seed}", _namespace(run)
        before = [*([_summary(run.after)] if run.after else []), *([GUIDE] if run.guided else [])]
        function = make_run(run, methods[run.method])
        nodes.append(Node(function, [*_STARTED, *before], _summary(run), name="train_and_evaluate",
                          namespace=namespace))  # fmt: skip
        made[f"summary_{name}"] = _summary(run)
        if run.method in study.cross_checkpoint:
            made[f"cross_{name}"] = f"{namespace}.cross_checkpoint"
            nodes.append(Node(make_cross_checkpoint(run), [*_STARTED, _summary(run)], made[f"cross_{name}"],
                              name="cross_checkpoints", namespace=namespace))  # fmt: skip
    if any(run.guided for run in runs) and study.guide is not None:
        source = study.run_name(study.guide.method, study.guide.seed)
        teacher = next(run for run in runs if run.name == source)
        distil = make_guide(source, study.guide_name, study.guide.seed)
        nodes.append(Node(distil, [*_STARTED, _summary(teacher)], GUIDE, name="distil_guide"))
    parameters = {"study": "params:study", "run": "params:run", "data": "data_folder"}
    shown = {"found": "study_results", "figures": "study_figures"}
    nodes += [
        Node(make_comparison(runs), {**parameters, **made}, ["study_results", "study_metrics", "study_curves"],
             name="compare"),
        Node(draw, "study_results", "study_figures", name="draw"),
        Node(write_tables, shown, "study_report", name="write_tables"),
        Node(make_page(runs), {**parameters, **shown}, "study_page", name="write_page"),
    ]  # fmt: skip
    return Pipeline(nodes, tags=OF_RUNS)


def _namespace(run: PlannedRun) -> str:
    return f"{run.method}.seed_{run.seed}"


def _summary(run: PlannedRun) -> str:
    return f"{_namespace(run)}.summary"
