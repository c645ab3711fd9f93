"""A vLLM server in a process of its own: another environment, other GPUs, another machine.

It is plain `vllm serve` (0.32), asked by its token routes, so the run needs no vLLM. New weights go through files that
both see. Each completion tells which weights wrote it: a server that another run has taken over is noticed at once.

    turns    /inference/v1/generate, many at a time; the server batches them
    weights  /pause, /collective_rpc reload_weights, /v1/load_lora_adapter, /update_weight_version, /resume;
             /collective_rpc held_weights where the server has `held.py`
    sleep    /sleep before a training step, /wake_up before new weights
"""

from __future__ import annotations

import json
import logging
import os
import socket
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.errors import GO_ON, ConfigurationError, SamplingError
from sg_pipeline.policies.weights import plain_model
from sg_pipeline.sampling.base import Completion, StopWhen
from sg_pipeline.sampling.engines import keep_engine
from sg_pipeline.sampling.vllm import adapters
from sg_pipeline.sampling.vllm.client import Client, NoAnswerError, RefusalError
from sg_pipeline.sampling.vllm.engine import Engine, Request
from sg_pipeline.sampling.vllm.held import combined
from sg_pipeline.sampling.vllm.model import computed, dtype_of
from sg_pipeline.sampling.vllm.server_check import can_sleep, check_folder, check_server, shows_weights
from sg_pipeline.sampling.vllm.server_process import ServerProcess
from sg_pipeline.sampling.vllm.session import VllmSampler
from sg_pipeline.sampling.vllm.weight_files import exchange_folder, write_weights

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy

logger = logging.getLogger(__name__)

_GENERATE = "/inference/v1/generate"
_ADAPTERS = "adapters"
_ENDING_S = 3.0
"""A server that was killed is cleaned up by its guard meanwhile."""
_WAIT_S = 0.005
"""How long `poll` waits for a turn to be finished; environments that answer meanwhile wait as long."""


class ServerEngine(Engine):
    """Asks a server, this rank's where there are several. All ranks make one, and call `update`, together."""

    _base: str | None = None
    """Digest of the base weights that the servers hold, where adapters are sent separately."""
    _shows = False
    """Whether all servers can be asked what they hold."""
    _sleeps = False
    """Whether the servers give up their memory while the policy is trained."""
    _asleep = False

    def __init__(self, policy: Policy, config: SamplingConfig, max_length: int) -> None:
        """Find the servers, or start one, and make sure that they fit.

        Args:
            policy: of this configuration and type of number; its weights come with `update`.
            config: whose `server` says where.
            max_length: tokens of the longest row.

        Raises:
            SamplingError: a server is not reached, does not start, or was started in a way that does not fit.
        """
        super().__init__(dtype_of(policy, config.vllm))
        self._open = ExitStack()
        self._under_way: dict[int, tuple[Request, StopWhen | None]] = {}
        self._label = ""
        self._room = adapters.room(policy, config.vllm, self.dtype)
        self._process: ServerProcess | None = None
        here = world()
        try:
            urls = here.on_first(lambda: self._urls(policy, config, max_length))
            own = urls[here.rank % len(urls)]
            # Rank 0 brings all of them up to date.
            self._clients = {
                url: self._client(url, config) for url in ([*dict.fromkeys(urls)] if here.first else [own])
            }
            self._own = self._clients[own]
            here.everywhere(lambda: check_server(self._own, policy, config.vllm, self.dtype, max_length, self._room))
            here.on_first(lambda: self._prepare_folder(policy, config, max_length))
            self._sleeps = config.vllm.sleep and here.on_first(lambda: all(map(can_sleep, self._clients.values())))
        except BaseException:
            self._open.close()
            raise

    def _urls(self, policy: Policy, config: SamplingConfig, max_length: int) -> tuple[str, ...]:
        if config.server.url:
            return config.server.url
        here = world()
        if here.size > int(os.environ.get("LOCAL_WORLD_SIZE", here.size)):
            raise ConfigurationError(
                "sampling.server.executable starts a server on one machine, but this run has several: start the "
                "servers yourself and name them in sampling.server.url"
            )
        self._process = ServerProcess(policy, config, self.dtype, max_length, self._room)
        self._open.callback(self._process.close)
        return (self._process.url,)

    def _client(self, url: str, config: SamplingConfig) -> Client:
        client = Client(url, config.server.answer_s)
        self._open.callback(client.close)
        return client

    def _prepare_folder(self, policy: Policy, config: SamplingConfig, max_length: int) -> None:
        """Rank 0: the folder for weights, and the servers that are no other rank's."""
        # With a server of its own the run leaves nothing, even killed: the guard deletes the server's folder.
        parent = self._process.folder if self._process and config.server.weights is None else config.server.weights
        self._shows = all([shows_weights(client) for client in self._clients.values()])
        self._folder: Path = self._open.enter_context(exchange_folder(parent))
        for client in self._clients.values():
            if client is not self._own:
                check_server(client, policy, config.vllm, self.dtype, max_length, self._room)
            check_folder(client, self._folder)

    def load(self, policy: Policy) -> None:
        """Take over the policy's weights; rank 0 hands them to all servers while the others wait."""
        self._label = world().on_first(lambda: self._publish(policy))
        self._asleep = False

    def sent(self, policy: Policy) -> dict[str, int]:
        """Return the fingerprints of what the last `load` must have sent."""
        return world().on_first(lambda: super(ServerEngine, self).sent(policy))

    def held(self, kinds: Iterable[str]) -> list[dict[str, int]] | None:
        """Return the fingerprints of what each server computes with."""
        asked = list(kinds)
        return world().on_first(
            lambda: (
                [{kind: self._held(client, kind) for kind in asked} for client in self._clients.values()]
                if self._shows
                else None
            )
        )

    def _held(self, client: Client, kind: str) -> int:
        try:
            answer = client.post("/collective_rpc", {"method": f"held_{kind}", "kwargs": {"dtype": self.dtype}})
        except NoAnswerError as error:
            raise SamplingError(self._lost(client, error)) from error
        except RefusalError as error:
            raise SamplingError(f"the vLLM server at {client.url} does not show its weights ({error})") from error
        return combined(answer["results"])

    def _publish(self, policy: Policy) -> str:
        label = f"{socket.gethostname()}:{os.getpid()}, {policy.name}, step {policy.step}, {uuid.uuid4().hex[:8]}"
        files = self._folder / f"step_{policy.step:06d}-{label[-8:]}"
        base = None if self._room is None or policy.adapter_base is None else policy.adapter_base.digest
        self._base_sent = base is None or base != self._base
        self._base = None
        try:
            self._write(policy, files)
            with ThreadPoolExecutor(len(self._clients)) as threads:
                for _ in threads.map(lambda client: self._hand_over(client, files, label), self._clients.values()):
                    pass
        finally:
            _delete(files)
        self._base = base
        return label

    def _write(self, policy: Policy, files: Path) -> None:
        try:
            if self._base_sent:
                write_weights(policy, files, self.dtype, adapters=self._room is None)
            if self._room is not None:
                adapters.write_adapters(policy, files / _ADAPTERS)
        except SamplingError as error:
            if fate := self._fate():  # the folder is gone with the server
                raise SamplingError(f"the vLLM server at {self._own.url} is gone: {fate}{GO_ON}") from error
            raise

    def rest(self) -> None:
        """Give up what is under way, and let the servers sleep without weights: the next ones differ in any case."""
        super().rest()
        if self._sleeps and not self._asleep:
            world().on_first(self._sleep)
            self._step = self._base = None
            self._asleep = True

    def _sleep(self) -> None:
        for client in self._clients.values():
            try:
                client.post("/sleep", level="2")
            except NoAnswerError as error:
                raise SamplingError(self._lost(client, error)) from error

    def _hand_over(self, client: Client, files: Path, label: str) -> None:
        try:
            if self._asleep:
                client.post("/wake_up")
            client.post("/pause", mode="abort")  # which drops the keys and values of the former weights
            if self._base_sent:
                client.post("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(files)}})
            if self._room is not None:
                self._replace_adapters(client, files / _ADAPTERS, label)
            client.post("/update_weight_version", {"new_version": label})
            client.post("/resume")
        except NoAnswerError as error:
            raise SamplingError(self._lost(client, error)) from error
        except RefusalError as error:
            raise SamplingError(
                f"the vLLM server at {client.url} has not taken over new weights ({error}), and may hold neither "
                f"the old nor the new ones: start it again, with the policy's own model, then {GO_ON}"
            ) from error

    def _replace_adapters(self, client: Client, folder: Path, label: str) -> None:
        """Load adapters under the name `label`, and unload those of the update before, and of a former run."""
        for model in client.get("/v1/models")["data"]:
            if model.get("parent") is not None:
                client.post("/v1/unload_lora_adapter", {"lora_name": model["id"]})
        client.post("/v1/load_lora_adapter", {"lora_name": label, "lora_path": str(folder)})

    def submit(self, key: int, request: Request, stop_when: StopWhen | None = None) -> None:
        """Begin a request (see `Engine.submit`).

        `stop_when` is applied to the finished turn, which is cut: the server writes on to `max_new_tokens`.
        """
        self._under_way[key] = request, stop_when
        body: dict[str, Any] = {"token_ids": request.ids, "sampling_params": request.parameters()}
        if self._room is not None:
            body["model"] = self._label  # the name of the adapters
        self._own.begin(key, _GENERATE, body)

    def poll(self) -> list[tuple[int, Completion]]:
        """Return what the server has finished; wait a moment for it."""
        finished: list[tuple[int, Completion]] = []
        if not self._under_way:
            return finished
        try:
            for key, answer in self._own.finished(_WAIT_S):
                finished.append((key, self._completion(answer, *self._under_way.pop(key))))
        except SamplingError:
            self.forget()
            raise
        return finished

    def _completion(self, answer: Any, request: Request, stop_when: StopWhen | None) -> Completion:
        if isinstance(answer, NoAnswerError):
            raise SamplingError(self._lost(self._own, answer)) from answer
        if isinstance(answer, RefusalError):
            raise SamplingError(
                f"the vLLM server at {self._own.url} does not write a turn ({answer.status}: {answer}); "
                f"{self._fate()}start it again, then {GO_ON}"
            ) from answer
        if isinstance(answer, Exception):
            raise answer
        choice = answer["choices"][0]
        holders = {span["version"] for span in choice["weight_versions"] or ()}
        if choice["finish_reason"] == "abort" or holders != {self._label}:
            other = " and ".join(sorted(repr(label) for label in holders - {self._label})) or "others"
            raise SamplingError(
                f"the vLLM server at {self._own.url} does not hold this run's weights ('{self._label}') any more, "
                f"but {other}: it was started again, or another run uses it; give each run a server of its own, then "
                f"{GO_ON}"
            )
        ids = choice["token_ids"]
        scores = [float(token["logprob"]) for token in choice["logprobs"]["content"]]
        if stop_when is not None:
            end = next((count for count in range(1, len(ids) + 1) if stop_when(ids[:count])), len(ids))
            ids, scores = ids[:end], scores[:end]
        return Completion(ids, scores, stopped=ids[-1] in request.stop_ids)

    def _lost(self, client: Client, error: NoAnswerError) -> str:
        return (
            f"the vLLM server at {client.url} does not answer any more ({error}); {self._fate()}see that it runs, then "
            f"{GO_ON}"
        )

    def _fate(self) -> str:
        told = self._process and self._process.obituary(_ENDING_S)
        return f"{told}; " if told else ""

    def forget(self) -> None:
        """Give up all that is under way."""
        self._own.forget()
        self._under_way.clear()

    def close(self) -> None:
        """End the server, if it was started from here, and delete the folder for weights."""
        self._open.close()


def _delete(folder: Path) -> None:
    import shutil

    for name in (folder, folder.with_name(f"{folder.name}.partial")):
        shutil.rmtree(name, ignore_errors=True)


def make_sampler(policy: Policy, config: SamplingConfig, temperature: float, max_length: int) -> VllmSampler:
    """Return a sampler on this process's server, which holds the policy's weights (see `sampling.engines`)."""
    engine = engine_for(policy, config, max_length)
    engine.update(policy)
    return VllmSampler(engine, policy, temperature)


def engine_for(policy: Policy, config: SamplingConfig, max_length: int) -> Engine:
    """Return the engine for models of the policy's shape, started at the first call."""
    model = plain_model(policy)
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and max_length > longest:
        raise ConfigurationError(
            f"rollout.max_length must be between 1 and the model's max_position_embeddings ({longest}), found "
            f"{max_length}."
        )
    dtype = dtype_of(policy, config.vllm)
    room = adapters.room(policy, config.vllm, dtype)
    if room is None and dtype != "float32" and hasattr(policy.model, "peft_config"):
        logger.warning(
            "sampling.vllm.adapters is 'merged': %s weights lose every change smaller than their rounding, so the "
            "engine samples from another policy than the one that is trained (docs/vllm.md)",
            dtype,
        )
    what = [config.model_dump(), max_length, dtype, type(model).__name__, computed(model.config.to_dict()), room]
    key = json.dumps(what, sort_keys=True, default=str)
    engine = keep_engine(key, config.engine, lambda: ServerEngine(policy, config, max_length))
    return cast("Engine", engine)
