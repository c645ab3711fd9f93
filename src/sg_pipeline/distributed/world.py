"""The processes of a run, as started by their launcher.

    torchrun --nproc_per_node 4 -m kedro run …      RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT

Every process runs the same graph. Rank 0 does what only one process may do, such as writing (`on_first`); work that can
be divided is done in parts (`everywhere`); afterwards all hold the same values. A process without a launcher is a world
of size 1: nothing here imports torch then, and every function returns its input.

An error that is shared ends all processes with the same message, which is printed by the process where it occurred.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from sg_pipeline.errors import ConfigurationError, RankError, SgPipelineError

T = TypeVar("T")


@dataclass
class World:
    """Rank of this process and size of the run.

    Attributes:
        rank: from 0; rank 0 writes.
        size: number of processes.
        local_rank: from 0 on each machine; the index of this process's GPU.
        seconds: time spent in the functions below: waiting for the others, and exchanging results.
        failing: the run is ending with an error.
        opened: the processes are connected.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    seconds: float = 0.0
    failing: bool = False
    opened: bool = False

    @property
    def alone(self) -> bool:
        """Whether this is the only process."""
        return self.size == 1

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Return the device of this process for `name` ("cpu", "cuda") of the configuration.

        Raises:
            ConfigurationError: it is a GPU with an index: transformers trains on the first GPU that a process sees, and
                each of several processes has its own.
        """
        if not name.startswith("cuda") or (self.alone and name in ("cuda", "cuda:0")):
            return name
        if self.alone:
            raise ConfigurationError(
                f"base_model.device is {name!r}, but a run trains on the first GPU that it sees: set it to 'cuda', and "
                f"CUDA_VISIBLE_DEVICES={name.removeprefix('cuda:')} in the environment"
            )
        if name != "cuda":
            raise ConfigurationError(
                f"base_model.device is {name!r}, but {self.size} processes share this run, each with its own GPU: "
                f"set it to 'cuda'"
            )
        return f"cuda:{self.local_rank}"

    def open(self, timeout_s: float) -> None:
        """Connect the processes, once; collectives use gloo for CPU tensors and NCCL for CUDA tensors.

        Args:
            timeout_s: of every later exchange, including the trainer's gradients.

        Raises:
            RankError: a process did not connect.
        """
        if self.alone or self.opened:
            return
        import torch
        import torch.distributed as dist

        cuda = torch.cuda.is_available()
        if cuda and self.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(self.local_rank)
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timedelta(seconds=timeout_s))
        except (RuntimeError, ValueError) as error:
            raise RankError(
                f"rank {self.rank} of {self.size} could not reach the other processes within {timeout_s:g} s "
                f"({' '.join(str(error).split())[:200]}); check MASTER_ADDR, MASTER_PORT and the network"
            ) from error
        self.opened = True
        atexit.register(self._close)

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, ordered by rank, on every rank. Values are pickled."""
        if self.alone:
            return [value]
        import torch.distributed as dist

        began = time.perf_counter()
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        self.seconds += time.perf_counter() - began
        values[self.rank] = value  # not a copy of it
        return values

    def broadcast(self, value: T) -> T:
        """Return rank 0's value on every rank."""
        if self.alone:
            return value
        import torch.distributed as dist

        began = time.perf_counter()
        values = [value]
        dist.broadcast_object_list(values, src=0)
        self.seconds += time.perf_counter() - began
        return value if self.first else values[0]

    def barrier(self) -> None:
        """Wait for all processes."""
        self.gather(None)

    def on_first(self, function: Callable[[], T]) -> T:
        """Call `function` on rank 0 while the others wait; return its result, or raise its error, on every rank."""
        if self.alone:
            return function()
        outcome = _Outcome.of(function) if self.first else _Outcome()
        return self._settle([self._exchange(self.broadcast, outcome)])[0]

    def everywhere(self, function: Callable[[], T]) -> list[T]:
        """Call `function` on every rank; return all results, or raise the first error on every rank."""
        if self.alone:
            return [function()]
        return self._settle(self._exchange(self.gather, _Outcome.of(function)))

    def each(self, function: Callable[[], T]) -> T:
        """Call `function` on every rank; return this rank's result, or raise the first error on every rank."""
        kept: list[T] = []
        self.everywhere(lambda: kept.append(function()))
        return kept[0]

    def agree(self, complaint: str | None) -> None:
        """Raise the first complaint of any rank on every rank.

        Raises:
            ConfigurationError: the complaint.
        """
        self._settle(self.gather(_Outcome(error=None if complaint is None else ConfigurationError(complaint))))

    @staticmethod
    def _exchange(exchange: Callable[[_Outcome], Any], own: _Outcome) -> Any:
        """Exchange outcomes; if that fails, this process's own error is more informative than the lost connection."""
        try:
            return exchange(own)
        except Exception:
            if own.error is not None:
                raise own.error from None
            raise

    def _settle(self, outcomes: list[_Outcome]) -> list[Any]:
        """Return the values, or raise the first error; where it did not occur, it is marked `printed_elsewhere`."""
        for outcome in outcomes:
            if outcome.error is not None:
                self.failing = True
                raise outcome.error
        return [outcome.value for outcome in outcomes]

    def _close(self) -> None:
        import torch.distributed as dist

        if dist.is_initialized() and not self.failing:
            dist.destroy_process_group()


@dataclass
class _Outcome:
    """Result of a function; its error is sent as text, because not every exception can be pickled."""

    value: Any = None
    error: Exception | None = None

    @classmethod
    def of(cls, function: Callable[[], Any]) -> _Outcome:
        try:
            return cls(value=function())
        except Exception as error:
            return cls(error=error)

    def __reduce__(self) -> tuple[Any, ...]:
        error = self.error
        if error is None:
            return _Outcome, (self.value,)
        if isinstance(error, SgPipelineError):
            return _from_elsewhere, (type(error), str(error))
        return _from_elsewhere, (RankError, f"another process of this run failed: {type(error).__name__}: {error}")


def _from_elsewhere(kind: type[Exception], sentence: str) -> _Outcome:
    error = kind(sentence)
    error.printed_elsewhere = True  # type: ignore[attr-defined]
    return _Outcome(error=error)


def printed_elsewhere(error: BaseException) -> bool:
    """Whether another process prints this error."""
    return bool(getattr(error, "printed_elsewhere", False))


@cache
def world() -> World:
    """Return rank and size of this process, from the environment variables of its launcher."""
    return read_world(os.environ)


def read_world(environment: Mapping[str, str]) -> World:
    """Read rank and size from environment variables.

    Raises:
        RankError: they contradict each other, or the launcher started fewer processes than requested.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    found = {name: environment[name] for name in names if name in environment}
    if "WORLD_SIZE" not in found and "RANK" not in found:
        # Variables that accelerate's launcher sets for one process when several were requested.
        if {"ACCELERATE_USE_CPU", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
            raise RankError(
                "accelerate launch was asked for several processes, but has started one (as --cpu always does): use "
                "torchrun --nproc_per_node N, or a --config_file such as conf/accelerate/ddp.yaml"
            )
        return World()
    try:
        rank, size, local_rank = (int(found.get(name, default)) for name, default in zip(names, "010", strict=True))
    except ValueError:
        rank, size, local_rank = -1, 0, -1
    if not 0 <= rank < size or local_rank < 0 or (size > 1 and len(found) < len(names)):
        text = ", ".join(f"{name}={value}" for name, value in found.items())
        raise RankError(
            f"invalid rank of a process: {text}; start the run with torchrun or accelerate launch, or unset these "
            f"variables"
        )
    return World(rank, size, local_rank)
