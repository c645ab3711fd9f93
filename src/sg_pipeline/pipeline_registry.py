"""The project's pipelines. What the parameters say decides how far `coevolve` is unrolled."""

import warnings

from kedro.pipeline import Pipeline

from sg_pipeline.config.kedro_internals import requested_pipelines
from sg_pipeline.config.session import of_method, parameters
from sg_pipeline.pipelines import (
    base_model,
    coevolve,
    cross_checkpoint,
    distill,
    evaluate,
    guide,
    plan,
    prompting,
    publish,
    report,
    step,
    study,
    sweep,
    tasks,
    validation,
)
from sg_pipeline.runs.steps import BASE_POLICY

# Kedro advises against dots to people who do not mean a namespace; our unrolled steps do.
warnings.filterwarnings("ignore", message="One or more dataset names contain")


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by name; `__default__` is `coevolve`, the main job."""
    p = parameters()
    guided = p.rollout.guide is not None
    guidance = guide.create_pipeline() if guided else Pipeline([])
    base = base_model.create_pipeline(p.base_model, guided)
    before = tasks.create_pipeline() + base
    phases = guidance + coevolve.create_pipeline(p.coevolve, p.aggregate.schedule, guided)
    evaluation = guidance + evaluate.create_pipeline(p.evaluate, guided)
    reporting = report.create_pipeline(p.coevolve, p.aggregate.schedule, p.evaluate)
    one = step.create_pipeline(step.SINGLE, BASE_POLICY, f"{step.SINGLE}.trained_policy", guided=guided)
    main = before + phases + evaluation + reporting
    registered = {
        "__default__": main,
        "coevolve": main,
        "tasks": tasks.create_pipeline(),
        "base_model": before if "panel" in base.inputs() else base,
        "rollout": guidance + one.only_nodes(f"{step.SINGLE}.rollout"),
        **{name: one.only_nodes(f"{step.SINGLE}.{name}") for name in ("validate", "aggregate", "train")},
        "evaluate": evaluation,
        "report": reporting,
        "cross_checkpoint": cross_checkpoint.create_pipeline(p.cross_checkpoint, p.coevolve, p.aggregate.schedule),
        "distill": base + distill.create_pipeline(),
        "prompting": tasks.create_pipeline() + prompting.create_pipeline(p.prompting),
    }
    registered["validation"] = before + phases + validation.create_pipeline(p.coevolve, p.aggregate.schedule, guided)
    registered["publish"] = publish.create_pipeline()
    registered["plan"] = plan.create_pipeline()
    if _wanted("sweep"):
        registered["sweep"] = sweep.create_pipeline()
    if _wanted("study"):
        registered["study"] = study.create_pipeline(p.study, {name: of_method(name) for name in p.study.all_methods})
    return registered


def _wanted(name: str) -> bool:
    """Whether a pipeline is asked for: a mistake in the study's methods must not stop a run that has none."""
    requested = requested_pipelines()
    return requested is None or name in requested
