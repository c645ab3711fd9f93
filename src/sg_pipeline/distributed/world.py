"""The processes that share a run, as their launcher has started them.

    torchrun --nproc_per_node 4 -m kedro run …      RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT

Every process runs the same graph. What only one may do (write, decide what is missing) rank 0 does (`on_first`); what
can be shared out each does its part of (`everywhere`); then all hold the same. A process without a launcher is a world
of its own: nothing here imports torch then, and every function returns what it was given.

An error that all come to know ends all of them with the same sentence, which is printed by the one that it happened to.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from sg_pipeline.errors import ConfigurationError, RankError, SgPipelineError

T = TypeVar("T")


@dataclass
class World:
    """Who this process is among those that share the run.

    Attributes:
        rank: from 0; rank 0 writes.
        size: how many there are.
        local_rank: from 0 on each machine; the number of this process's GPU.
        seconds: spent in the functions below: waiting for the others, and exchanging what was made.
        failing: the run is ending with an error.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    seconds: float = 0.0
    failing: bool = False
    _opened: bool = field(default=False, repr=False)

    @property
    def alone(self) -> bool:
        """Whether nobody shares the run."""
        return self.size == 1

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    @property
    def opened(self) -> bool:
        """Whether the processes are connected."""
        return self._opened

    def device(self, name: str) -> str:
        """Return which device `name` ("cpu", "cuda") of the configuration is for this process.

        Raises:
            ConfigurationError: it is a GPU by its number: transformers trains on the first one that a process sees, and
                of several processes each has its own.
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
                f"base_model.device is {name!r}, but {self.size} processes share this run, each with a GPU of its own: "
                f"set it to 'cuda'"
            )
        return f"cuda:{self.local_rank}"

    def open(self, timeout_s: float) -> None:
        """Connect the processes, once; collectives on CPU tensors go through gloo, on CUDA tensors through NCCL.

        Args:
            timeout_s: of every later exchange, those of the trainer's gradients included.

        Raises:
            RankError: not all of them have come.
        """
        if self.alone or self._opened:
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
        self._opened = True
        atexit.register(self._close)

    def gather(self, value: T) -> list[T]:
        """Return every rank's value, in the order of the ranks, on all of them. Values are pickled."""
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
        """Return rank 0's value on all of them."""
        if self.alone:
            return value
        import torch.distributed as dist

        began = time.perf_counter()
        values = [value]
        dist.broadcast_object_list(values, src=0)
        self.seconds += time.perf_counter() - began
        return value if self.first else values[0]

    def barrier(self) -> None:
        """Wait until all are here."""
        self.gather(None)

    def on_first(self, function: Callable[[], T]) -> T:
        """Let rank 0 call `function` while the others wait; return what it returned, or raise what it raised."""
        if self.alone:
            return function()
        outcome = _Outcome.of(function) if self.first else _Outcome()
        return self._settle([self._exchange(self.broadcast, outcome)])[0]

    def everywhere(self, function: Callable[[], T]) -> list[T]:
        """Let every rank call its own `function`; return what each returned, or raise the first error on all."""
        if self.alone:
            return [function()]
        return self._settle(self._exchange(self.gather, _Outcome.of(function)))

    def each(self, function: Callable[[], T]) -> T:
        """Let every rank call `function`, keep what it returned for itself, or raise the first error on all."""
        kept: list[T] = []
        self.everywhere(lambda: kept.append(function()))
        return kept[0]

    def agree(self, complaint: str | None) -> None:
        """Raise the first complaint on all ranks, where some rank has one.

        Raises:
            ConfigurationError: with that complaint.
        """
        self._settle(self.gather(_Outcome(error=None if complaint is None else ConfigurationError(complaint))))

    @staticmethod
    def _exchange(exchange: Callable[[_Outcome], Any], own: _Outcome) -> Any:
        """Exchange outcomes; where the others are gone meanwhile, an error of one's own has more to say than that."""
        try:
            return exchange(own)
        except Exception:
            if own.error is not None:
                raise own.error from None
            raise

    def _settle(self, outcomes: list[_Outcome]) -> list[Any]:
        """Return the values, or raise the first error: as it is where it happened, as `told` elsewhere."""
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
    """What a function came to; its error travels as a sentence, since not every exception can be pickled."""

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
            return _told, (type(error), str(error))
        return _told, (RankError, f"another process of this run failed: {type(error).__name__}: {error}")


def _told(kind: type[Exception], sentence: str) -> _Outcome:
    error = kind(sentence)
    error.told = True  # type: ignore[attr-defined]
    return _Outcome(error=error)


def is_told(error: BaseException) -> bool:
    """Whether another process prints this error."""
    return bool(getattr(error, "told", False))


@cache
def world() -> World:
    """Return this process's place, as its launcher says in the environment."""
    return read_world(os.environ)


def read_world(environment: Mapping[str, str]) -> World:
    """Read a place from environment variables.

    Raises:
        RankError: they contradict each other, or the launcher has started fewer processes than it was asked for.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    found = {name: environment[name] for name in names if name in environment}
    if "WORLD_SIZE" not in found and "RANK" not in found:
        # What accelerate's launcher for one process sets when it was asked for several.
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
        told = ", ".join(f"{name}={value}" for name, value in found.items())
        raise RankError(
            f"the environment has {told}, which is no place among processes that share a run: start them with "
            f"torchrun or accelerate launch, or unset these variables"
        )
    return World(rank, size, local_rank)


def seconds() -> float:
    """Return the seconds that this process has spent so far on waiting for others and exchanging results with them."""
    return world().seconds
