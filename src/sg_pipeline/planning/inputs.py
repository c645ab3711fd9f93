"""From the parameters in force to a plan: the model's shape, lengths, and what the run has recorded already."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sg_pipeline.config.tree import Parameters
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.planning.case import Case, check_case
from sg_pipeline.planning.config import Settings
from sg_pipeline.planning.lengths import Recorded, assumed, read_recorded
from sg_pipeline.planning.plan import build_plan
from sg_pipeline.planning.shape import read_shape
from sg_pipeline.runs.identity import is_same_run
from sg_pipeline.runs.outputs import RUN_JSON

logger = logging.getLogger(__name__)


def plan_of(given: Parameters, project: Path, data: Path) -> dict[str, Any]:
    """Return the plan of the run with the parameters `given`.

    Args:
        given: the parameters in force.
        project: what relative paths start from.
        data: the data folder.

    Raises:
        ConfigurationError, CheckpointError, DataError: in one sentence.
    """
    own = _own_steps(given, project, data)
    recorded = own
    if (name := given.plan.lengths_of) is not None:
        recorded = read_recorded(data, name, given.plan.lengths, given.environment.pool.workers)
        if recorded is None:
            raise ConfigurationError(
                f"plan.lengths_of is '{name}', but {data / '08_reporting' / name / 'steps'} holds no step of a run"
            )
    guide = None
    if given.rollout.guide is not None:
        source = given.base_model.model_copy(update={"source": "checkpoint", "path": given.rollout.guide})
        guide = read_shape(source, project)
    case = Case(
        shape=read_shape(given.base_model, project),
        lengths=assumed(given.plan.lengths) if recorded is None else recorded.lengths,
        plan=settings_of(given),
        base_model=given.base_model,
        rollout=given.rollout,
        train=given.train,
        coevolve=given.coevolve,
        evaluate=given.evaluate,
        workers=given.environment.pool.workers,
        guide=guide,
        checkpoints=given.checkpoints,
    )
    check_case(case)
    return build_plan(case, given.run.name, own)


def settings_of(given: Parameters) -> Settings:
    """Return the plan's section with what the run's own parameters say of engine, arithmetic and adapters."""
    lora = given.base_model.lora
    return Settings(
        **dict(given.plan),
        engine=given.sampling.engine,
        vllm=given.sampling.vllm,
        # TF32 products are counted as float32: their peak is not in the table of devices.
        compute="bfloat16" if given.base_model.compute == "bfloat16" else "weights",
        lora_rank=0 if lora is None else lora.rank,
    )


def _own_steps(given: Parameters, project: Path, data: Path) -> Recorded | None:
    """Return what the run itself has recorded, if it was the same run: another one's figures are no plan of this."""
    name = given.run.name
    identity = data / "08_reporting" / name / RUN_JSON
    if not given.plan.measured or not identity.is_file():
        return None
    if not is_same_run(identity, given, project):
        logger.warning(
            "run '%s' was made with other parameters, so the plan leaves out what it has recorded (--params "
            "plan.lengths_of=%s takes its lengths)",
            name,
            name,
        )
        return None
    return read_recorded(data, name, given.plan.lengths, given.environment.pool.workers)
