"""The wall clock of a run, for reports only: no result depends on it."""

import time

_began = time.monotonic()


def restart() -> None:
    """Begin to count."""
    global _began  # noqa: PLW0603 - one process runs one pipeline at a time
    _began = time.monotonic()


def elapsed() -> float:
    """Seconds since `restart`, or since the program began."""
    return time.monotonic() - _began
