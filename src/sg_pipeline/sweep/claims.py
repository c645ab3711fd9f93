"""Which worker works on which run: file locks, which end with the process that holds them, however it ends."""

import fcntl
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sg_pipeline.errors import DataError
from sg_pipeline.files import atomic_write

FOLDER = ".claims"
"""Folder next to the sweep's reports."""

PATIENCE = 600.0
"""Seconds to wait for another worker's moment alone, which takes a second or two."""


class Claims:
    """The locks of one sweep, in one data folder.

    Attributes:
        place: an identifier of this data folder: a trial is taken over only where its checkpoints are.
    """

    def __init__(self, reports: Path) -> None:
        """Make the folder of locks."""
        self._folder = reports / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._held: dict[str, IO[str]] = {}
        with self.alone():
            path = self._folder / "place"
            if not path.exists():
                with atomic_write(path) as temporary:
                    temporary.write_text(secrets.token_hex(8), encoding="utf-8")  # a name; no result depends on it
            self.place = path.read_text(encoding="utf-8").strip()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other worker is in such a block: for what takes a moment, such as drawing a trial."""
        ended = time.monotonic() + PATIENCE
        with self._open("workers") as file:
            while not _lock(file):
                if time.monotonic() > ended:
                    raise DataError(
                        f"another worker of this sweep has held {file.name} for {PATIENCE:.0f} seconds, so it hangs or "
                        f"was suspended: end it (`lsof {file.name}` names it) and run the same command again"
                    )
                time.sleep(0.05)
            yield

    def take(self, name: str) -> bool:
        """Claim a run; False where another worker has it."""
        file = self._open(name)
        if not _lock(file):
            file.close()
            return False
        self._held[name] = file
        return True

    def release(self, name: str) -> None:
        """Let other workers have it."""
        self._held.pop(name).close()

    def _open(self, name: str) -> IO[str]:
        # The file stays: removing it would let two workers in.
        return (self._folder / name.replace("/", "-")).open("a+", encoding="utf-8")


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise DataError(
            f"{file.name} cannot be locked ({error.strerror}), so workers of a sweep could not see each other: put the "
            f"project's data folder on a file system that has locks"
        ) from error
    return True
