"""Options of this session, for pipelines that start further runs with the same settings."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`--env`, `--conf-source` and `--params` of the session.

    Attributes:
        env: the configuration environment; None: the default.
        conf_source: the configuration folder; None: the project's.
        parameters: values of `--params`, by dotted name.
    """

    env: str | None = None
    conf_source: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


_current = CommandLine()


def note(command_line: CommandLine) -> None:
    """Store it; called by the project's context."""
    global _current  # noqa: PLW0603 - Kedro passes datasets to nodes, not its context
    _current = command_line


def current() -> CommandLine:
    """Return the options of the current session."""
    return _current
