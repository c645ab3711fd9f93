"""One process trains on one GPU, however many it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import TrainingArguments


def on_one_gpu(arguments: TrainingArguments) -> None:
    """Take back that transformers gives a process all GPUs that it sees.

    Started without a launcher it would copy the model to each of them in every forward pass (`torch.nn.DataParallel`),
    cut each micro-batch between them, and count batches and losses by them. Several GPUs are several ranks.

    Source: transformers 5.23, `TrainingArguments._setup_devices`; `Trainer` does the same for a model that is split.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
