"""Who works on what: file locks, which end with the process that holds them, however that ends."""

import fcntl
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sg_pipeline.errors import DataError
from sg_pipeline.files import atomic_write

FOLDER = ".claims"
"""Folder beside the sweep's reports."""


class Claims:
    """The locks of one sweep, in one data folder.

    Attributes:
        place: an identifier of this data folder. A trial is taken over only where its checkpoints lie.
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
        with self._open("workers") as file:
            _lock(file, fcntl.LOCK_EX)
            yield

    def take(self, name: str) -> bool:
        """Claim a run; False where another worker has it."""
        file = self._open(name)
        try:
            _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._held[name] = file
        return True

    def release(self, name: str) -> None:
        """Let others have it."""
        self._held.pop(name).close()

    def _open(self, name: str) -> IO[str]:
        # The file stays: removing it would let two workers in.
        return (self._folder / name.replace("/", "-")).open("a+", encoding="utf-8")


def _lock(file: IO[str], kind: int) -> None:
    try:
        fcntl.flock(file, kind)
    except BlockingIOError:
        raise
    except OSError as error:
        raise DataError(
            f"{file.name} cannot be locked ({error.strerror}), so workers of a sweep could not know of each other: "
            f"put the project's data folder on a file system that has locks"
        ) from error
