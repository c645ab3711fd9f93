"""The player of a run's nodes: a policy on the games of a prepared panel."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import RunConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.errors import DataError
from sg_pipeline.rollouts.play import Player


@contextmanager
def player_of(
    policy: Any,
    panel: dict[str, Any],
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
        policy: to play with.
        panel: the prepared panel.
        games: folder of generated games; official ones have their own.
        compiled: folder of compiled games.
        environment, rollout, sampling, run: parameters.
        guide: writes the guidance in the policy's place.
    """
    try:
        yield Player(policy, environment, rollout, games / panel["data_root"], compiled, run.seed, sampling, guide)
    except DataError as error:
        raise DataError(
            f"{str(error).rstrip('.')}; run the same command with --pipeline=tasks to check all games and regenerate "
            f"generated ones"
        ) from error
