"""The live policy, which is passed through the graph from one co-evolution step to the next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from sg_pipeline.config.base_model import Compute


@dataclass(frozen=True, slots=True)
class AdapterBase:
    """The base model of adapters.

    Attributes:
        path: its folder or hub id.
        revision: of the hub id.
        dtype: type of its weights.
        digest: sha256 of its weights.
    """

    path: str
    revision: str | None
    dtype: str
    digest: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The frozen reference policy of the KL term.

    Attributes:
        folder: its checkpoint.
        model: None if it is the policy without its adapters.
    """

    folder: Path
    model: PreTrainedModel | None


@dataclass
class Policy:
    """A causal language model with its tokenizer and the state of its training.

    Live and mutable on purpose: training changes the model in place, so that no step copies the weights.

    Attributes:
        model: any transformers causal language model, or PEFT's wrapper around one (see `policies.adapters`).
        tokenizer: with a chat template.
        step: number of co-evolution steps trained so far.
        optimizer_state: the optimizer's `state_dict()` after the last step; None before the first.
        name: origin of the policy (a path, a hub id, "tiny"), for reports.
        compute: precision of sampling and training, see `policies.compute`.
        adapter_base: the frozen base of its adapters, if it has any.
        imitation: position in a warm start that is not finished, see `training.imitation`; None: none.
        reference: the reference policy of the KL term, kept between steps; not part of a checkpoint.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    step: int = 0
    optimizer_state: dict[str, Any] | None = None
    name: str = "policy"
    compute: Compute = "weights"
    adapter_base: AdapterBase | None = None
    imitation: dict[str, Any] | None = None
    reference: Reference | None = None

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Return the tokens on which the model stops: `eos_token_id` of its generation config and its config.

        The default of its architecture counts only if it is a special token of the tokenizer.
        """
        config = self.model.config.get_text_config()
        ends: set[int] = set()
        for source in (self.model.generation_config, self.model.config, config):
            found = getattr(source, "eos_token_id", None)
            ends.update(found if isinstance(found, list | tuple) else [] if found is None else [found])
        default = getattr(type(config), "eos_token_id", None)
        if default not in {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}:
            ends.discard(default)
        return tuple(sorted(end for end in ends if 0 <= end < len(self.tokenizer)))

    def describe(self) -> str:
        """Describe the policy, for messages."""
        return f"the policy '{self.name}' at step {self.step}"

    def vocabulary(self) -> int:
        """Return the number of embeddings, which may exceed the number of tokens."""
        embeddings: Any = self.model.get_input_embeddings()
        return int(embeddings.weight.shape[0])

    def parameter_count(self) -> int:
        """Return the number of parameters, tied ones counted once, also where they are stored twice."""
        total = sum(parameter.numel() for parameter in self.model.parameters())
        model = causal_model(self.model)
        embedding: Any = model.get_input_embeddings()
        output: Any = model.get_output_embeddings()
        tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False) and output is not None
        return total - (output.weight.numel() if tied and output.weight is not embedding.weight else 0)


def causal_model(model: Any) -> PreTrainedModel:
    """Return the causal language model: `model`, or the one inside PEFT's wrapper with its adapters."""
    inner: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner


def has_adapters(policy: Policy) -> bool:
    """Whether the policy has adapters."""
    return policy.adapter_base is not None
