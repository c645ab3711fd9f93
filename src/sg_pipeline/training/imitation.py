"""SFT on streamed demonstrations: how a policy learns the format and the game before GRPO.

    demonstration ─► encode_demonstration ─► stream_batches ─► transformers.Trainer
                     (both in demonstrations.py)

Demonstrations are fresh (a stream, no epochs), batches small and of similar length. The trainer is the stock
one: at 0.94 M parameters and 1,000 tokens its whole overhead is 2.5 % of a step (101 against 98 ms). Only the
loss is computed our way: the output layer sees the imitated tokens alone. Right padding needs no
attention mask under causal attention, which keeps attention on its fast path.

Measured on one core with AVX-512 (0.94 M parameters, AdamW): 10,000 tokens per CPU second in float32; bfloat16
autocast is a third slower; a second thread gives 1.55 times the speed.

A lead: after 300,000 tokens AdamW's held-out loss was 0.76 at its best single rate and 0.38 with embeddings at five
times the matrices' rate; Muon on the matrices (`torch.optim.Muon`, embeddings at AdamW's 3e-3) reached 0.20 at two
thirds of the speed (one seed each). Whether that holds for success after millions of tokens was not tried.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sg_pipeline.config.base_model import WarmStartConfig
from sg_pipeline.distributed.world import world
from sg_pipeline.errors import ConfigurationError
from sg_pipeline.policies.compute import computing, without_noise
from sg_pipeline.progress_bar import ProgressBar
from sg_pipeline.training.batching import group_by_length
from sg_pipeline.training.demonstrations import Batch, EncodedDemonstration, StreamPosition, pad, stream_batches
from sg_pipeline.training.trainer_support import broken_weights, diverged, export_state, import_state, on_one_gpu

if TYPE_CHECKING:
    import torch

    from sg_pipeline.policies.policy import Policy

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class WarmStartProgress:
    """Progress of a warm start, from which a killed one resumes.

    Attributes:
        stage: index of the stage.
        part: parts of this stage that are done.
        step: optimizer steps done, of this stage, as are the following.
        tokens: tokens trained on, padding not counted.
        imitated: tokens that carried loss.
        loss: mean loss per imitated token since the last report.
        learning_rate: of the last step.
        position: of the stream of batches.
    """

    stage: int = 0
    part: int = 0
    step: int = 0
    tokens: int = 0
    imitated: int = 0
    loss: float = math.nan
    learning_rate: float = 0.0
    position: StreamPosition = field(default_factory=StreamPosition)

    def notes(self) -> dict[str, Any]:
        """Return plain JSON values, for `Policy.imitation`."""
        return asdict(self)

    @classmethod
    def from_notes(cls, notes: dict[str, Any]) -> WarmStartProgress:
        """Return what `notes()` described."""
        return cls(**{**notes, "position": StreamPosition(**notes["position"])})


def warm_start(
    policy: Policy,
    demonstrations: Iterator[EncodedDemonstration],
    config: WarmStartConfig,
    progress: WarmStartProgress | None = None,
    until: int | None = None,
) -> dict[str, float]:
    """Train `policy` in place on `demonstrations` until `config.total_tokens` are seen.

    Stopped at `until`, `policy.optimizer_state` and `progress` are what another call continues from, with a stream
    opened at number `progress.position.demonstrations`: on CPU the result is bit for bit that of an uninterrupted call.

    Args:
        policy: trained in place; its `step` stays. `optimizer_state` is None after `config.total_tokens` (GRPO starts
            with a new optimizer).
        demonstrations: the training ends early if they run out.
        config: see there.
        progress: of an earlier call; updated in place.
        until: stop at this many tokens; None: `config.total_tokens`.

    Returns:
        loss (since the last report), tokens, imitated_tokens, optimizer_steps, seconds, tokens_per_cpu_second.

    Raises:
        ConfigurationError: the loss or a weight is not finite any more; or several processes share the run.
    """
    if not world().alone:
        world().agree(
            f"imitation (base_model.source 'warm_start', --pipeline=distill) is one process's work, but "
            f"{world().size} share this run: make the policy with --pipeline=base_model or distill without a launcher "
            f"first, then continue with --only-missing-outputs"
        )
    progress = progress or WarmStartProgress()
    batches = stream_batches(
        demonstrations,
        batch_tokens=config.batch_tokens,
        window=config.window,
        pad_id=policy.tokenizer.pad_token_id or 0,
        seed=config.seed,
        position=progress.position,
    )
    before = progress.tokens
    wall, cpu = time.perf_counter(), time.process_time()
    until = config.total_tokens if until is None else min(until, config.total_tokens)
    if progress.tokens < until:
        with tempfile.TemporaryDirectory(prefix="sg_warm_start_") as folder:
            trainer = _build_trainer(policy, batches, config, progress=progress, until=until, folder=folder)
            trainer.train()
    policy.model.eval()
    if not until <= progress.tokens < config.total_tokens:
        policy.optimizer_state = None
    cpu_seconds = time.process_time() - cpu
    return {
        "loss": progress.loss,
        "tokens": progress.tokens,
        "imitated_tokens": progress.imitated,
        "optimizer_steps": progress.step,
        "seconds": time.perf_counter() - wall,
        "tokens_per_cpu_second": (progress.tokens - before) / max(cpu_seconds, 1e-9),
    }


def _build_trainer(
    policy: Policy,
    batches: Iterator[Batch],
    config: WarmStartConfig,
    *,
    progress: WarmStartProgress,
    until: int,
    folder: str,
) -> Any:
    """Return a `transformers.Trainer` that eats `batches`, keeps `progress` up to date and writes nothing."""
    from torch.utils.data import IterableDataset
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            for batch in batches:
                yield {"input_ids": batch.input_ids, "loss_mask": batch.loss_mask, "batch": batch}
            # The trainer would wait for its `max_steps` steps.
            trainer.control.should_training_stop = True

    class WarmStartTrainer(Trainer):
        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> torch.Tensor:
            without_noise(policy.model)
            with computing(policy.compute, policy.model.device):
                loss = imitation_loss(model, inputs["input_ids"], inputs["loss_mask"])
            self.last_loss, self.last_batch = loss.detach(), inputs["batch"]
            return loss

    def refuse(what: str) -> None:
        raise ConfigurationError(diverged(f"{policy.describe()} by imitation", what, config.learning_rate))

    bar = ProgressBar("imitation", config.total_tokens, "tokens", done=progress.tokens)

    class Report(TrainerCallback):
        """Counts, reports and ends the training."""

        def __init__(self) -> None:
            self.loss_sum = 0.0
            self.imitated = 0
            self.reported, self.tokens = time.perf_counter(), progress.tokens

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            batch, loss = trainer.last_batch, float(trainer.last_loss)
            if not math.isfinite(loss):
                refuse(f"the loss is {loss} at optimizer step {progress.step + 1}")
            imitated = int(batch.loss_mask.sum())
            previous = progress.tokens
            progress.step += 1
            progress.learning_rate = config.rate(previous)
            progress.tokens += batch.tokens
            bar.update(batch.tokens)
            progress.imitated += imitated
            progress.position = batch.after
            self.loss_sum += loss * imitated
            self.imitated += imitated
            # The scheduler has already stepped with the old count: set the rate of the next step here.
            set_rate(trainer.optimizer, config.rate(progress.tokens))
            control.should_training_stop |= progress.tokens >= until
            if progress.tokens // config.report_tokens > previous // config.report_tokens:
                self.report()
            return control

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.close()
            if self.imitated:
                self.report()
            policy.optimizer_state = export_state(trainer.optimizer, policy.model)

        def report(self) -> None:
            if broken := broken_weights(policy.model):
                refuse(broken)
            progress.loss = self.loss_sum / max(1, self.imitated)
            self.loss_sum, self.imitated = 0.0, 0
            rate = (progress.tokens - self.tokens) / max(1e-9, time.perf_counter() - self.reported)
            self.reported, self.tokens = time.perf_counter(), progress.tokens
            logger.info(
                "warm start: %s of %s tokens, loss %.4f, %.0f tokens/s, %.0f min left",
                f"{progress.tokens:,}",
                f"{config.total_tokens:,}",
                progress.loss,
                rate,
                max(0, config.total_tokens - progress.tokens) / rate / 60,
            )

    arguments = TrainingArguments(
        output_dir=folder,
        use_cpu=policy.model.device.type == "cpu",
        # An upper bound: the token count ends the training.
        max_steps=config.total_tokens,
        per_device_train_batch_size=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=config.weight_decay,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        max_grad_norm=config.max_grad_norm,
        optim="adamw_torch_fused",
        seed=config.seed,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
    )
    on_one_gpu(arguments)
    trainer: Any = WarmStartTrainer(
        model=policy.model, args=arguments, train_dataset=Stream(), data_collator=lambda items: items[0]
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Report())
    trainer.create_optimizer()
    if policy.optimizer_state is not None:
        import_state(trainer.optimizer, policy.model, policy.optimizer_state)
    set_rate(trainer.optimizer, config.rate(progress.tokens))
    return trainer


def held_out_loss(policy: Policy, examples: Sequence[EncodedDemonstration], batch_tokens: int) -> float:
    """Return the mean loss per imitated token of demonstrations that are not trained on."""
    import torch

    pad_id = policy.tokenizer.pad_token_id or 0
    total, count = 0.0, 0
    with torch.no_grad(), computing(policy.compute, policy.model.device):
        for group in group_by_length([len(one.input_ids) for one in examples], batch_tokens):
            batch = pad([examples[i] for i in group], pad_id, StreamPosition())
            imitated = int(batch.loss_mask.sum())
            device = policy.model.device
            loss = imitation_loss(policy.model, batch.input_ids.to(device), batch.loss_mask.to(device))
            total, count = total + float(loss) * imitated, count + imitated
    return total / max(1, count)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def imitation_loss(model: Any, input_ids: torch.Tensor, loss_mask: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of the masked tokens given all before them.

    Args:
        model: a causal language model of transformers.
        input_ids: (B, L), padded on the right.
        loss_mask: (B, L) bool.
    """
    import torch

    from sg_pipeline.training.token_logps import wanted_logits

    wanted = loss_mask[:, 1:]
    logits = wanted_logits(model, input_ids, wanted)
    return torch.nn.functional.cross_entropy(logits.float(), input_ids[:, 1:][wanted])
