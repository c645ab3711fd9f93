"""Node of the tasks pipeline."""

from pathlib import Path
from typing import Any

from sg_pipeline.environments.alfworld.tasks import TasksConfig, prepare_tasks


def prepare_panel(config: TasksConfig, games: Path, compiled_games: Path, project: Path) -> dict[str, Any]:
    """Put the panel's games on the disk, check each by its digest, compile them.

    Args:
        config: where the tasks come from.
        games, compiled_games: folders.
        project: what relative paths in the configuration start from.

    Returns:
        The prepared panel.
    """
    return prepare_tasks(config, games, compiled_games, project)
