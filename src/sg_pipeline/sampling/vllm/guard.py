"""Runs a command as long as the process that started this one lives: `python guard.py FOLDER COMMAND ...`.

Standard input is a pipe that nobody writes to. Its other end closes with the process that holds it, in whatever way
that process ends; then the command is ended, with all processes of its group, and the folder deleted. A separate script
that imports nothing of this package, so that it starts at once.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

_GRACE_S = 20.0
"""Time for the command after SIGTERM, to free a GPU properly."""
_LOOK_S = 0.2


def main(folder: str, command: list[str]) -> int:
    """Run `command`; return its exit code, 0 if it was ended from here."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while child.poll() is None:
            readable, _, _ = select.select([sys.stdin], [], [], _LOOK_S)
            if readable and not os.read(sys.stdin.fileno(), 1):
                return 0
        return child.returncode if child.returncode >= 0 else 128 - child.returncode
    finally:
        _end(child)
        shutil.rmtree(folder, ignore_errors=True)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the whole group of the command: its workers may outlive it."""
    _signal(child.pid, signal.SIGTERM)
    until = time.monotonic() + _GRACE_S
    while child.poll() is None and time.monotonic() < until:
        time.sleep(_LOOK_S)
    _signal(child.pid, signal.SIGKILL)
    child.wait()


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    # Ctrl-C and SIGTERM are for the run, whose end is noticed here. (The command would inherit SIG_IGN.)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
