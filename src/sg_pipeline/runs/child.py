"""A run of the study (or of a sweep) as a process of its own: `kedro run` with other parameters.

Each has its own memory, libraries and log, and several may run side by side. One that is killed goes on where it
stopped when it is started again, since it is started with `--only-missing-outputs`.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sg_pipeline.errors import RunFailedError, RunKilledError
from sg_pipeline.runs.command_line import CommandLine

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1


def run_child(
    pipeline: str,
    parameters: Mapping[str, Any],
    *,
    command_line: CommandLine,
    project: Path,
    log: Path,
    options: Sequence[str] = (),
) -> None:
    """Run a pipeline to its end.

    Args:
        pipeline: its name.
        parameters: by dotted name, as after `--params`; `run.name` is among them.
        command_line: of this process: the configuration that the run reads is the same.
        project: the project's folder.
        log: what the process prints is appended to this file.
        options: further ones of `kedro run`, such as `--to-outputs=…`.

    Raises:
        RunFailedError: it ended with an error; holds its last sentence.
        RunKilledError: a signal has ended it.
    """
    command = [
        sys.executable, "-m", __name__, str(os.getpid()),
        "run", f"--pipeline={pipeline}", "--only-missing-outputs", f"--params={as_text(parameters)}",
        *([f"--env={command_line.env}"] if command_line.env else []),
        *([f"--conf-source={command_line.conf_source}"] if command_line.conf_source else []),
        *options,
    ]  # fmt: skip
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        began = file.tell()
        code = subprocess.run(
            command, cwd=project, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        raise (RunKilledError if code < 0 else RunFailedError)(
            f"run '{parameters['run.name']}' failed: {_last_sentence(log, began, code)}; its log is {log}"
        )


def as_text(parameters: Mapping[str, Any]) -> str:
    """Write parameters as `--params` takes them.

    Raises:
        RunFailedError: a value cannot be written there, such as a list.
    """
    parts = []
    for name, value in parameters.items():
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, (list, tuple, dict)) or "," in text:
            raise RunFailedError(
                f"parameter {name} cannot be handed to a run of the study by --params (found {value!r}): "
                f"set it in a file of conf/"
            )
        parts.append(f"{name}={text}")
    return ",".join(parts)


def _last_sentence(log: Path, began: int, code: int) -> str:
    """Return the process's own sentence, or its last line."""
    if code < 0:
        return f"it was killed by signal {signal.Signals(-code).name}"
    if not log.exists():
        return f"exit code {code}"
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(began)
        lines = [line.strip() for line in file if line.strip()]
    told = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    return (told or lines or [f"exit code {code}"])[-1].rstrip(".")


def _main(parent: int, arguments: list[str]) -> None:
    """Become `kedro`, and end with the parent however that ends: an orphan would hold the run's lock."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has died in between
        sys.exit(1)
    os.execv(sys.executable, [sys.executable, "-m", "kedro", *arguments])


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
