"""Whether a running vLLM server is one that a run can use: asked once, before anything is sampled.

Everything that would give wrong turns, or fail in the middle of a run, is told with the flag that mends it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.errors import SamplingError
from sg_pipeline.policies.weights import plain_model
from sg_pipeline.sampling.vllm.client import Client, NoAnswerError, RefusalError
from sg_pipeline.sampling.vllm.held import HeldWeights

if TYPE_CHECKING:
    from sg_pipeline.config.sampling import VllmConfig
    from sg_pipeline.policies.policy import Policy

logger = logging.getLogger(__name__)

_NOT_FOUND = 404
_TABLE = re.compile(r"VocabParallelEmbedding\w*\(num_embeddings=(\d+).*?embedding_dim=(\d+)", re.DOTALL)


def check_server(
    client: Client, policy: Policy, config: VllmConfig, dtype: str, max_length: int, rank: int | None = None
) -> None:
    """Make sure that the server can write for `policy`.

    Args:
        client: of the server.
        policy: of the shape that its model must have.
        config: what the engine is to be.
        dtype: that it must compute in, as torch calls it.
        max_length: tokens of the longest row.
        rank: of the adapters that it must have room for; None: of none.

    Raises:
        SamplingError: it is not reached, or was started in another way; says which flag it needs.
    """
    where = f"the vLLM server at {client.url}"
    try:
        version = _asked(client, "/version", f"{client.url} does not answer like a vLLM server").get("version")
        info = _asked(
            client,
            "/server_info",
            f"{where} does not take new weights, as its development routes are off: start it with "
            f"VLLM_SERVER_DEV_MODE=1 in its environment",
            config_format="json",
        )["vllm_config"]
        _asked(
            client,
            "/weight_info",
            f"{where} is vLLM {version}, which does not tell whose weights it holds, as 0.32 does: start a newer one",
        )
        if complaints := [*_complaints(info, config, dtype, max_length, rank)]:
            raise SamplingError(f"{where} {'; '.join(complaints)}")
        shape = client.post("/collective_rpc", {"method": "get_model_inspection"})["results"][0]
        if differences := [*_differences(str(shape), policy)]:
            raise SamplingError(
                f"{where} holds another model than {policy.name}: {'; '.join(differences)}; start it with the "
                f"policy's own"
            )
        client.post("/resume")  # a run that was killed during an update has left it paused
        _try_tokens(client, where)
    except NoAnswerError as error:
        raise SamplingError(
            f"{where} cannot be reached ({error}): start it as docs/vllm.md says, or set sampling.server.url to another"
        ) from error
    except (RefusalError, KeyError, TypeError, AttributeError) as error:
        raise SamplingError(f"{where} is not understood ({type(error).__name__}: {error})") from error


def shows_weights(client: Client) -> bool:
    """Whether the server's workers can be asked what they hold (`held.HeldWeights`)."""
    info = client.get("/server_info", config_format="json")["vllm_config"]
    return str(info.get("parallel_config", {}).get("worker_extension_cls")).endswith(HeldWeights.__name__)


def can_sleep(client: Client) -> bool:
    """Whether the server was started with --enable-sleep-mode; a warning where it was not."""
    info = client.get("/server_info", config_format="json")["vllm_config"]
    able = bool(info["model_config"].get("enable_sleep_mode"))
    if not able:
        logger.warning(
            "sampling.vllm.sleep is ignored: the vLLM server at %s runs on a CPU or without --enable-sleep-mode",
            client.url,
        )
    return able


def check_folder(client: Client, folder: Path) -> None:
    """Make sure that the server reads what is written to `folder`, without touching its weights.

    A reload that fails after it has begun leaves a model behind that ends the server at the next request. One that is
    told to take tensors as they are changes nothing before the first tensor, and here there is none.

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


def _try_tokens(client: Client, where: str) -> None:
    try:
        client.post(
            "/inference/v1/generate", {"token_ids": [0], "sampling_params": {"max_tokens": 1, "detokenize": False}}
        )
    except RefusalError as error:
        raise SamplingError(f"{where} takes no tokens ({error}): start it with the flag --enable-scale-out") from error


def _asked(client: Client, path: str, missing: str, **parameters: str) -> Any:
    try:
        return client.get(path, **parameters)
    except RefusalError as error:
        if error.status == _NOT_FOUND:
            raise SamplingError(missing) from error
        raise


def _complaints(
    info: dict[str, Any], config: VllmConfig, dtype: str, max_length: int, rank: int | None
) -> Iterator[str]:
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
            f"computes in {found}, but {dtype} is wanted (sampling.vllm.dtype is {config.dtype!r}): start it with "
            f"--dtype {dtype}"
        )
    if model["quantization"] is not None:
        yield f"has quantised weights ({model['quantization']}), which the policy has not: start it without"
    if rank is not None and ((info.get("lora_config") or {}).get("max_lora_rank") or 0) < rank:
        yield (
            f"has no room for adapters of rank {rank}, which are not merged into {dtype} weights: start it with "
            f"--enable-lora --max-loras 1 --max-lora-rank {rank} and with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 in its "
            f"environment"
        )
    if cache["enable_prefix_caching"] != config.prefix_caching:
        no = "" if config.prefix_caching else "no-"
        yield (
            f"has prefix caching {'off' if config.prefix_caching else 'on'}, but sampling.vllm.prefix_caching is "
            f"{str(config.prefix_caching).lower()}: start it with --{no}enable-prefix-caching"
        )


def _differences(shape: str, policy: Policy) -> Iterator[str]:
    """Compare what a server says of its modules with the policy; what it does not say is left to the probe."""
    config = plain_model(policy).config.get_text_config()
    found: dict[str, int] = {}
    if table := _TABLE.search(shape):
        found |= {"vocab_size": int(table[1]), "hidden_size": int(table[2])}
    for name, value in found.items():
        if (wanted := getattr(config, name, value)) != value:
            yield f"{name} is {value} there and {wanted} here"
