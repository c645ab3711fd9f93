"""A run of a study or a sweep as a separate process: `kedro run` with other parameters.

Each has its own memory and log, and several may run at the same time. One that was killed continues where it stopped
when it is started again, since it is started with `--only-missing-outputs`.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sg_pipeline.distributed.cores import usable_cores
from sg_pipeline.errors import RunFailedError, RunKilledError
from sg_pipeline.runs.command_line import CommandLine
from sg_pipeline.runs.outputs import LOG

_PR_SET_PDEATHSIG = 1

_at_once = 1


def several_at_once(runs: int) -> None:
    """Store how many runs this process starts at the same time: they share the cores."""
    global _at_once  # noqa: PLW0603 - one process runs one pipeline at a time
    _at_once = runs


def processes_of_a_run() -> int | None:
    """Return `run.processes` of a run that shares the cores with others; None: it uses all of them."""
    return None if _at_once == 1 else max(1, usable_cores() // _at_once)


def run_child(
    pipeline: str,
    own: Mapping[str, Any],
    *,
    decided: tuple[str, ...],
    command_line: CommandLine,
    project: Path,
    options: Sequence[str] = (),
) -> None:
    """Run a pipeline to its end; its output is appended to the log among the run's reports.

    Args:
        pipeline: its name.
        own: the run's own parameters by dotted name; `run.name` is among them.
        decided: beginnings of the names of parameters that are not passed on from the command line.
        command_line: of this process; the run reads the same configuration, and its other `--params`.
        project: the project's folder.
        options: of `kedro run`, such as `--to-outputs=…`.

    Raises:
        RunFailedError: it ended with an error; has the run's own message.
        RunKilledError: a signal has ended it.
    """
    passed_on = {name: value for name, value in command_line.parameters.items() if not name.startswith(decided)}
    log = project / "data" / "08_reporting" / own["run.name"] / LOG
    command = [
        sys.executable, "-m", __name__, str(os.getpid()),
        "run", f"--pipeline={pipeline}", "--only-missing-outputs", f"--params={as_text({**passed_on, **own})}",
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
            f"run '{own['run.name']}' failed: {_reported(log, began, code)}; its log is {log}"
        )


def as_text(parameters: Mapping[str, Any]) -> str:
    """Write parameters as `--params` takes them; RunFailedError where that is impossible, as of a list."""
    parts = []
    for name, value in parameters.items():
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, (list, tuple, dict)) or "," in text:
            raise RunFailedError(
                f"parameter {name} cannot be passed to a run by --params (found {value!r}): set it in a file of conf/"
            )
        parts.append(f"{name}={text}")
    return ",".join(parts)


def _reported(log: Path, began: int, code: int) -> str:
    """Return the error that the process reported, or its last line."""
    if code < 0:
        return f"it was killed by signal {signal.Signals(-code).name}"
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(began)
        lines = [line.strip() for line in file if line.strip()]
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    return (errors or lines or [f"exit code {code}"])[-1].rstrip(".")


def _main(parent: int, arguments: list[str]) -> None:
    """Become `kedro`, and end with the parent, however it ends: an orphan would hold the run's lock."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has already died
        sys.exit(1)
    os.execv(sys.executable, [sys.executable, "-m", "kedro", *arguments])


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
