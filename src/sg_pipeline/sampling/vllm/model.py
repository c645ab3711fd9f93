"""What a vLLM server must know of a policy's model: its configuration, its number type, and what changes it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.policies.weights import plain_model

if TYPE_CHECKING:
    from sg_pipeline.config.sampling import VllmConfig
    from sg_pipeline.policies.policy import Policy

_WITHOUT_EFFECT = re.compile(
    r"_.*|use_cache|.*_token_ids?|.*(dropout|pdrop|drop_path|layerdrop|aux_loss|z_loss).*|initializer_.*|init_(xavier_)?std|"
    r"output_(attentions|hidden_states|router_logits)|architectures|(torch_)?dtype|tie_word_embeddings|"
    r"transformers_version|return_dict|id2label|label2id|problem_type"
)
"""Entries of a model's configuration that do not change what an engine computes from given tokens and weights: labels,
special tokens, what only training reads, what a server gets in another way (`write_configuration`). Libraries
write into them: TRL the padding token, a trainer `use_cache`. Any other entry counts, known here or not."""


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


def dtype_of(policy: Policy, config: VllmConfig) -> str:
    """Return the type of number that an engine for the policy computes in, as torch calls it."""
    if config.dtype != "auto":
        return config.dtype
    return "bfloat16" if policy.compute == "bfloat16" else str(policy.model.dtype).removeprefix("torch.")


def computed(configuration: Any) -> Any:
    """Return the entries of a configuration, and of those inside it, that change what an engine computes."""
    if not isinstance(configuration, dict):
        return configuration
    return {name: computed(value) for name, value in configuration.items() if not _WITHOUT_EFFECT.fullmatch(str(name))}
