"""Peak memory of one device, by part, in the moments of a run at which it may be reached.

sampling      weights, reference, AdamW's memory, keys and values of all episodes, what a forward pass needs
training      weights, reference, gradients, AdamW's memory, activations, logits
evaluation    as sampling, for the final policy and `evaluate.batch_rows` episodes, which nobody shares
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sg_pipeline.planning import habits, vllm
from sg_pipeline.planning.activations import backward_bytes, kept_bytes
from sg_pipeline.planning.case import Case

GIB = 1024**3
PROCESS, WORKERS, ALLOCATOR = "process", "workers", "fragmentation"
"""Parts that are no tensors: the interpreter with its libraries or CUDA's context; environments, on a CPU's account
alone; what the allocator holds in vain."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one device holds.

    Attributes:
        moments: moment -> part -> bytes.
        available: bytes of the device.
    """

    moments: dict[str, dict[str, int]]
    available: int

    @property
    def moment(self) -> str:
        """The moment at which the peak is reached."""
        return max(self.moments, key=lambda name: sum(self.moments[name].values()))

    @property
    def peak(self) -> int:
        """Bytes at that moment."""
        return sum(self.moments[self.moment].values())

    @property
    def largest(self) -> str:
        """The largest part at that moment."""
        parts = self.moments[self.moment]
        return max(parts, key=lambda name: parts[name])

    @property
    def fits(self) -> bool:
        """Whether the device can hold it."""
        return self.peak <= self.available


def memory(case: Case) -> Memory:
    """Return the peak memory of one device of `case`."""
    available = round(case.device.memory_gib * GIB)
    moments = {
        "sampling": {**_reference(case), **_sampling(case, case.episodes, case.rollout.max_turns)},
        "training": _training(case),
    }
    if case.evaluated_rows:
        moments["evaluation"] = _sampling(case, case.evaluated_rows, case.evaluate.max_turns or case.rollout.max_turns)
    return Memory({name: _with_process(case, parts) for name, parts in moments.items()}, available)


def cache_at_most(case: Case) -> int:
    """Return the bytes of the sampler's cache, should every episode grow to `rollout.max_length`."""
    return case.at_once(case.episodes) * _blocks(case.rollout.max_length) * case.cache_bytes()


def _held(case: Case) -> dict[str, int]:
    """What lives from step to step: weights, AdamW's memory."""
    shards = case.ranks if case.plan.parallel == "fsdp" else 1
    weights = _frozen(case) + case.trainable * case.size if case.plan.lora_rank else case.shape.parameters * case.size
    return {
        "weights": weights // shards,
        "optimizer state": habits.MOMENTS * case.trainable * case.size // shards,
    }


def _reference(case: Case) -> dict[str, int]:
    """The second model of a KL term, whole on every device: read at the first training, and kept from then on."""
    return {"reference": _frozen(case)} if case.has_reference else {}


def _frozen(case: Case) -> int:
    """Bytes of all weights where none is trained: linear ones are kept in the type in which they are multiplied."""
    shape = case.shape
    linear = shape.matrix_parameters + (0 if shape.tied else shape.head)
    return shape.parameters * case.size - (linear * (case.size - 2) if _autocast(case) else 0)


def _autocast(case: Case) -> bool:
    """Whether weights are float32 and matrix products bfloat16."""
    return case.plan.compute == "bfloat16" and case.dtype == "float32"


def _sampling(case: Case, episodes: int, turns: int) -> dict[str, int]:
    """The moment at which the cache is largest: the last turn of episodes that nobody wins."""
    parts = _held(case)
    shape, size = case.shape, case.size
    if not case.device.is_gpu:
        parts[ALLOCATOR] = _kept_for_later(case)
    if case.plan.parallel == "fsdp" and case.plan.engine == "transformers":
        # The sampler's calls differ from rank to rank, so it needs all weights at hand.
        parts["weights gathered for sampling"] = shape.parameters * size
    if case.plan.engine != "transformers":
        return {**parts, **vllm.engine_beside(case)}
    episodes = case.at_once(episodes)
    before = case.longest_of(turns) - round(case.lengths.completion)
    # Before the last turn the cache makes room for the longest answer there may be.
    width = _blocks(min(case.rollout.max_length, before + case.rollout.max_new_tokens))
    cache = episodes * width * case.cache_bytes()
    # A table grows by a new one beside the old, layer by layer.
    parts["key-value cache"] = cache + cache // (2 * shape.layers)
    fed = max(1, round(case.lengths.observation))
    rows = max(1, min(episodes, habits.PREFILL_TOKENS // fed))
    repeated = 2 * rows * width * shape.queries * size if shape.heads != shape.kv_heads else 0
    mask = rows * fed * width * (size + 1)
    opening = min(habits.PREFILL_TOKENS, episodes * round(case.lengths.prompt))
    passing = max(rows * fed, opening) * (3 * shape.intermediate + 4 * shape.hidden) * size
    parts["forward pass"] = max(repeated + mask, passing)
    logits = size if size == 4 else size + 4
    parts["logits"] = episodes * shape.vocab * (logits + habits.DRAW_BYTES)
    if case.guide is not None:
        parts["guide"] = case.guide.parameters * size + episodes * width * case.cache_bytes(case.guide)
    return parts


def _kept_for_later(case: Case) -> int:
    """What the C library keeps of a training's freed activations: those that it has not mapped one by one."""
    tokens = case.micro_tokens
    if tokens * case.shape.hidden * case.size >= habits.MAPPED_BYTES:
        return 0
    kept, backward, largest = _activations(case, tokens)
    return kept + backward + largest


def _activations(case: Case, tokens: int) -> tuple[int, int, int]:
    """Return the bytes that are (kept from the forward pass, added while a layer goes backward, its weights' gradient).

    Padding stands on the right, where causal attention needs no mask for it.
    """
    how = {"checkpointing": case.checkpointing, "autocast": _autocast(case)}
    return (
        tokens * kept_bytes(case.shape, case.size, **how),
        tokens * backward_bytes(case.shape, case.size, **how),
        max(inputs * outputs for (inputs, outputs), _ in case.shape.linears) * case.size,
    )


def _blocks(positions: int) -> int:
    return math.ceil(positions / habits.CACHE_BLOCK) * habits.CACHE_BLOCK


def _training(case: Case) -> dict[str, int]:
    """The largest micro-batch: at the output layer, or while a layer goes backward, whichever needs more."""
    shape, size = case.shape, case.size
    shards = case.ranks if case.plan.parallel == "fsdp" else 1
    parts = {**_held(case), **_reference(case)}
    parts["gradients"] = case.trainable * size // shards
    if case.plan.parallel == "ddp":
        parts["gradients in transit"] = case.trainable * size
    if case.plan.parallel == "fsdp":
        # The layer at work and the next one, on their way in; the output layer whole (TRL gathers it).
        parts["weights gathered"] = (2 * shape.layer + shape.head) * size
        # A whole policy stays beside the shards: it samples, and is written down.
        parts["weights gathered for sampling"] = shape.parameters * size
    parts |= vllm.engine_in_training(case)
    autocast = _autocast(case)
    if autocast and case.plan.parallel != "fsdp" and not case.plan.lora_rank:
        parts["weights cast"] = shape.parameters * 2
    tokens = case.micro_tokens
    kept, layer, largest = _activations(case, tokens)
    tied = shape.head * size if shape.tied and not case.plan.lora_rank else 0
    logits = _logits(case, tokens)
    if kept + logits > kept + layer + largest + tied:
        return {**parts, "activations": kept, "logits": logits}
    return {
        **parts,
        "activations": kept + layer + largest,
        **({"gradient of the tied embedding": tied} if tied else {}),
    }


def _logits(case: Case, tokens: int) -> int:
    """What the output layer needs at its peak, forward or backward."""
    shape, size = case.shape, case.size
    trained = 0 if case.plan.lora_rank else 1
    wanted = round(tokens * case.policy_share)
    if not case.device.is_gpu and case.train.logits_chunk_tokens is not None:
        wanted = min(wanted, case.train.logits_chunk_tokens)
    if not case.device.is_gpu:
        table = wanted * shape.vocab * 4
        forward = habits.LEAN_LOGITS * table + tokens * shape.hidden * size
        backward = 3 * table + trained * shape.head * size
        return wanted * shape.hidden * size + max(forward, backward)
    number = 2 if case.compute_dtype != "float32" else 4
    tile = min(wanted, habits.TILE_TOKENS) * min(shape.vocab, habits.TILE_VOCABULARY) * number
    # Gradients of hidden states and weights are summed in float32, and then cast where the weights are smaller.
    cast = size if size < 4 else 0
    gradients = wanted * shape.hidden * (4 + cast) + trained * shape.head * (4 + cast)
    return tokens * shape.hidden * number + tile + gradients


def _with_process(case: Case, parts: dict[str, int]) -> dict[str, int]:
    """Add what is not tensors."""
    if not case.device.is_gpu:
        workers = round(habits.WORKER_GIB * case.workers * GIB)
        process = habits.CONTEXT_GIB["cpu"] + (habits.VLLM_GIB if case.plan.engine == "vllm" else 0)
        return {**parts, PROCESS: round(process * GIB), WORKERS: workers}
    staying = ("weights", "reference", "optimizer state", vllm.WEIGHTS, vllm.CACHE)
    passing = sum(size for name, size in parts.items() if name not in staying)
    return {
        **parts,
        ALLOCATOR: round(habits.FRAGMENTATION * passing),
        PROCESS: round(habits.CONTEXT_GIB["gpu"] * GIB),
    }
