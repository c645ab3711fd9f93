"""Validation: what a policy achieves on games that neither training nor the final evaluation ever plays.

Whoever chooses among runs by their success, as a sweep does, spoils the games that were looked at for judging the
chosen one: the best of many is partly the luckiest. So choices are made on this panel, and the evaluation panels stay
unseen until the choice is made. All policies of one seed play the games with the same chance.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.run import step_number
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.evaluation.metrics import score_episodes

if TYPE_CHECKING:
    import polars as pl

NAMESPACE = "validation"
"""Of the datasets."""


def validation_output(after: int, steps: int) -> str:
    """Name of the dataset with the validation of the policy that was trained for `after` of `steps` steps."""
    return f"{NAMESPACE}.after_{step_number(after, steps + 1)}"


def check_apart(validation: Mapping[str, Any], split: str, played: Mapping[str, Any], name: str) -> None:
    """Make sure that no game of the validation split is also trained on or evaluated.

    Args:
        validation: the prepared panel; a game is known by the digest of its file, and by its path where they share one.
        split: of `validation`.
        played: split of the run's own panel -> its tasks, of those that are trained on or evaluated.
        name: of the validation panel, for the message.

    Raises:
        ConfigurationError: a game is in both, or the validation panel has no such split.
    """
    if split not in validation["splits"]:
        raise ConfigurationError(
            f"validation.split is {split!r}, but the panel {name!r} has {', '.join(validation['splits'])}"
        )
    chosen = validation["splits"][split]
    # A file may hold one game, or all of them.
    one_each = len({task["sha256"] for task in chosen}) == len(chosen)
    keys = ("sha256",) if one_each else ("sha256", "path")
    own = {tuple(task[key] for key in keys) for task in chosen}
    for other, tasks in played.items():
        common = [task["task_id"] for task in tasks if tuple(task[key] for key in keys) in own]
        if common:
            raise ConfigurationError(
                f"validation.panel is {name!r}, but {len(common)} of its games, such as {common[0]!r}, are also games "
                f"of {other} in the run's own panel: a choice that is made on them cannot be judged on them, so "
                f"choose another panel"
            )


def validation_score(episodes: "pl.DataFrame", after: int, mode: str, panel_sha256: str, seed: int) -> dict[str, Any]:
    """Score validation episodes: `after` (steps of training), `mode`, `panel_sha256`, and what `score_episodes` has."""
    return {"after": after, "mode": mode, "panel_sha256": panel_sha256, **score_episodes(episodes, seed)}
