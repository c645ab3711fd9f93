"""The session's own command line as a dataset, so that the graph shows which nodes look at it."""

from typing import Any

from kedro.io import AbstractDataset, DatasetError

from sg_pipeline.runs import command_line
from sg_pipeline.runs.command_line import CommandLine


class CommandLineDataset(AbstractDataset[None, CommandLine]):
    """Loads what `kedro run` was called with."""

    def load(self) -> CommandLine:
        """Return it."""
        return command_line.current()

    def save(self, data: None) -> None:
        """Refuse."""
        raise DatasetError("the command line cannot be written")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {}
