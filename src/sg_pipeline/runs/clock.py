"""The wall clock of a run, for reports only: no result depends on it.

A run may take several processes; each leaves behind what it has spent, and the next one goes on from there.
"""

import json
import time
from pathlib import Path

from sg_pipeline.files import atomic_write

_began = time.monotonic()


def restart() -> None:
    """Begin to count."""
    global _began  # noqa: PLW0603 - one process runs one pipeline at a time
    _began = time.monotonic()


def elapsed() -> float:
    """Seconds since `restart`, or since the program began, and those that `go_on_from` has found."""
    return time.monotonic() - _began


def go_on_from(path: Path) -> None:
    """Add the seconds that earlier processes have spent; nothing where `path` does not tell."""
    global _began  # noqa: PLW0603
    try:
        _began -= float(json.loads(path.read_text(encoding="utf-8"))["wall_seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return


def note(path: Path) -> None:
    """Write down what has been spent up to now."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({"wall_seconds": elapsed()}) + "\n", encoding="utf-8")
