"""The project's pipelines. What the parameters say decides how far `coevolve` is unrolled."""

import warnings
from collections.abc import Callable

from kedro.pipeline import Pipeline

from sg_pipeline.config.kedro_internals import requested_pipelines
from sg_pipeline.config.loader import embedded_loader
from sg_pipeline.config.study import StudyConfig
from sg_pipeline.config.tree import Parameters, check_parameters
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

OfMethod = Callable[[str], Parameters]
"""A method's name -> the parameters in force with that method's over them."""

_parameters: Parameters | None = None
_of_method: OfMethod | None = None


def use(parameters: Parameters, of_method: OfMethod) -> None:
    """Take the parameters that the session's context has read (see `hooks/context.py`)."""
    global _parameters, _of_method  # Kedro calls register_pipelines() without arguments
    _parameters, _of_method = parameters, of_method


def parameters() -> Parameters:
    """Return the parameters in force: the session's, or those of conf/base without a session."""
    return _parameters or check_parameters(embedded_loader()["parameters"])


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by name; `__default__` is `coevolve`, the main job."""
    p = parameters()
    before = tasks.create_pipeline() + base_model.create_pipeline()
    guided = p.rollout.guide is not None
    guidance = guide.create_pipeline() if guided else Pipeline([])
    phases = guidance + coevolve.create_pipeline(p.coevolve, p.aggregate.schedule, guided)
    evaluation = guidance + evaluate.create_pipeline(p.evaluate, guided)
    reporting = report.create_pipeline(p.coevolve, p.aggregate.schedule, p.evaluate)
    one = step.create_pipeline(step.SINGLE, BASE_POLICY, f"{step.SINGLE}.trained_policy", guided=guided)
    main = before + phases + evaluation + reporting
    registered = {
        "__default__": main,
        "coevolve": main,
        "tasks": tasks.create_pipeline(),
        "base_model": base_model.create_pipeline(),
        "rollout": guidance + one.only_nodes(f"{step.SINGLE}.rollout"),
        **{name: one.only_nodes(f"{step.SINGLE}.{name}") for name in ("validate", "aggregate", "train")},
        "evaluate": evaluation,
        "report": reporting,
        "cross_checkpoint": cross_checkpoint.create_pipeline(p.cross_checkpoint, p.coevolve, p.aggregate.schedule),
        "distill": base_model.create_pipeline() + distill.create_pipeline(),
        "prompting": tasks.create_pipeline() + prompting.create_pipeline(p.prompting),
    }
    registered["validation"] = before + phases + validation.create_pipeline(p.coevolve, p.aggregate.schedule, guided)
    registered["publish"] = publish.create_pipeline()
    registered["plan"] = plan.create_pipeline(p)
    if _wanted("sweep"):
        registered["sweep"] = sweep.create_pipeline(p)
    if _wanted("study"):
        registered["study"] = study.create_pipeline(p.study, _methods(p.study))
    return registered


def _methods(config: StudyConfig) -> dict[str, Parameters]:
    """Return the parameters of each method of the study."""
    of_method = _of_method
    if of_method is None:
        loader = embedded_loader()
        raw = loader["parameters"]

        def of_method(name: str) -> Parameters:
            return check_parameters(loader.with_method(raw, name))

    return {name: of_method(name) for name in config.all_methods}


def _wanted(name: str) -> bool:
    """Whether a pipeline is asked for: a mistake in the study's methods must not stop a run that has none."""
    requested = requested_pipelines()
    return requested is None or name in requested
