"""One configuration on some devices: what all arithmetic reads, and what advice varies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sg_pipeline.config.base_model import BaseModelConfig
from sg_pipeline.config.checkpoints import CheckpointsConfig
from sg_pipeline.config.evaluation import EvaluationConfig
from sg_pipeline.config.loader import section
from sg_pipeline.config.rollout import RolloutConfig
from sg_pipeline.config.run import CoevolveConfig
from sg_pipeline.config.train import TrainConfig
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.planning.config import Settings
from sg_pipeline.planning.devices import Device
from sg_pipeline.planning.lengths import Lengths
from sg_pipeline.planning.shape import BYTES, ModelShape


@dataclass(frozen=True, slots=True)
class Case:
    """The sections of the parameters that a plan depends on, with the model and the lengths.

    Attributes:
        shape: the model.
        lengths: of episodes.
        plan, base_model, rollout, train, coevolve, evaluate: parameters.
        workers: processes that play environments.
        guide: the frozen model that writes the guidance; None: the policy does.
        checkpoints: which policies stay on the disk.
    """

    shape: ModelShape
    lengths: Lengths
    plan: Settings
    base_model: BaseModelConfig
    rollout: RolloutConfig
    train: TrainConfig
    coevolve: CoevolveConfig
    evaluate: EvaluationConfig
    workers: int
    guide: ModelShape | None = None
    checkpoints: CheckpointsConfig = field(default_factory=lambda: section("checkpoints"))

    @property
    def device(self) -> Device:
        """One of the devices."""
        return self.plan.devices.device()

    @property
    def dtype(self) -> str:
        """The type of the weights, gradients and AdamW's memory."""
        given = self.base_model.dtype if self.base_model.source == "pretrained" else "auto"
        return self.shape.dtype if given == "auto" else given

    @property
    def compute_dtype(self) -> str:
        """The type in which matrices are multiplied, and of the key-value cache."""
        return self.dtype if self.plan.compute == "weights" else "bfloat16"

    @property
    def size(self) -> int:
        """Bytes of one weight."""
        return BYTES[self.dtype]

    @property
    def ranks(self) -> int:
        """Processes that share a step, one a device."""
        return self.plan.devices.count if self.plan.parallel != "none" else 1

    @property
    def episodes(self) -> int:
        """Episodes that one device plays in a step: groups are dealt out whole."""
        return math.ceil(self.rollout.tasks_per_step / self.ranks) * self.rollout.group_size

    def at_once(self, episodes: int) -> int:
        """Return how many of so many episodes lie side by side in the transformers sampler's cache."""
        rows = self.rollout.rows or episodes
        if (gib := self.rollout.cache_gib) is not None:
            tables = [self.cache_bytes(shape) * (2 * shape.layers + 1) / (2 * shape.layers)
                      for shape in (self.shape, self.guide) if shape is not None]  # fmt: skip
            rows = min(rows, int(gib * 2**30 / (sum(tables) * self.rollout.max_length)))
        # `play_in_waves` plays whole groups.
        return min(episodes, max(1, rows // self.rollout.group_size) * self.rollout.group_size)

    @property
    def checkpointing(self) -> bool:
        """Whether the backward pass computes a layer's activations again: on GPUs, unless the run says otherwise."""
        wanted = self.train.gradient_checkpointing
        return self.device.is_gpu if wanted == "auto" else wanted

    @property
    def trainable(self) -> int:
        """Weights that have a gradient."""
        return self.shape.adapter(self.plan.lora_rank) if self.plan.lora_rank else self.shape.parameters

    @property
    def has_reference(self) -> bool:
        """Whether a second model is loaded for the KL term; with adapters it is the policy without them."""
        return self.train.beta > 0 and not self.plan.lora_rank

    @property
    def evaluated_rows(self) -> int:
        """Episodes that an evaluation plays at once."""
        return min(self.evaluate.batch_rows, self.plan.evaluated_games * self.evaluate.episodes_per_game)

    @property
    def longest(self) -> int:
        """Tokens of the longest trajectory that is expected: a policy that never wins plays every turn."""
        return self.longest_of(self.rollout.max_turns)

    def longest_of(self, turns: int) -> int:
        """Return the tokens of the longest trajectory of so many turns that is expected."""
        return max(2, min(self.rollout.max_length, math.ceil(self.lengths.tokens(turns) * self.lengths.spread)))

    @property
    def micro_tokens(self) -> int:
        """Positions of the largest micro-batch: the budget, or one trajectory that exceeds it."""
        rows = math.ceil(self.train.minibatch / self.ranks)
        return max(self.longest, min(self.train.micro_batch_tokens, rows * self.longest))

    @property
    def policy_share(self) -> float:
        """Share of a trajectory's tokens that the policy wrote."""
        turns = self.lengths.turns
        return turns * self.lengths.completion / self.lengths.tokens(turns)

    def cache_bytes(self, shape: ModelShape | None = None) -> int:
        """Return the bytes of one token's keys and values in all layers."""
        one = shape or self.shape
        return 2 * one.layers * one.keys * BYTES[self.compute_dtype]

    def changed(self, changes: Mapping[str, Any]) -> Case:
        """Return the case with other parameters, named as in the configuration ("train.micro_batch_tokens")."""
        sections: dict[str, Any] = {}
        for name, value in changes.items():
            section, _, path = name.partition(".")
            sections[section] = _with(sections.get(section, getattr(self, section)), path, value)
        return replace(self, **sections)


def check_case(case: Case) -> None:
    """Refuse devices that the configuration would not use.

    Raises:
        ConfigurationError: weights go to a CPU and a GPU is planned for, or the other way round.
    """
    on_gpu, kind = case.base_model.device != "cpu", case.plan.devices.kind
    if on_gpu != case.device.is_gpu:
        right = f"base_model.device to '{'cuda' if case.device.is_gpu else 'cpu'}'"
        raise ConfigurationError(
            f"plan.devices.kind is '{kind}', but base_model.device is '{case.base_model.device}', so the run would not "
            f"use it: set {right}, or plan.devices.kind to {'a GPU' if on_gpu else 'cpu'}"
        )
    if case.dtype not in BYTES:
        raise ConfigurationError(
            f"base_model.dtype is '{case.dtype}', of which a plan knows no size: one of {', '.join(BYTES)}"
        )


def _with(section: Any, path: str, value: Any) -> Any:
    """Return a section with one value, however deep, replaced and checked."""
    values = section.model_dump()
    node = values
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    node[last] = value
    return type(section).model_validate(values)
