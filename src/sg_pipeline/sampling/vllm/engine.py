"""What the session wants of an engine: requests in, completions out, and to know whose weights it holds."""

from __future__ import annotations

import logging
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sg_pipeline.errors import SamplingError
from sg_pipeline.policies.weights import named_weights
from sg_pipeline.sampling.base import Completion, StopWhen, check_numbers
from sg_pipeline.sampling.vllm.adapters import matrices
from sg_pipeline.sampling.vllm.held import fingerprint

if TYPE_CHECKING:
    from sg_pipeline.policies.policy import Policy

logger = logging.getLogger(__name__)

PROBE_GAP = {"float32": 2e-3, "bfloat16": 0.5, "float16": 0.2}
"""|engine - policy| log-probability of a probe's tokens beyond which the engine computes another model.

Measured on equal weights: 2e-6 in float32, up to 0.03 in bfloat16 (a tiny model); nothing taken over: 2 and more. It
cannot show whether a small update has arrived: `held` does.
"""
_PROBE_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Request:
    """One turn to be written.

    Attributes:
        ids: all tokens of the row so far.
        stop_ids: tokens that end the turn.
        max_new_tokens: at least 1.
        temperature: 0 takes the likeliest token.
        seed: of this request's draws, which depend on nothing else.
    """

    ids: list[int]
    stop_ids: tuple[int, ...]
    max_new_tokens: int
    temperature: float
    seed: int

    def parameters(self) -> dict[str, Any]:
        """Return how it is to be written, as vLLM's `SamplingParams` and its server call it."""
        return {
            "temperature": self.temperature,
            "seed": self.seed,
            "max_tokens": self.max_new_tokens,
            "stop_token_ids": list(self.stop_ids),
            "ignore_eos": True,  # what ends a turn is said by `stop_ids` alone
            "logprobs": 0,  # of the token that was drawn
            "detokenize": False,
        }


class Engine(ABC):
    """An engine with weights of its own. Subclasses say how it is asked and how it is brought up to date.

    Attributes:
        dtype: that it computes in, as torch calls it.
    """

    def __init__(self, dtype: str) -> None:
        """Begin without any policy's weights."""
        self.dtype = dtype
        self._policy: Callable[[], Policy | None] = lambda: None
        self._step: int | None = None
        self._room: int | None = None
        """Rank of the adapters that are sent separately; None: they are merged, or there are none."""
        self._base_sent = True
        """Whether the last update sent weights, not adapters alone."""
        self._compared = {"adapters"}
        """What can be compared: adapters always, weights once their fingerprints have been equal."""
        self._probed: tuple[dict[str, int], Completion] | None = None
        """What was sent by the last update, and what the engine then wrote."""

    @abstractmethod
    def submit(self, key: int, request: Request, stop_when: StopWhen | None = None) -> None:
        """Begin a request; `poll` gives its completion under `key`, which no other request under way has."""

    @abstractmethod
    def poll(self) -> list[tuple[int, Completion]]:
        """Let the engine work for a moment; return what is finished. Nothing where nothing is under way."""

    @abstractmethod
    def forget(self) -> None:
        """Give up all that is under way."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds; it is not used again."""

    @abstractmethod
    def load(self, policy: Policy) -> None:
        """Take over the policy's weights, and drop all that was computed with others."""

    def sent(self, policy: Policy) -> dict[str, int]:
        """Return the fingerprints of what the last `load` must have sent ("weights", "adapters"), from the policy."""
        sent = {}
        if self._base_sent:
            weights = named_weights(policy, adapters=self._room is None)
            sent["weights"] = fingerprint((weight for _, weight in weights), self.dtype)
        if self._room is not None:
            sent["adapters"] = fingerprint(matrices(policy, self.dtype), self.dtype)
        return sent

    @abstractmethod
    def held(self, kinds: Iterable[str]) -> list[dict[str, int]] | None:
        """Return the fingerprints of what the engine, or each of several, computes with; None: it cannot be asked."""

    def rest(self) -> None:
        """Give up what is under way; an engine that can also frees its memory until the next `update`."""
        self.forget()

    @property
    def step(self) -> int | None:
        """Training steps behind the weights that it holds; None before it has any."""
        return self._step

    def holds(self, policy: Policy) -> bool:
        """Whether its weights are those of `policy` as it is now: the same object, after as many training steps."""
        return self._policy() is policy and self._step == policy.step

    def update(self, policy: Policy) -> bool:
        """Make sure that its weights are the policy's.

        Returns:
            Whether they were not.

        Raises:
            SamplingError: the engine does not hold what was sent, or computes something else with it.
        """
        if self.holds(policy):
            return False
        self.forget()
        self._step = None
        try:
            self.load(policy)
            sent = self.sent(policy)
            same = self._compare(policy, sent)
            completion, gap = self.probe(policy)
        except (RuntimeError, ValueError, LookupError) as error:  # what vLLM's models and kernels raise
            raise SamplingError(
                f"the vLLM engine cannot hold or compute a {type(policy.model).__name__} here "
                f"({' '.join(str(error).split())[:300]}); choose sampling.engine=transformers"
            ) from error
        if not gap <= PROBE_GAP[self.dtype]:
            raise SamplingError(
                f"after an update to step {policy.step} the vLLM engine's log-probabilities ({self.dtype}) are up to "
                f"{gap:.3g} off the policy's, more than the {PROBE_GAP[self.dtype]:g} that rounding explains: "
                f"{'it holds' if same else 'it has not taken over'} all weights of a {type(policy.model).__name__}"
                f"{', but computes another model' if same else ''}; choose sampling.engine=transformers"
            )
        before, written = self._probed or (sent, None)
        if not same and written == completion and any(before.get(kind, value) != value for kind, value in sent.items()):
            raise self._stale(policy, "it writes the same as before, to the last bit of every log-probability")
        self._probed = sent, completion
        self._policy, self._step = weakref.ref(policy), policy.step
        logger.debug("vLLM holds step %d of %s, gap of the probe %.2g", policy.step, policy.name, gap)
        return True

    def _compare(self, policy: Policy, sent: dict[str, int]) -> bool:
        """Return whether the engine holds what was sent, as far as it can be asked.

        Raises:
            SamplingError: it does not, although it stores such weights in a form that can be compared.
        """
        held = self.held(sent)
        unequal = {kind for kind, value in sent.items() if held is None or any(one[kind] != value for one in held)}
        if held is not None:
            if kinds := " and ".join(sorted(unequal & self._compared)):
                raise self._stale(policy, f"the fingerprint of its {kinds} is not that of what was sent")
            self._compared |= sent.keys() - unequal
        if unequal and self._probed is None:
            why = (
                "cannot be asked for its weights"
                if held is None
                else "stores weights in another form than it gets them"
            )
            logger.warning(
                "the vLLM engine %s (%s): updates are checked only by what it writes, which shows whether a whole "
                "update is missing, but not whether a part of a small one is (docs/vllm.md)",
                why,
                type(policy.model).__name__,
            )
        return not unequal

    def _stale(self, policy: Policy, why: str) -> SamplingError:
        return SamplingError(
            f"after an update to step {policy.step} the vLLM engine does not hold the weights of a "
            f"{type(policy.model).__name__} that it was sent: {why}; choose sampling.engine=transformers"
        )

    def probe(self, policy: Policy) -> tuple[Completion, float]:
        """Let the engine write a few tokens after some from all over the vocabulary.

        Returns:
            What it wrote, and the largest |engine - policy| log-probability of that.
        """
        import torch

        from sg_pipeline.policies.compute import computing

        model = policy.model
        rows: Any = model.get_input_embeddings().weight
        known = min(len(rows), len(policy.tokenizer))
        prompt = [known * index // _PROBE_TOKENS for index in range(_PROBE_TOKENS)]
        self.submit(0, Request(prompt, (), _PROBE_TOKENS, 1.0, seed=0))
        written: list[tuple[int, Completion]] = []
        while not written:
            written = self.poll()
        completion = written[0][1]
        training = model.training
        model.eval()
        try:
            with torch.no_grad(), computing(policy.compute, model.device):
                ids = torch.tensor([[*prompt, *completion.ids]], device=model.device)
                logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
        finally:
            model.train(training)
        own = torch.log_softmax(logits, dim=-1).gather(-1, ids[0, len(prompt) :, None])[:, 0]
        check_numbers(own.tolist(), policy.describe())
        return completion, float((own.cpu() - torch.tensor(completion.logprobs)).abs().max())
