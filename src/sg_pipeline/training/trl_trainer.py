"""The thin subclass of TRL's `GRPOTrainer` that is fed recorded experience instead of generating.

What is TRL's: the loss with all its variants, clipping, KL, entropy and clip metrics, the optimizer and its loop. What
is ours: where the batches come from, the weight of a micro-batch, at which tokens the output layer runs
(`token_logps`), that the policy computes as it was sampled (`policies.compute.without_noise`), that an optimizer step
without a gradient is not taken, and where the reference model comes from (`reference`).

The contract with TRL 1.16, pinned by `tests/training/test_trl_contract.py`:
  - `get_train_dataloader` gives what `_prepare_inputs` gets; `_prepare_inputs` returns `_compute_loss`'s inputs;
  - `_compute_loss(model, inputs)` divides by `current_gradient_accumulation_steps` (grpo, bnpo, dr_grpo) or by
    inputs["num_items_in_batch"] / (steps_per_generation / accumulation) (dapo, cispo);
  - `_get_per_token_logps_and_entropies` is the only place where the policy is evaluated;
  - `_metrics["train"]` gets one value per micro-batch, gathered by `accelerator.gather` and `.reduce` alone;
    `use_vllm` with `vllm_importance_sampling_correction` makes the loss multiply by
    inputs["importance_sampling_ratio"].
"""

# mypy: disable-error-code="misc"
from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from transformers import PreTrainedModel
from trl import GRPOTrainer
from trl.models.utils import prepare_deepspeed, prepare_fsdp
from trl.trainer.utils import add_fused_lm_head

from sg_pipeline.distributed.strategy import is_sharded
from sg_pipeline.distributed.world import world
from sg_pipeline.policies.compute import without_noise
from sg_pipeline.policies.policy import causal_model
from sg_pipeline.training.experience import ExperienceRow, MicroBatch, UpdatePlan, collate
from sg_pipeline.training.reference import without_adapters
from sg_pipeline.training.sharing import merged, metrics_of_its_own, through
from sg_pipeline.training.token_logps import fused_token_logps, policy_token_logps, transforms_logits
from sg_pipeline.training.trainer_support import diverged

if TYPE_CHECKING:
    from sg_pipeline.config.train import TrainConfig
    from sg_pipeline.policies.policy import Reference


class ReplayTrainer(GRPOTrainer):
    """`GRPOTrainer` over given rows and advantages.

    Attributes:
        whose: names the policy in messages.
    """

    whose = "the policy"

    def feed(self, rows: Sequence[ExperienceRow], plan: UpdatePlan, config: TrainConfig, pad_id: int) -> None:
        """Set what `train()` learns from.

        Args:
            rows: the experience.
            plan: its micro-batches.
            config: see there.
            pad_id: fills on the right.
        """
        self._rows, self._plan, self._config, self._pad_id = rows, plan, config, pad_id
        self._trained_tokens = sum(row.trained_tokens for row in rows)
        self.gaps: dict[int, torch.Tensor] = {}
        self.losses: list[float] = []
        self.weights: list[int] = []
        self.grad_norms: list[float] = []
        self._old: dict[int, torch.Tensor] = {}
        self._broken: str | None = None
        # The loss applies the correction under this flag alone; vLLM itself plays no part in training.
        self.use_vllm = config.sampler_correction != "none"
        if self.use_vllm:
            self._recompute_old()

    def measure_from(self, reference: Reference, beta: float) -> None:
        """Set weight and reference of the KL term, as TRL's constructor does.

        TRL's own constructor would read the reference from disk, and copy adapters as they are now.
        """
        self.beta = beta
        model: Any = reference.model
        if model is not None:
            add_fused_lm_head(model, temperature=self.temperature)
            if self.is_deepspeed_enabled:
                model = prepare_deepspeed(model, self.accelerator)
            elif self.is_fsdp_enabled:
                model = prepare_fsdp(model, self.accelerator)
            else:
                model = self.accelerator.prepare_model(model, evaluation_mode=True)
        self.ref_model = model

    def get_train_dataloader(self) -> Any:
        """Return the planned micro-batches."""
        return [{"micro_batch": micro} for micro in self._plan.micro_batches]

    def _prepare_inputs(self, generation_batch: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs of `_compute_loss` for one micro-batch."""
        micro: MicroBatch = generation_batch["micro_batch"]
        inputs = self._tensors(micro.rows, filler=micro.filler)
        inputs["num_items_in_batch"] = torch.tensor(float(self._trained_tokens), device=self.accelerator.device)
        inputs["old_per_token_logps"] = inputs["sampling_per_token_logps"]
        if self.use_vllm:
            inputs["old_per_token_logps"] = self._stack_old(micro.rows, inputs["completion_ids"].size(1))
            inputs["importance_sampling_ratio"] = self._sampler_ratio(inputs)
        if self.beta != 0.0:
            inputs["ref_per_token_logps"] = self._reference_logps(inputs)
        self._current = micro
        return inputs

    def _compute_loss(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return TRL's loss, weighted so that the cut into micro-batches does not show.

        TRL averages micro-batches (and optimizer steps) as if they were equally large. The weight makes every
        trajectory (grpo, dr_grpo) or every token (bnpo) of the step count the same wherever it falls; dapo and
        cispo already do by their own normaliser.
        """
        with metrics_of_its_own(self.accelerator):
            loss = super()._compute_loss(model, inputs)
        # Of all processes: DDP takes the mean of their gradients, as TRL that of the micro-batches.
        micros = world().size * len(self._plan.micro_batches) / self._config.num_iterations
        trained = int(inputs["tool_mask"].sum())
        if self.loss_type in {"grpo", "dr_grpo"}:
            rows = 0 if self._current.filler else len(self._current.rows)
            loss = loss * (rows * micros / len(self._rows))
        elif self.loss_type == "bnpo":
            loss = loss * (trained * micros / max(1, self._trained_tokens))
        if self.state.global_step == 0 and not self.use_vllm:
            # Before the first optimizer step the policy is still the sampler's: what differs is the engines' gap.
            self._note_gap(self._current, self._evaluated, inputs)
        self.losses.append(self._finite("loss", float(loss.detach())))
        self.weights.append(trained)
        return loss

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Evaluate as TRL does, but at the policy's tokens alone and without noise; keep the log-probabilities."""
        result: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
        wanted, temperature, chunk = self._wanted, self.temperature, self._config.logits_chunk_tokens
        without_noise(self.model)
        if self._lean(getattr(model, "module", model)):
            with self.accelerator.autocast():
                result = through(model, lambda bare: policy_token_logps(bare, input_ids, wanted, temperature, chunk))
        else:
            with self.accelerator.autocast():
                result = fused_token_logps(model, input_ids, wanted)
        self._evaluated = result[0].detach()
        return result

    def _lean(self, model: Any) -> bool:
        """Whether `policy_token_logps` may replace the output layer that TRL has fused to the model.

        On CPU that one runs at every position, padding and observations included, and takes 38 % of a step (0.93 M
        parameters, a third of the tokens the policy's). On CUDA its Triton kernel is the better one.
        """
        causal = causal_model(model)
        if not isinstance(causal, PreTrainedModel) or causal.device.type != "cpu":
            return False
        return not transforms_logits(causal)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        # Every process is here before the weights change: a broken loss on one of them ends all.
        world().agree(self._broken)
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        self.grad_norms.append(self._finite("gradient norm", float(norm)))
        if self._broken is not None:  # the norm is the same on all
            world().agree(self._broken)
        if self.grad_norms[-1] == 0:
            # Nothing was learned: AdamW would still move the weights, by its momentum and weight decay.
            model.zero_grad(set_to_none=True)
        return norm

    def _finite(self, name: str, value: float) -> float:
        """Note what stops the training before a broken gradient reaches the weights."""
        if not math.isfinite(value) and self._broken is None:
            what = f"the {name} is {value} at optimizer step {self.state.global_step + 1}"
            self._broken = diverged(self.whose, what, self.args.learning_rate)
        return value

    @contextmanager
    def _defer_fsdp_gradient_reduction(self) -> Iterator[None]:
        """Let all micro-batches of an optimizer step but the last keep their gradients to this process."""
        model: Any = self.model
        model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            model.set_requires_gradient_sync(True)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Keep TRL's metrics in `_metrics`; print and report nothing."""

    def _send_telemetry(self) -> None:
        """Report nothing to anybody."""

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: not asked for, and the inputs are no tensors yet."""
        return 0

    def _tensors(self, rows: Sequence[int], *, filler: bool = False) -> dict[str, torch.Tensor]:
        tensors = collate([self._rows[i] for i in rows], self._pad_id, filler=filler)
        tensors = {name: tensor.to(self.accelerator.device) for name, tensor in tensors.items()}
        self._wanted = tensors["tool_mask"].bool()
        return tensors

    def _note_gap(self, micro: MicroBatch, logps: torch.Tensor, inputs: dict[str, torch.Tensor]) -> None:
        """Keep |trainer - sampler| of each row's tokens but its first; NaN where the policy did not write them."""
        if micro.filler:
            return
        gap = (logps - inputs["sampling_per_token_logps"]).abs().float()
        gap = gap.masked_fill(~inputs["tool_mask"].bool(), math.nan).cpu()
        for i, row in enumerate(micro.rows):
            self.gaps[row] = gap[i, : self._rows[row].length - 1]

    def _reference_logps(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        if self.ref_model is not None:
            return self._logps_of(self.ref_model, inputs)
        with without_adapters(self.model):
            return self._logps_of(self.model, inputs)

    def _logps_of(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return log-probabilities (B, T) under `model`, without gradient."""
        with torch.no_grad():
            return self._get_per_token_logps_and_entropies(
                model,
                torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
                torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
                inputs["completion_ids"].size(1),
            )[0]

    def _recompute_old(self) -> None:
        """Evaluate the whole experience under the policy as it is before this step."""
        seen: set[tuple[int, ...]] = set()
        micros = self._plan.micro_batches[: len(self._plan.micro_batches) // self._config.num_iterations]
        for micro in micros:
            idle = micro.filler or micro.rows in seen
            if idle and not is_sharded():  # shards are gathered by all processes together, so often as one computes
                continue
            seen.add(micro.rows)
            inputs = self._tensors(micro.rows)
            logps = self._logps_of(self.model, inputs)
            if idle:
                continue
            self._note_gap(micro, logps, inputs)
            for i, row in enumerate(micro.rows):
                self._old[row] = logps[i, : self._rows[row].length - 1]
        # In a later pass a row may fall to another process.
        self._old = merged(self._old, self.accelerator.device)

    def _stack_old(self, rows: Sequence[int], width: int) -> torch.Tensor:
        nothing = torch.empty(0, device=self.accelerator.device)  # a filler's rows need not have been evaluated
        known = [self._old.get(row, nothing) for row in rows]
        old = [torch.nn.functional.pad(one, (0, width - len(one))) for one in known]
        return torch.stack(old)

    def _sampler_ratio(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return pi_old / pi_sampler, truncated or masked: TRL's own correction, which lives in its generation code."""
        level, _, how = self._config.sampler_correction.partition("_")
        mask = inputs["tool_mask"]
        gap = summed_gaps((inputs["old_per_token_logps"] - inputs["sampling_per_token_logps"]) * mask, mask, level)
        ratio = gap.exp()
        cut = ratio > self._config.sampler_cap
        ratio = ratio.clamp(max=self._config.sampler_cap) if how == "truncate" else ratio.masked_fill(cut, 0.0)
        for name, value in (("sampler_cut_share", cut), ("sampler_weight_mean", ratio)):
            mean = (value * mask).sum() / mask.sum().clamp(min=1)
            self._metrics["train"][name].append(float(mean))
        return ratio


def summed_gaps(gaps: torch.Tensor, mask: torch.Tensor, level: str) -> torch.Tensor:
    """Return for each token the sum of the gaps of its token, turn or sequence.

    Args:
        gaps: (B, T), 0 where `mask` is.
        mask: (B, T), 1 where the policy wrote the token.
        level: "token"; "turn", a run of tokens that the policy wrote; "sequence".

    Returns:
        (B, T), or (B, 1) for a sequence.
    """
    if level == "token":
        return gaps
    if level == "sequence":
        return gaps.sum(dim=-1, keepdim=True)
    turns = (mask.diff(dim=-1, prepend=torch.zeros_like(mask[:, :1])) == 1).cumsum(dim=-1)
    sums = gaps.new_zeros(len(gaps), int(turns.max()) + 1).scatter_add_(1, turns, gaps)
    return sums.gather(1, turns)
