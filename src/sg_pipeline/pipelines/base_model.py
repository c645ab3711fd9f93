"""The policies that a run starts from: the base policy, and the frozen guide where `rollout.guide` names one."""

import logging
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from sg_pipeline.config.base_model import BaseModelConfig
from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.errors import CheckpointError
from sg_pipeline.pipelines.tasks import PREPARED
from sg_pipeline.pipelines.validation import panel_node, validation_node
from sg_pipeline.reporting.progress import warm_start_line
from sg_pipeline.runs.steps import BASE_POLICY, GUIDE, warm_start_parts

logger = logging.getLogger(__name__)

LOADED = ["params:base_model", "params:environment", "params:run", "project_folder"]
"""Inputs of `load_base_policy`."""


def create_pipeline(config: BaseModelConfig, guided: bool = False) -> Pipeline:
    """Return the pipeline that writes the base policy: a node that loads it, and one for each part of a warm start.

    Args:
        config: says whether there is a warm start, and of which parts.
        guided: a frozen guide writes the guidance in validations.
    """
    parts = warm_start_parts(config.warm_start) if config.source == "warm_start" else []
    start = parts[0].policy_in if parts else BASE_POLICY
    nodes = [Node(load_base_policy, LOADED, start, name="load_base_policy")]
    taught = ["params:base_model", "params:environment", "params:tasks", "params:rollout", "params:run", *PREPARED]
    played: list[str] = []
    for part in parts:
        # The policy is saved last: where a checkpoint exists, its report exists as well.
        outputs = [f"{part.namespace}.report", part.policy_out]
        inputs = [part.policy_in, *taught, *played]
        nodes.append(Node(imitate, inputs, outputs, name="imitate", namespace=part.namespace))
        played = [f"{part.namespace}.validation"] if part.validated else []
        nodes += [validation_node(part.policy_out, None, name, guided) for name in played]
    if any(part.validated for part in parts):
        nodes.append(panel_node())
    return Pipeline(nodes)


def guide_pipeline(guided: bool) -> Pipeline:
    """Return the pipeline that loads the guide; without nodes if there is none."""
    reading = Node(read_guide, ["params:rollout", BASE_POLICY, "project_folder"], GUIDE, name="read_guide")
    return Pipeline([reading] if guided else [])


def load_base_policy(config: BaseModelConfig, environment: EnvironmentConfig, run: RunConfig, project: Path) -> Any:
    """Load the policy before its first co-evolution step, or what a warm start begins with."""
    from sg_pipeline.training.base_policy import make_base_policy

    try:
        return make_base_policy(config, load_benchmark(environment.name), project=project, seed=run.seed)
    except CheckpointError as error:
        raise CheckpointError(f"base_model.path is {config.path!r}: {error}") from error


def imitate(
    policy: Any,
    config: BaseModelConfig,
    environment: EnvironmentConfig,
    tasks: Any,
    rollout: RolloutConfig,
    run: RunConfig,
    games: Path,
    compiled_games: Path,
    project: Path,
    played: Any = None,
) -> tuple[dict[str, Any], Any]:
    """Teach the policy the next part of its warm start, in place; it knows which part that is.

    It imitates the benchmark's expert on tasks like those of the section `tasks`, but never on those that are
    evaluated, with the prompts of the section `rollout`. Where the policy before this part is validated, `played` is
    the result, so that the validation has ended before the policy is trained further.

    Returns:
        (losses, counts and seconds of this part, see `training.base_policy.teach`; the policy).
    """
    from sg_pipeline.training.base_policy import teach

    benchmark = load_benchmark(environment.name)
    demonstrator = benchmark.demonstrator(tasks, games, compiled_games, project)
    try:
        report = teach(policy, config, benchmark, demonstrator, rollout, run.seed)
    finally:
        demonstrator.close()
    logger.info("%s", warm_start_line(report, config.warm_start))
    return report, policy


def read_guide(rollout: RolloutConfig, base_policy: Any, project: Path) -> Any:
    """Load the guide, which must have the tokens of `base_policy`, once for all steps and evaluations."""
    from sg_pipeline.policies.guide import load_guide

    assert rollout.guide is not None, "the node is in the graph only with a guide"
    try:
        return load_guide(project / rollout.guide, base_policy)
    except CheckpointError as error:
        raise CheckpointError(f"rollout.guide is {rollout.guide!r}: {error}") from error
