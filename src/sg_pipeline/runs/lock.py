"""One process at a time works on a run: two of them would take each other's half-made outputs for finished ones."""

import fcntl
import logging
import os
from pathlib import Path
from typing import IO

from sg_pipeline.errors import RunIdentityError

logger = logging.getLogger(__name__)


class RunLock:
    """A lock on a run's name, which ends with the process that holds it, however that ends."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    def take(self, path: Path, run: str) -> None:
        """Take the lock, and let go of the one that this process may hold from an earlier run.

        Args:
            path: the lock's file; its folder is made. The file stays: removing it would let two processes in.
            run: the run's name, for the message.

        Raises:
            RunIdentityError: another process has it.
        """
        self.release()
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                holder = file.read().strip() or "unknown"
            raise RunIdentityError(
                f"another process (pid {holder}) is working on run '{run}'; wait for its end, or choose another name "
                f"with --params run.name=NAME"
            ) from None
        except OSError as error:
            # Some network file systems have no locks; a run there is as safe as its user is careful.
            file.close()
            logger.warning("%s cannot be locked (%s): do not start run '%s' twice at once", path, error.strerror, run)
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let others have it."""
        if self._file is not None:
            self._file.close()
            self._file = None
