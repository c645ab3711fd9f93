"""Runs, then their comparison."""

from collections.abc import Mapping

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.study import StudyConfig
from sg_pipeline.config.tree import Parameters
from sg_pipeline.pipelines.study.nodes import draw, make_comparison, make_page, write_tables
from sg_pipeline.pipelines.study.runs import coevolve_run, cross_checkpoint_run, guide_run
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
    nodes = [_coevolve(run, methods[run.method]) for run in runs]
    if any(run.guided for run in runs) and study.guide is not None:
        source = study.run_name(study.guide.method, study.guide.seed)
        teacher = next(run for run in runs if run.name == source)
        distil = guide_run(source, study.guide_name, study.guide.seed)
        nodes.append(Node(distil, [*_STARTED, _summary(teacher)], GUIDE, name="distil_guide"))
    crossed = [run for run in runs if run.method in study.cross_checkpoint]
    nodes += [
        Node(
            cross_checkpoint_run(run), [*_STARTED, _summary(run)], _cross(run),
            name="cross_checkpoints", namespace=_namespace(run),
        )
        for run in crossed
    ]  # fmt: skip
    made = {
        **{f"summary_{run.method}_{run.seed}": _summary(run) for run in runs},
        **{f"cross_{run.method}_{run.seed}": _cross(run) for run in crossed},
    }
    parameters = {"study": "params:study", "run": "params:run", "data": "data_folder"}
    return Pipeline(
        [
            *nodes,
            Node(make_comparison(runs), {**parameters, **made}, ["study_results", "study_metrics", "study_curves"],
                name="compare"),
            Node(draw, "study_results", "study_figures", name="draw"),
            Node(write_tables, ["study_results", "study_figures"], "study_report", name="write_tables"),
            Node(
                make_page(runs), {**parameters, "found": "study_results", "figures": "study_figures"}, "study_page",
                name="write_page",
            ),
        ]
    )  # fmt: skip


def _coevolve(run: PlannedRun, parameters: Parameters) -> Node:
    before = [_summary(run.after)] if run.after else []
    guide = [GUIDE] if run.guided else []
    return Node(
        coevolve_run(run, parameters), [*_STARTED, *before, *guide], _summary(run),
        name="train_and_evaluate", namespace=_namespace(run),
    )  # fmt: skip


def _namespace(run: PlannedRun) -> str:
    return f"{run.method}.seed_{run.seed}"


def _summary(run: PlannedRun) -> str:
    return f"{_namespace(run)}.summary"


def _cross(run: PlannedRun) -> str:
    return f"{_namespace(run)}.cross_checkpoint"
