"""Plays a policy on frozen panels, with the same chance for every policy, so that two can be paired by game."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from sg_pipeline.config.evaluation import WITH_GUIDANCE, EvaluationConfig
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.rollouts.collect import Attempt, attempts_at
from sg_pipeline.rollouts.play import TRAIN, Player, panel_tasks


def evaluate(player: Player, panel: dict[str, Any], mode: str, config: EvaluationConfig) -> pl.DataFrame:
    """Play every game of the evaluation splits, with guidance or without (`mode`).

    The player has the settings of training, over which those of `config` take precedence.

    Returns:
        A `tables.EvaluationTable`: `group` is the game's index in its split, `item` the repetition.
    """
    from sg_pipeline.evaluation.tables import evaluation_table  # pandera takes 0.3 s to import

    player = evaluation_player(player, config, guidance=mode == WITH_GUIDANCE)
    tables = []
    for split, attempts in evaluation_attempts(panel, config).items():
        result = player.play(attempts, step=0, purpose=f"evaluate {split} {mode}")
        tables.append(evaluation_table(result.trajectories, result.parts))
    # A split in which no episode has parts lacks their column.
    return pl.concat(tables, how="diagonal")


def evaluation_player(player: Player, config: EvaluationConfig, **settings: Any) -> Player:
    """Return `player` with the settings of an evaluation, and with further `settings` of its rollouts."""
    rollout = player.config
    settings |= {
        "group_size": config.episodes_per_game,
        "temperature": config.temperature,
        "max_turns": config.max_turns or rollout.max_turns,
        "rows": min(config.batch_rows, rollout.rows or config.batch_rows),
    }
    return replace(player, config=rollout.model_copy(update=settings))


def evaluation_attempts(panel: dict[str, Any], config: EvaluationConfig) -> dict[str, list[Attempt]]:
    """Return split -> the episodes to play: `group` is the game's index in the split, `item` the repetition."""
    return {
        split: attempts_at(panel_tasks(panel, split)[: config.games], config.episodes_per_game)
        for split in evaluated_splits(panel, config)
    }


def evaluated_splits(panel: dict[str, Any], config: EvaluationConfig) -> tuple[str, ...]:
    """Return the splits of a prepared panel that are evaluated; a `ConfigurationError` if it does not have one."""
    known = panel["splits"]
    for split in config.splits or ():
        if split not in known:
            raise ConfigurationError(f"evaluate.splits names {split!r}, but the panel has {', '.join(known)}")
    return config.splits or tuple(split for split in known if split != TRAIN)


def check_apart(validation: Mapping[str, Any], split: str, played: Mapping[str, Any], name: str) -> None:
    """Check that no game of the validation split is also trained on or evaluated.

    Choosing among runs by their success, as a sweep does, biases the games that the choice looks at: the best of many
    is partly the luckiest. So choices are made on a separate panel, and the evaluation panels stay unseen until then.

    Args:
        validation, split, name: the prepared panel, its split and its name; a game is identified by the digest of its
            file, and by its path where several games share a file.
        played: split of the run's own panel -> its tasks, of those that are trained on or evaluated.

    Raises:
        ConfigurationError: a game is in both, or the validation panel has no such split.
    """
    if split not in validation["splits"]:
        raise ConfigurationError(
            f"validation.split is {split!r}, but the panel {name!r} has {', '.join(validation['splits'])}"
        )
    chosen = validation["splits"][split]
    one_each = len({task["sha256"] for task in chosen}) == len(chosen)
    keys = ("sha256",) if one_each else ("sha256", "path")
    own = {tuple(task[key] for key in keys) for task in chosen}
    for other, tasks in played.items():
        common = [task["task_id"] for task in tasks if tuple(task[key] for key in keys) in own]
        if common:
            raise ConfigurationError(
                f"validation.panel is {name!r}, but {len(common)} of its games, such as {common[0]!r}, are also games "
                f"of {other} in the run's own panel: a choice made on them cannot be judged on them, so choose another "
                f"panel"
            )
