"""From a policy and a configuration to its sampler; the engines that live on from step to step.

An engine starts in seconds to minutes and is brought up to date in much less, so a process keeps the one that it has:
`make_sampler` finds it again as long as it fits the policy. `close_engines` ends it, at the end of a run
and of the process.
"""

from __future__ import annotations

import atexit
import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.sampling import SamplingConfig
from sg_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy
    from sg_pipeline.sampling.base import Sampler
    from sg_pipeline.sampling.vllm.engine import Engine

logger = logging.getLogger(__name__)

_engines: dict[str, Engine] = {}
"""The engine of this process by what it was made for: at most one, it has much of the memory."""

_WITHOUT_EFFECT = re.compile(
    r"_.*|use_cache|.*_token_ids?|.*(dropout|pdrop|drop_path|layerdrop|aux_loss|z_loss).*|initializer_.*|init_(xavier_)?std|"
    r"output_(attentions|hidden_states|router_logits)|architectures|(torch_)?dtype|tie_word_embeddings|"
    r"transformers_version|return_dict|id2label|label2id|problem_type"
)
"""Entries of a model's configuration that do not change what an engine computes from given tokens and weights: labels,
special tokens, what only training reads, what an engine gets in another way (`local.write_configuration`). Libraries
write into them: TRL the padding token, a trainer `use_cache`. Any other entry counts, known here or not."""


def make_sampler(policy: Policy, config: SamplingConfig, temperature: float, max_length: int) -> Sampler:
    """Return a sampler of the policy as it is now; an engine with weights of its own is brought up to date first.

    Args:
        policy: its weights are not changed.
        config: which engine.
        temperature: 0 takes the likeliest token.
        max_length: tokens of the longest row.

    Raises:
        SamplingError: the engine does not start, is not reached, or does not take over the weights.
        ConfigurationError: the policy cannot be sampled from so.
    """
    if config.engine == "transformers":
        from sg_pipeline.sampling.transformers_sampler import TransformersSampler

        return TransformersSampler(policy.model, temperature, policy.compute, policy.describe())
    from sg_pipeline.sampling.vllm.session import VllmSampler

    engine = _engine(policy, config, max_length)
    engine.update(policy)
    return VllmSampler(engine, policy, temperature)


def rest_engines() -> float:
    """Let this process's engine free its memory for the training, where it can; `make_sampler` wakes it.

    Returns:
        Seconds that it took.
    """
    began = time.perf_counter()
    for engine in _engines.values():
        engine.rest()
    return time.perf_counter() - began


def close_engines() -> None:
    """End this process's engine; nothing where there is none."""
    for key in list(_engines):
        _engines.pop(key).close()


def _engine(policy: Policy, config: SamplingConfig, max_length: int) -> Engine:
    """Return the engine for models of the policy's shape, started at the first call."""
    from sg_pipeline.policies.weights import plain_model
    from sg_pipeline.sampling.vllm.adapters import room
    from sg_pipeline.sampling.vllm.local import dtype_of

    model = plain_model(policy)
    shape = model.config
    longest = getattr(shape.get_text_config(), "max_position_embeddings", None)
    if longest is not None and max_length > longest:
        raise ConfigurationError(
            f"rollout.max_length must lie between 1 and the model's max_position_embeddings ({longest}), found "
            f"{max_length}."
        )
    dtype = dtype_of(policy, config.vllm)
    adapters = room(policy, config.vllm, dtype)
    what = [config.model_dump(), max_length, dtype, type(model).__name__, _computed(shape.to_dict()), adapters]
    key = json.dumps(what, sort_keys=True, default=str)
    if key not in _engines:
        if adapters is None and dtype != "float32" and hasattr(policy.model, "peft_config"):
            logger.warning(
                "sampling.vllm.adapters is 'merged': %s weights lose every change smaller than their rounding, so the "
                "engine samples from another policy than the one that is trained (docs/vllm.md)",
                dtype,
            )
        close_engines()
        atexit.unregister(close_engines)
        atexit.register(close_engines)
        began = time.perf_counter()
        _engines[key] = _start(policy, config, max_length)
        logger.info("sampling engine '%s' is ready after %.0f s", config.engine, time.perf_counter() - began)
    return _engines[key]


def _start(policy: Policy, config: SamplingConfig, max_length: int) -> Engine:
    if config.engine == "vllm_server":
        from sg_pipeline.sampling.vllm.server import ServerEngine

        return ServerEngine(policy, config, max_length)
    from sg_pipeline.sampling.vllm.local import LocalEngine

    return LocalEngine(policy, config.vllm, max_length)


def _computed(configuration: Any) -> Any:
    """Return the entries of a configuration, and of those inside it, that change what an engine computes."""
    if not isinstance(configuration, dict):
        return configuration
    return {name: _computed(value) for name, value in configuration.items() if not _WITHOUT_EFFECT.fullmatch(str(name))}
