"""Plays a policy on frozen panels, with the same chance for every policy, so that two can be paired by game."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sg_pipeline.config.environment import EnvironmentConfig
from sg_pipeline.config.evaluation import WITH_GUIDANCE, EvaluationConfig
from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.evaluation.parts import with_parts
from sg_pipeline.rollouts.collect import RolloutConfig, RolloutResult
from sg_pipeline.rollouts.play import TRAIN, panel_tasks, play
from sg_pipeline.rollouts.sharing import play_shared
from sg_pipeline.trajectories.frame import to_frame
from sg_pipeline.trajectories.types import Task

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy

logger = logging.getLogger(__name__)


def evaluate(
    policy: "Policy",
    panel: dict[str, Any],
    mode: str,
    config: EvaluationConfig,
    environment: EnvironmentConfig,
    rollout: RolloutConfig,
    *,
    data_root: Path,
    cache_dir: Path,
    seed: int,
    guide: "Policy | None" = None,
    sampling: SamplingConfig | None = None,
) -> pl.DataFrame:
    """Play every game of the evaluation splits.

    Args:
        policy: its weights are not changed.
        panel: the prepared panel.
        mode: `metrics.WITH_GUIDANCE` or `metrics.WITHOUT_GUIDANCE`.
        config: splits, temperature, repetitions.
        environment, rollout: as in training; the evaluation's own settings take precedence.
        data_root, cache_dir: where games and compiled games lie.
        seed: the run's seed.
        guide: writes the guidance in the policy's place.
        sampling: the policy's engine; None: its own model.

    Returns:
        A `parts.EvaluationTable`: `group` is the game's index in its split, `item` the repetition.
    """
    settings = rollout.model_copy(
        update={
            "group_size": config.episodes_per_game,
            "temperature": config.temperature,
            "max_turns": config.max_turns or rollout.max_turns,
            "guidance": mode == WITH_GUIDANCE,
        }
    )
    tables = []
    for split in evaluated_splits(panel, config):
        tasks = panel_tasks(panel, split)[: config.games]

        def play_groups(chosen: list[Task], groups: Sequence[int], split: str = split) -> RolloutResult:
            return play(
                policy,
                chosen,
                environment,
                settings,
                data_root=data_root,
                cache_dir=cache_dir,
                seed=seed,
                step=0,
                purpose=f"evaluate {split} {mode}",
                groups=groups,
                guide=guide,
                sampling=sampling,
            )

        at_once = world().size * max(1, config.batch_rows // config.episodes_per_game)
        for groups in _chunks(len(tasks), at_once):
            result = play_shared(play_groups, [tasks[group] for group in groups], groups)
            parts = zip(result.trajectories, result.parts, strict=True)
            tables.append(with_parts(to_frame(result.trajectories), [(t.group, t.item, its) for t, its in parts]))
    # A batch in which no episode has parts lacks their column.
    return pl.concat(tables, how="diagonal")


def evaluated_splits(panel: dict[str, Any], config: EvaluationConfig) -> tuple[str, ...]:
    """Return the splits of a prepared panel that are evaluated.

    Raises:
        ConfigurationError: the panel does not have one of them.
    """
    known = panel["splits"]
    for split in config.splits or ():
        if split not in known:
            raise ConfigurationError(f"evaluate.splits names {split!r}, but the panel has {', '.join(known)}")
    return config.splits or tuple(split for split in known if split != TRAIN)


def _chunks(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
