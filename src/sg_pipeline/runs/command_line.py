"""What this session was started with, for the pipelines that start further runs with the same settings."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`--env`, `--conf-source` and `--params` of the session.

    Attributes:
        env: the configuration environment; None: the default one.
        conf_source: the folder of configuration; None: the project's.
        parameters: what stood after `--params`, by dotted name.
    """

    env: str | None = None
    conf_source: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


_current = CommandLine()


def note(command_line: CommandLine) -> None:
    """Remember it; the project's context does."""
    global _current  # noqa: PLW0603 - Kedro hands nodes datasets, not its context
    _current = command_line


def current() -> CommandLine:
    """Return what the session in force was started with."""
    return _current
