"""A vLLM engine in this process, beside the policy that it is a copy of.

It starts with random weights and a folder that holds no more than a configuration; `load` brings the policy's. What
vLLM changes in the process that it runs in is put back where training would notice.

Source: vLLM 0.32 (`LLMEngine`, `reload_weights` of its workers); 0.30 and 0.31 have the same entries.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.sampling import VllmConfig
from sg_pipeline.errors import SamplingError
from sg_pipeline.policies.weights import named_weights, plain_model
from sg_pipeline.sampling.base import Completion, StopWhen
from sg_pipeline.sampling.vllm import adapters
from sg_pipeline.sampling.vllm.engine import Engine, Request
from sg_pipeline.sampling.vllm.held import HeldWeights, combined
from sg_pipeline.sampling.vllm.rank import compile_apart, executor_on, in_a_world_of_one

if TYPE_CHECKING:
    import torch

    from sg_pipeline.policies.policy import Policy

logger = logging.getLogger(__name__)

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine's loop is ours: one `poll`, one forward pass
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # it would tie the whole process, training too, to single cores
    "VLLM_LOGGING_LEVEL": "ERROR",
}
CPU_BLOCK = 32
"""Tokens in a block of cached keys and values on a CPU, where vLLM's default is 128: prefixes are whole blocks."""
CPU_TOKENS = 2048
"""Tokens of a forward pass on a CPU, vLLM's default; more where one row may have more."""


@dataclass(slots=True)
class _Turn:
    """A request under way; `seen` of its tokens have been shown to `stop_when`."""

    key: int
    stop_ids: frozenset[int]
    stop_when: StopWhen | None
    seen: int = 0

    def end(self, ids: list[int]) -> int | None:
        """Return how many of `ids` the turn has where `stop_when` ends it, which is asked after each token."""
        while self.stop_when is not None and self.seen < len(ids):
            self.seen += 1
            if self.stop_when(ids[: self.seen]):
                return self.seen
        return None


class LocalEngine(Engine):
    """`vllm.LLMEngine`, stepped by `poll`."""

    def __init__(self, policy: Policy, config: VllmConfig, max_length: int, seed: int = 0) -> None:
        """Start an engine for models of the policy's shape.

        Args:
            policy: of this configuration and type of number; its weights come with `update`.
            config: see there.
            max_length: tokens of the longest row.
            seed: of vLLM's own random numbers; no request draws from them.

        Raises:
            SamplingError: vLLM is not installed, or does not start; says why.
        """
        super().__init__(dtype_of(policy, config))
        self._config = config
        self._folder = tempfile.TemporaryDirectory(prefix="sg_vllm_")
        self._under_way: dict[str, _Turn] = {}
        self._count = 0
        self._base: str | None = None
        """Digest of the base weights that it holds, where adapters come separately."""
        self._adapters: Any = None
        """What a request carries that is written with adapters; None: they are merged, or there are none."""
        self._updates = 0
        self._room = adapters.room(policy, config, self.dtype)
        self._architecture = write_configuration(policy, Path(self._folder.name))
        try:
            with _process_as_before(), in_a_world_of_one():
                self._engine = self._start(max_length, seed, policy.model.device.index)
        except BaseException as error:
            self._folder.cleanup()
            if isinstance(error, ImportError):
                raise SamplingError(
                    f"sampling.engine is 'vllm', but vLLM cannot be imported ({error}); install it as docs/vllm.md "
                    f"says, or choose sampling.engine=transformers"
                ) from error
            if isinstance(error, Exception):
                raise SamplingError(f"the vLLM engine does not start: {' '.join(str(error).split())}") from error
            raise

    def _start(self, max_length: int, seed: int, gpu: int | None) -> Any:
        os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        self._sleeps = self._config.sleep and current_platform.is_sleep_mode_available()
        if self._config.sleep and not self._sleeps:
            name = current_platform.device_name
            logger.warning("sampling.vllm.sleep is ignored: on a %s vLLM cannot give its memory back", name.upper())
        eager = on_cpu if self._config.enforce_eager is None else self._config.enforce_eager
        if not eager:
            compile_apart()
        with _without_compilation() if on_cpu and eager else contextlib.nullcontext():
            from vllm import EngineArgs, LLMEngine

            _check_architecture(self._architecture)
            arguments: dict[str, Any] = {
                "model": self._folder.name,
                "load_format": "dummy",
                "worker_extension_cls": f"{HeldWeights.__module__}.{HeldWeights.__name__}",
                "skip_tokenizer_init": True,
                "generation_config": "vllm",  # no sampling defaults of the model's own
                "dtype": self.dtype,
                "max_model_len": max_length,
                "seed": seed,
                "enforce_eager": eager,
                "enable_prefix_caching": self._config.prefix_caching,
                "gpu_memory_utilization": self._config.gpu_memory_utilization,
                "enable_sleep_mode": self._sleeps,
                # Of the distribution that was drawn from, temperature included.
                "logprobs_mode": "processed_logprobs",
                "disable_log_stats": True,
            }
            if self._room is not None:
                arguments |= {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 1, "max_lora_rank": self._room}
            if on_cpu:
                arguments |= {
                    "kv_cache_memory_bytes": self._config.cpu_cache_gib * 2**30,
                    "block_size": CPU_BLOCK,
                    # A context cut in two costs a draw, which vLLM 0.32 cannot take back on a CPU: it dies of it.
                    "enable_chunked_prefill": False,
                    "max_num_batched_tokens": max(max_length, CPU_TOKENS),
                }
            elif gpu:  # with GPU 0 everything is as vLLM has it
                arguments["distributed_executor_backend"] = executor_on(gpu)
            return LLMEngine.from_engine_args(EngineArgs(**arguments))

    def load(self, policy: Policy) -> None:
        """Take over the policy's weights in place; cached keys and values of the old ones are dropped."""
        import torch

        if self._engine.is_sleeping():
            torch.cuda.empty_cache()  # torch keeps what training has freed: the engine could not have it back
            self._engine.wake_up()
        with torch.no_grad():
            self._take_over(policy)
        if not self._engine.reset_prefix_cache():
            raise SamplingError("the vLLM engine does not give up the keys and values of its former weights")

    def _take_over(self, policy: Policy) -> None:
        """Take over all weights; where adapters come separately these, and a base that is not the one it has."""
        if adapters.room(policy, self._config, self.dtype) is None:
            self._adapters = self._base = None
            self._base_sent = True
            self._reload(named_weights(policy))
            return
        base = None if policy.adapter_base is None else policy.adapter_base.digest
        self._base_sent = base is None or base != self._base
        if self._base_sent:
            self._base = None
            self._reload(named_weights(policy, adapters=False))
            self._base = base
        self._updates += 1
        self._adapters = adapters.hand_over(self._engine, policy, self._updates, Path(self._folder.name))

    def held(self, kinds: Iterable[str]) -> list[dict[str, int]]:
        """Return the fingerprints of what the engine computes with."""
        ask = self._engine.collective_rpc
        return [{kind: combined(ask(f"held_{kind}", kwargs={"dtype": self.dtype})) for kind in kinds}]

    def _reload(self, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
        self._engine.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})

    def submit(self, key: int, request: Request, stop_when: StopWhen | None = None) -> None:
        """Begin a request (see `Engine.submit`)."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._count += 1
        name = f"turn-{self._count}"
        parameters = SamplingParams(
            **request.parameters(),
            output_kind=RequestOutputKind.FINAL_ONLY if stop_when is None else RequestOutputKind.CUMULATIVE,
        )
        prompt = {"prompt_token_ids": request.ids}
        self._engine.add_request(name, prompt, parameters, lora_request=self._adapters)
        self._under_way[name] = _Turn(key, frozenset(request.stop_ids), stop_when)

    def poll(self) -> list[tuple[int, Completion]]:
        """Compute the next token of each request, after the contexts of new ones."""
        finished: list[tuple[int, Completion]] = []
        if not self._under_way:
            return finished
        for output in self._engine.step():
            turn = self._under_way.get(output.request_id)
            if turn is None:  # given up already
                continue
            written = output.outputs[0]
            ids = list(written.token_ids)
            ended = turn.end(ids)
            if ended is None and not output.finished:
                continue
            if not output.finished:
                self._engine.abort_request([output.request_id])
            del self._under_way[output.request_id]
            scores = [float(scored[token].logprob) for token, scored in zip(ids, written.logprobs, strict=True)]
            ids = ids[:ended]
            finished.append((turn.key, Completion(ids, scores[:ended], stopped=ids[-1] in turn.stop_ids)))
        return finished

    def forget(self) -> None:
        """Give up all that is under way."""
        if self._under_way:
            self._engine.abort_request(list(self._under_way))
            self._under_way.clear()

    def rest(self) -> None:
        """Sleep, where `sleep` is set, without weights: those that come next are others in any case."""
        super().rest()
        if self._sleeps and not self._engine.is_sleeping():
            self._step = self._base = None
            self._engine.sleep(level=2)

    def close(self) -> None:
        """End the engine and free its memory."""
        self.forget()
        with in_a_world_of_one():
            self._engine.engine_core.shutdown()
        del self._engine
        self._folder.cleanup()


def write_configuration(policy: Policy, folder: Path) -> str:
    """Write the model's configuration for vLLM, with a separate output layer; return the architecture's name.

    The name is that of the class which was loaded, from which the names of the weights follow: the language model alone
    where the checkpoint's own is one that sees as well. Classes made from it at run time (FSDP's) do not count.

    Tied to the input embedding it would stay behind without a word when float32 weights are reloaded on a CPU, where
    vLLM packs them (0.32). Untied it costs a second table of the vocabulary and is always right.
    """
    model = plain_model(policy)
    configuration = copy.deepcopy(model.config)
    configuration.tie_word_embeddings = False
    published = (kind for kind in type(model).__mro__ if kind.__module__.startswith("transformers"))
    name = next(published, type(model)).__name__
    configuration.architectures = [name]
    configuration.save_pretrained(folder)
    return name


def _check_architecture(name: str) -> None:
    """Report why vLLM has no model of this name, which it says only in its log."""
    import transformers
    from vllm import ModelRegistry

    known = ModelRegistry.models.get(name)
    if known is None and not hasattr(transformers, name):
        raise ValueError(f"it knows no architecture '{name}', and neither does transformers")
    if known is not None:
        try:
            known.load_model_cls()
        except ImportError as error:
            raise ValueError(f"its model '{name}' cannot be imported ({error}): install what is missing") from error


def dtype_of(policy: Policy, config: VllmConfig) -> str:
    """Return the type of number that an engine for the policy computes in, as torch calls it."""
    if config.dtype != "auto":
        return config.dtype
    return "bfloat16" if policy.compute == "bfloat16" else str(policy.model.dtype).removeprefix("torch.")


@contextlib.contextmanager
def _process_as_before() -> Iterator[None]:
    """Keep what vLLM sets for the whole process: seeds, and on a CPU the number of threads for good."""
    import random

    import numpy as np
    import torch

    python, numpy, threads = random.getstate(), np.random.get_state(), torch.set_num_threads
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_num_threads = threads
        # TRL looks at the version of a vLLM that it is not going to use.
        warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")


@contextlib.contextmanager
def _without_compilation() -> Iterator[None]:
    """Import vLLM with its small compiled functions as plain ones: building them takes a CPU longer than they save."""
    import torch._dynamo

    with torch._dynamo.config.patch(disable=True):
        yield
