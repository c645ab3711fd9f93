"""What all nodes that play have in common: their inputs, and the namespaces in which they are repeated."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro.pipeline import Pipeline, pipeline

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.errors import DataError
from sg_pipeline.rollouts.play import Player

PLAYER = [
    "panel", "policy", "games", "compiled_games",
    "params:environment", "params:rollout", "params:sampling", "params:run",
]  # fmt: skip
"""Inputs of a node that plays, in the order of `player_of`; a guide may follow."""


@contextmanager
def player_of(
    panel: dict[str, Any],
    policy: Any,
    games: Path,
    compiled: Path,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    sampling: SamplingConfig,
    run: RunConfig,
    guide: Any = None,
) -> Iterator[Player]:
    """Yield `policy` as a player; the error for a game that does not load says how to repair it.

    Args:
        panel: the prepared panel.
        policy: to play with.
        games: folder of generated games; official ones have their own.
        compiled: folder of compiled games.
        environment, rollout, sampling, run: parameters.
        guide: writes the guidance in the policy's place, where `rollout.guide` names one.
    """
    try:
        yield Player(policy, environment, rollout, games / panel["data_root"], compiled, run.seed, sampling, guide)
    except DataError as error:
        raise DataError(
            f"{str(error).rstrip('.')}; run the same command with --pipeline=tasks to check all games and regenerate "
            f"generated ones"
        ) from error


def in_namespace(
    nodes: Pipeline,
    namespace: str,
    policy: str,
    outputs: dict[str, str] | None = None,
    inputs: dict[str, str] | None = None,
) -> Pipeline:
    """Return the nodes in a namespace; their inputs and parameters stay outside of it, and `policy` is their policy.

    `inputs` and `outputs` name others outside: name in the nodes -> name of the dataset.
    """
    shared = nodes.inputs() - {"policy"}
    parameters = {name for name in shared if name.startswith("params:")}
    outside = {"policy": policy, **{name: name for name in shared - parameters}, **(inputs or {})}
    return pipeline(nodes, namespace=namespace, inputs=outside, outputs=outputs, parameters=parameters)
