"""Wall-clock time of a run, for reports only: no result depends on it.

A run may take several processes; each saves the time spent, and the next one continues from it.
"""

import json
import time
from pathlib import Path

from sg_pipeline.files import atomic_write

_began = time.monotonic()


def restart() -> None:
    """Start counting from zero."""
    global _began  # noqa: PLW0603 - one process runs one pipeline at a time
    _began = time.monotonic()


def elapsed() -> float:
    """Return the seconds since `restart` (or the start of the program), plus those that `go_on_from` found."""
    return time.monotonic() - _began


def go_on_from(path: Path) -> None:
    """Add the seconds that earlier processes spent, as saved in `path`; nothing if it cannot be read."""
    global _began  # noqa: PLW0603
    _began -= noted(path)


def noted(path: Path) -> float:
    """Return the seconds saved in `path`; 0 if it cannot be read."""
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["wall_seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def note(path: Path) -> None:
    """Save the seconds spent so far."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({"wall_seconds": elapsed()}) + "\n", encoding="utf-8")
