"""A vLLM server with a copy of the policy's weights: in another environment, on other GPUs or another machine.

It is plain `vllm serve` (0.32), called through its token routes, so the run needs no vLLM. New weights go through files
that both see. Each completion says which weights wrote it, so a server that another run has taken over is noticed at
once.

    turns    /inference/v1/generate, many at a time; the server batches them
    weights  /pause, /collective_rpc reload_weights, /v1/load_lora_adapter, /update_weight_version, /resume
    proof    /collective_rpc held_weights, held_adapters: fingerprints of what the server computes with (`held.py`)
    sleep    /sleep before a training step, /wake_up before new weights
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.distributed.world import world
from sg_pipeline.errors import GO_ON, ConfigurationError, SamplingError
from sg_pipeline.policies.weights import named_weights
from sg_pipeline.sampling.base import check_numbers, inference
from sg_pipeline.sampling.vllm.client import Client, NoAnswerError, RefusalError
from sg_pipeline.sampling.vllm.held import HeldWeights, combined, fingerprint
from sg_pipeline.sampling.vllm.server import ServerProcess, check_folder, check_server
from sg_pipeline.sampling.vllm.weights import (
    adapter_matrices,
    adapter_room,
    dtype_of,
    exchange_folder,
    write_weights,
)

if TYPE_CHECKING:
    from sg_pipeline.config.sampling import SamplingConfig
    from sg_pipeline.policies.policy import Policy

logger = logging.getLogger(__name__)

PROBE_GAP = {"float32": 2e-3, "bfloat16": 0.5, "float16": 0.2}
"""Largest |engine - policy| log-probability of a probe's tokens that rounding explains.

Measured with equal weights: 2e-6 in float32, up to 0.03 in bfloat16 (a tiny model); with other weights: 2 and more. The
probe cannot show whether a small update has arrived: fingerprints do.
"""
_PROBE_TOKENS = 16
_ENDING_S = 3.0
"""Time for the guard of a server that has died to clean up and report its exit code."""
_WAIT_S = 0.005
"""How long `poll` waits for a turn; environments that answer meanwhile wait as long."""


class VllmEngine:
    """Calls a server: with several servers, each rank its own. All ranks create one, and call `update`, together."""

    def __init__(self, policy: Policy, config: SamplingConfig, max_length: int) -> None:
        """Find the servers, or start one, and check that they fit; the policy's weights come with `update`.

        Raises:
            SamplingError: a server cannot be reached, does not start, or was started in a way that does not fit.
        """
        self.dtype = dtype_of(policy, config.vllm)
        self._room = adapter_room(policy, config.vllm, self.dtype)
        """Rank of the adapters that are sent separately; None: they are merged, or there are none."""
        self._policy: Callable[[], Policy | None] = lambda: None
        self._step: int | None = None
        self._label = ""  # of the weights that the servers hold
        self._base: str | None = None
        """Digest of the base weights that the servers hold, where adapters are sent separately."""
        self._compared = {"adapters"}
        """What can be compared: adapters always, weights once their fingerprints have been equal."""
        self._probed: tuple[Mapping[str, int], list[int], list[float]] | None = None
        """What the last update sent, and the tokens and log-probabilities that the engine then wrote."""
        self._process: ServerProcess | None = None
        here = world()
        with ExitStack() as stack:
            urls = here.on_first(lambda: self._urls(policy, config, max_length, stack))
            # Rank 0 updates all of them.
            called = dict.fromkeys(urls) if here.first else [urls[here.rank % len(urls)]]
            self._clients = [stack.enter_context(closing(Client(url, config.server.answer_s))) for url in called]
            self._own = self._clients[0]
            wanted = policy, config.vllm, self.dtype, max_length, self._room
            found = here.each(lambda: [check_server(client, *wanted) for client in self._clients])
            self._sleeps = here.on_first(lambda: self._prepare(config, found, stack))
            self._opened = stack.pop_all()

    def _urls(self, policy: Policy, config: SamplingConfig, max_length: int, stack: ExitStack) -> tuple[str, ...]:
        if config.server.url:
            return config.server.url
        size = world().size
        if size > int(os.environ.get("LOCAL_WORLD_SIZE", size)):
            raise ConfigurationError(
                "sampling.server.executable starts a server on one machine, but this run uses several: start the "
                "servers yourself and list them in sampling.server.url"
            )
        self._process = ServerProcess(policy, config, self.dtype, max_length, self._room)
        stack.callback(self._process.close)
        return (self._process.url,)

    def _prepare(self, config: SamplingConfig, found: Sequence[Mapping[str, Any]], stack: ExitStack) -> bool:
        """Prepare rank 0 for updates; return whether the servers can sleep while the policy is trained."""
        extensions = [str(info.get("parallel_config", {}).get("worker_extension_cls")) for info in found]
        self._shows = all(name.endswith(HeldWeights.__name__) for name in extensions)
        # The guard of a server that the run has started deletes the server's folder, even if the run is killed.
        parent = self._process.folder if self._process and config.server.weights is None else config.server.weights
        self._folder = Path(stack.enter_context(exchange_folder(parent)))
        for client in self._clients:
            check_folder(client, self._folder)
        can_sleep = all(info["model_config"].get("enable_sleep_mode") for info in found)
        if config.vllm.sleep and not can_sleep:
            logger.warning(
                "sampling.vllm.sleep is ignored: the vLLM server runs on a CPU or without --enable-sleep-mode"
            )
        return config.vllm.sleep and can_sleep

    def holds(self, policy: Policy) -> bool:
        """Whether the servers have the weights of `policy` as it is now: the same object, after as many steps."""
        return self._policy() is policy and self._step == policy.step

    def update(self, policy: Policy) -> bool:
        """Make sure that the servers hold the policy's weights; return whether they had to be sent.

        Raises:
            SamplingError: a server does not hold what was sent, or computes something else with it.
        """
        if self.holds(policy):
            return False
        self.forget()
        self._step = None
        self._label, sent, held = world().on_first(lambda: self._publish(policy))
        equal = self._compare(policy, sent, held)
        ids, logprobs, gap = self._probe(policy)
        if not gap <= PROBE_GAP[self.dtype]:
            kind = type(policy.model).__name__
            found = (
                f"holds all weights of a {kind}, but computes another model" if equal else f"lacks weights of a {kind}"
            )
            raise SamplingError(
                f"after an update to step {policy.step} the log-probabilities of the vLLM engine ({self.dtype}) differ "
                f"from the policy's by up to {gap:.3g}, but rounding explains {PROBE_GAP[self.dtype]:g}: the engine "
                f"{found}; choose sampling.engine=transformers"
            )
        if self._probed and not equal:
            before, *written = self._probed
            if written == [ids, logprobs] and any(before.get(kind, value) != value for kind, value in sent.items()):
                raise _stale(policy, "it writes the same as before, to the last bit of every log-probability")
        self._probed = sent, ids, logprobs
        self._policy, self._step = weakref.ref(policy), policy.step
        logger.debug("vLLM holds step %d of %s, gap of the probe %.2g", policy.step, policy.name, gap)
        return True

    def _publish(self, policy: Policy) -> tuple[str, dict[str, int], list[dict[str, int]] | None]:
        """Send the policy's weights to all servers.

        Returns:
            The label of these weights; the fingerprints of what was sent ("weights", "adapters"); those of what each
            server computes with (None: they cannot be asked).
        """
        label = f"{socket.gethostname()}:{os.getpid()}, {policy.name}, step {policy.step}, {uuid.uuid4().hex[:8]}"
        files = self._folder / f"step_{policy.step:06d}-{label[-8:]}"
        base = None if self._room is None or policy.adapter_base is None else policy.adapter_base.digest
        send_base = base is None or base != self._base
        self._base = None
        try:
            if send_base:
                write_weights(policy, files, self.dtype, adapters=self._room is None)
            if self._room is not None:
                model: Any = policy.model
                model.save_pretrained(files / "adapters", save_embedding_layers=False)
            with ThreadPoolExecutor(len(self._clients)) as threads:
                list(threads.map(lambda client: self._hand_over(client, files, label, send_base), self._clients))
        except SamplingError as error:
            if files.parent.is_dir() or not (fate := self._fate()):
                raise
            raise SamplingError(f"the vLLM server at {self._own.url} is gone: {fate}{GO_ON}") from error
        finally:
            shutil.rmtree(files, ignore_errors=True)
        self._base = base
        sent: dict[str, int] = {}
        if send_base:
            weights = named_weights(policy, adapters=self._room is None)
            sent["weights"] = fingerprint((weight for _, weight in weights), self.dtype)
        if self._room is not None:
            sent["adapters"] = fingerprint(adapter_matrices(policy, self.dtype), self.dtype)
        return label, sent, [self._held(client, sent) for client in self._clients] if self._shows else None

    def _hand_over(self, client: Client, files: Path, label: str, send_base: bool) -> None:
        with self._explained(client, "has not taken over new weights, and may hold neither the old nor the new ones"):
            if self._sleeps:
                client.post("/wake_up")  # which changes nothing if it is awake
            client.post("/pause", mode="abort")  # drops the keys and values of the former weights
            if send_base:
                client.post("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(files)}})
            if self._room is not None:
                # Keys and values are cached by the adapters' name, so each update has a separate one.
                for model in client.get("/v1/models")["data"]:
                    if model.get("parent") is not None:
                        client.post("/v1/unload_lora_adapter", {"lora_name": model["id"]})
                client.post("/v1/load_lora_adapter", {"lora_name": label, "lora_path": str(files / "adapters")})
            client.post("/update_weight_version", {"new_version": label})
            client.post("/resume")

    def _held(self, client: Client, kinds: Mapping[str, int]) -> dict[str, int]:
        """Return the fingerprints of what a server computes with."""
        held = {}
        with self._explained(client, "does not show its weights"):
            for kind in kinds:
                answer = client.post("/collective_rpc", {"method": f"held_{kind}", "kwargs": {"dtype": self.dtype}})
                held[kind] = combined(answer["results"])
        return held

    def _compare(self, policy: Policy, sent: Mapping[str, int], held: Sequence[Mapping[str, int]] | None) -> bool:
        """Return whether every server holds what was sent, as far as it can be compared.

        Raises:
            SamplingError: one does not, although it stores such weights in a form that can be compared.
        """
        unequal = {kind for kind, value in sent.items() if held is None or any(one[kind] != value for one in held)}
        if held is not None:
            if kinds := " and ".join(sorted(unequal & self._compared)):
                raise _stale(policy, f"the fingerprint of its {kinds} is not that of what was sent")
            self._compared |= sent.keys() - unequal
        if unequal and self._probed is None:
            logger.warning(
                "the vLLM engine %s (%s): updates are checked only by what it writes, which shows whether a whole "
                "update is missing, but not whether a part of a small one is (docs/vllm.md)",
                "cannot be asked for its weights"
                if held is None
                else "stores weights in another form than it gets them",
                type(policy.model).__name__,
            )
        return not unequal

    def _probe(self, policy: Policy) -> tuple[list[int], list[float], float]:
        """Let this rank's server continue tokens from all over the vocabulary.

        Returns:
            What it wrote, its log-probabilities, and the largest |engine - policy| log-probability.
        """
        import torch

        model = policy.model
        known = min(policy.vocabulary(), len(policy.tokenizer))
        prompt = [known * index // _PROBE_TOKENS for index in range(_PROBE_TOKENS)]
        self.submit(0, prompt, (), max_new_tokens=_PROBE_TOKENS, temperature=1.0, seed=0)
        written: list[tuple[int, list[int], list[float]]] = []
        while not written:
            written = self.poll()
        ((_, ids, logprobs),) = written
        tokens = torch.tensor([[*prompt, *ids]], device=model.device)
        with inference(model, policy.compute):
            logits = model(input_ids=tokens, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
        own = torch.log_softmax(logits, dim=-1).gather(-1, tokens[0, len(prompt) :, None])[:, 0].cpu()
        check_numbers(own.tolist(), policy.describe())
        return ids, logprobs, float((own - torch.tensor(logprobs)).abs().max())

    def submit(
        self, key: int, ids: Sequence[int], stop_ids: Sequence[int], max_new_tokens: int, temperature: float, seed: int
    ) -> None:
        """Start a turn; `poll` returns it under `key`, which no other turn under way has.

        `ids` are all tokens of the row so far, of which there is at least one; `seed` decides the turn's draws alone.
        """
        parameters = {
            "temperature": temperature,
            "seed": seed,
            "max_tokens": max_new_tokens,
            "stop_token_ids": list(stop_ids),
            "ignore_eos": True,  # a turn ends on `stop_ids` alone
            "logprobs": 0,  # of the token that was drawn
            "detokenize": False,
        }
        model = {} if self._room is None else {"model": self._label}  # the name of the adapters
        self._own.begin(key, "/inference/v1/generate", {"token_ids": list(ids), "sampling_params": parameters, **model})

    def poll(self) -> list[tuple[int, list[int], list[float]]]:
        """Wait for a moment; return finished turns: key, sampled tokens, their log-probabilities.

        A `SamplingError` if the server has failed, or does not hold this run's weights any more.
        """
        try:
            return [(key, *self._written(answer)) for key, answer in self._own.finished(_WAIT_S)]
        except SamplingError:
            self.forget()
            raise

    def _written(self, answer: Any) -> tuple[list[int], list[float]]:
        with self._explained(self._own, "does not write a turn"):
            if isinstance(answer, Exception):
                raise answer
        choice = answer["choices"][0]
        holders = {span["version"] for span in choice["weight_versions"] or ()}
        if choice["finish_reason"] == "abort" or holders != {self._label}:
            other = " and ".join(sorted(repr(label) for label in holders - {self._label})) or "others"
            raise SamplingError(
                f"the vLLM server at {self._own.url} does not hold this run's weights ('{self._label}') any more, "
                f"but {other}: it was restarted, or another run uses it; give each run its own server, then {GO_ON}"
            )
        return choice["token_ids"], [float(token["logprob"]) for token in choice["logprobs"]["content"]]

    @contextmanager
    def _explained(self, client: Client, refusal: str) -> Iterator[None]:
        """Turn a failed request into a sentence; `refusal` says what the server did not do."""
        try:
            yield
        except NoAnswerError as error:
            raise SamplingError(
                f"the vLLM server at {client.url} does not answer any more ({error}); {self._fate()}check that it "
                f"runs, then {GO_ON}"
            ) from error
        except RefusalError as error:
            raise SamplingError(
                f"the vLLM server at {client.url} {refusal} ({error.status}: {error}); {self._fate()}restart it with "
                f"the policy's own model, then {GO_ON}"
            ) from error

    def _fate(self) -> str:
        ending = self._process and self._process.ending(_ENDING_S)
        return f"{ending}; " if ending else ""

    def forget(self) -> None:
        """Abandon all turns under way."""
        self._own.forget()

    def rest(self) -> None:
        """Abandon all turns, and let the servers sleep without weights: the next update sends others anyway."""
        self.forget()
        if self._sleeps and self._step is not None:
            world().on_first(self._sleep)
            self._step = self._base = None

    def _sleep(self) -> None:
        for client in self._clients:
            with self._explained(client, "does not sleep"):
                client.post("/sleep", level="2")

    def close(self) -> None:
        """End the server, if this run has started it, and delete the folder for weights."""
        self._opened.close()


def _stale(policy: Policy, why: str) -> SamplingError:
    return SamplingError(
        f"after an update to step {policy.step} the vLLM engine does not hold the weights of a "
        f"{type(policy.model).__name__} that it was sent: {why}; choose sampling.engine=transformers"
    )
