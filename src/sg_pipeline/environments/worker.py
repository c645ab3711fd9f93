"""A worker process of the pool, and the messages between the two: pickles, those to the pool preceded by their length.

A worker holds many environments, one per slot. The pool sends batches of `Order`s; the worker plays them one after the
other and sends each `Answer` as soon as it has it, so that the pool always knows which episode a dead or silent worker
was busy with. A worker's first message is `READY`. A worker never imports Kedro or torch.
"""

import contextlib
import logging
import os
import pickle
import queue
import shutil
import signal
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from sg_pipeline import errors
from sg_pipeline.environments.base import Environment, StepResult
from sg_pipeline.environments.registry import EnvironmentSpec, build
from sg_pipeline.errors import SgPipelineError
from sg_pipeline.trajectories.types import Task

logger = logging.getLogger(__name__)

READY = "ready"
LENGTH = struct.Struct("!Q")
"""What precedes a message to the pool, which reads without waiting and so may hold a part of one."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one slot (one of the worker's environments) shall play.

    Attributes:
        start: (task, seed) of an episode to begin; None to continue the one that is open.
        actions: played in order after that.
    """

    slot: int
    start: tuple[Task, int] | None
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of an `Order`.

    Attributes:
        results: one per reset and action; empty if the order failed.
        error: the environment's own error (a game that does not load), to be raised as it is; any other exception, a
            defect of the environment, as text.
        cpu_s: CPU seconds that the worker spent on the order.
    """

    results: tuple[StepResult, ...]
    error: SgPipelineError | str | None
    cpu_s: float


class Host:
    """The environments of one worker, built when first needed and reused from episode to episode."""

    def __init__(self, spec: EnvironmentSpec) -> None:
        self._spec = spec
        self._environments: dict[int, Environment] = {}

    def prepare(self) -> None:
        """Build the first environment ahead of time, so that its imports overlap with the caller's work."""
        with contextlib.suppress(Exception):  # the first order raises and reports it again
            self._environment(0)

    def play(self, order: Order) -> Answer:
        """Carry out one order. After an exception the slot's environment is discarded: its state is unknown."""
        began = time.process_time()
        results: list[StepResult] = []
        error: SgPipelineError | str | None = None
        try:
            environment = self._environment(order.slot)
            if order.start is not None:
                results.append(environment.reset(*order.start))
            results.extend(environment.step(action) for action in order.actions)
        except SgPipelineError as raised:
            # As the class of `errors` that it is, with its text alone: that always survives pickling.
            kind = next(base for base in type(raised).__mro__ if base.__module__ == errors.__name__)
            error = kind(str(raised))
        except (Exception, SystemExit) as raised:
            logger.debug("environment in slot %d failed", order.slot, exc_info=True)
            error = f"{type(raised).__name__}: {raised}"
        if error is not None:
            results.clear()
            self._discard(order.slot)
        return Answer(tuple(results), error, time.process_time() - began)

    def close(self) -> None:
        """Close every environment."""
        for slot in list(self._environments):
            self._discard(slot)

    def _environment(self, slot: int) -> Environment:
        if slot not in self._environments:
            self._environments[slot] = build(self._spec)
        return self._environments[slot]

    def _discard(self, slot: int) -> None:
        with contextlib.suppress(Exception):
            self._environments.pop(slot).close()


def serve(descriptor: int, scratch: str) -> None:
    """Answer orders from the inherited socket `descriptor` until it is stopped, or until the pool's process is gone.

    In that case the worker's temporary folder `scratch` is removed.
    """
    connection = socket.socket(fileno=descriptor)
    incoming = connection.makefile("rb")
    orders: queue.SimpleQueue[Sequence[Order] | None] = queue.SimpleQueue()

    def send(message: object) -> None:
        content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        connection.sendall(LENGTH.pack(len(content)) + content)

    try:
        host = Host(pickle.load(incoming))
        # A reading thread notices the pool's death also while a step hangs.
        threading.Thread(target=_receive, args=(incoming, orders, scratch), daemon=True).start()
        host.prepare()
        send(READY)
        while (batch := orders.get()) is not None:
            for order in batch:
                send(host.play(order))
        host.close()
    except (EOFError, ConnectionError):
        _vanish(scratch)


def _receive(incoming: BinaryIO, orders: "queue.SimpleQueue[Sequence[Order] | None]", scratch: str) -> None:
    try:
        while True:
            orders.put(pickle.load(incoming))
    except (EOFError, OSError, pickle.UnpicklingError):  # nothing more, or half a message
        _vanish(scratch)


def _vanish(scratch: str) -> None:
    """The pool's process is gone: leave no file and no process behind."""
    shutil.rmtree(scratch, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)
