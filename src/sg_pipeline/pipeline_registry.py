"""The project's pipelines. What the parameters say decides how far `coevolve` is unrolled."""

import warnings

from kedro.pipeline import Pipeline

from sg_pipeline.config.kedro_internals import requested_pipelines
from sg_pipeline.config.session import of_method, parameters
from sg_pipeline.pipelines import (
    base_model,
    distill,
    evaluate,
    live,
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

# Kedro advises against dots to people who do not mean a namespace; our unrolled steps do.
warnings.filterwarnings("ignore", message="One or more dataset names contain")


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by name; `__default__` is `coevolve`, the main job."""
    p = parameters()
    schedule, guided = p.aggregate.schedule, p.rollout.guide is not None
    preparing, guide = tasks.create_pipeline(), base_model.guide_pipeline(guided)
    base = base_model.create_pipeline(p.base_model, guided)
    steps = [preparing, base, guide, step.coevolve(p.coevolve, p.aggregate, guided)]
    evaluation = evaluate.create_pipeline(p.evaluate, guided)
    reporting = report.create_pipeline(p.coevolve, schedule, p.evaluate)
    single = step.single_step(guided)
    main = Pipeline([*steps, evaluation, reporting])
    registered = {
        "__default__": main,
        "coevolve": main,
        "tasks": preparing,
        "base_model": preparing + base if "panel" in base.inputs() else base,
        **{name: single.only_nodes(f"step.single.{name}") for name in ("validate", "aggregate", "train")},
        "rollout": guide + single.only_nodes("step.single.rollout"),
        "evaluate": guide + evaluation,
        "report": reporting,
        "live": live.create_pipeline(),
        "cross_checkpoint": evaluate.cross_checkpoint_pipeline(p.cross_checkpoint, p.coevolve, schedule),
        "distill": base + distill.create_pipeline(),
        "prompting": preparing + prompting.create_pipeline(p.prompting),
        "validation": Pipeline(steps) + validation.create_pipeline(p.coevolve, schedule, guided),
        "publish": publish.create_pipeline(),
        "plan": plan.create_pipeline(),
    }
    if _wanted("sweep"):
        registered["sweep"] = sweep.create_pipeline()
    if _wanted("study"):
        registered["study"] = study.create_pipeline(p.study, {name: of_method(name) for name in p.study.all_methods})
    return registered


def _wanted(name: str) -> bool:
    """Whether a pipeline is asked for: a mistake in the study's methods must not stop a run that has none."""
    requested = requested_pipelines()
    return requested is None or name in requested
