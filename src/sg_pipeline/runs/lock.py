"""Lock of a run: two processes would take each other's incomplete outputs for finished ones."""

import fcntl
import logging
import os
from pathlib import Path
from typing import IO

from sg_pipeline.errors import RunIdentityError

logger = logging.getLogger(__name__)


class RunLock:
    """A lock on a run's name; the system releases it when the process ends, for whatever reason."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    def take(self, path: Path, run: str) -> None:
        """Take the lock of a run by its file; release the one that this process may hold from an earlier run.

        The file is never deleted: that would let two processes in.

        Raises:
            RunIdentityError: another process holds it.
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
                f"another process (pid {holder}) is working on run '{run}'; wait until it ends, or choose another name "
                f"with --params run.name=NAME"
            ) from None
        except OSError as error:
            # Some network file systems do not support locks; there the user must take care.
            file.close()
            logger.warning("cannot lock %s (%s): do not start run '%s' twice in parallel", path, error.strerror, run)
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Release the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None
