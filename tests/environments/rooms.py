"""A small game for the tests of pool and rollouts: find the key, open the chest.

Rooms lie in a row; the key and the chest are in rooms drawn from the seed. Some tasks misbehave on purpose: a
task's `path` is a list of words such as "hang@3" (at the third action) or "crash-once@2:/some/flag".
"freeze" stops the process once the answer fills the socket to the pool, which "count N" does for a large N.
"""

import os
import select
import signal
import sys
import threading
import time
from pathlib import Path

from sg_pipeline.environments.base import StepResult
from sg_pipeline.errors import DataError
from sg_pipeline.randomness import stream
from sg_pipeline.trajectories.types import Task

ROOMS = ("attic", "bedroom", "cellar", "den", "entry")
FORMS = ("left", "right", "take key", "open chest")
SPEC = "rooms:Rooms"


def task(name: str, *quirks: str, task_type: str = "chest") -> Task:
    return Task(name, "rooms", "train", task_type, " ".join(quirks), "0" * 64)


class Rooms:
    """Commands: left, right, take key, open chest."""

    made = 0

    def __init__(self, delay_s: float = 0.0) -> None:
        Rooms.made += 1
        self._delay_s = delay_s
        self._number = Rooms.made

    def reset(self, task: Task, seed: int) -> StepResult:
        self._quirks = dict(word.split("@") for word in task.path.split())
        if "broken" in self._quirks:
            raise DataError(f"game {task.task_id} is truncated")
        rooms = stream(seed, task.task_id).permutation(len(ROOMS))
        self._here, self._key, self._chest = (int(room) for room in rooms[:3])
        self._has_key = False
        self._turn = 0
        self._misbehave()
        if "solved" in self._quirks:
            return StepResult("The chest is open.", done=True, won=True, score=1.0)
        return StepResult(f"Find the key and open the chest. {self._look()}", forms=FORMS)

    def step(self, action: str) -> StepResult:
        self._turn += 1
        self._misbehave()
        time.sleep(self._delay_s)
        if action == "left" and self._here > 0:
            self._here -= 1
        elif action == "right" and self._here < len(ROOMS) - 1:
            self._here += 1
        elif action == "take key" and self._here == self._key and not self._has_key:
            self._has_key = True
        elif action == "open chest" and self._here == self._chest and self._has_key:
            return StepResult("The chest opens.", 1.0, done=True, won=True, score=1.0)
        elif action.startswith("count "):
            return StepResult(" ".join(map(str, range(int(action.split()[1])))))
        else:
            return StepResult("Nothing happens.", valid=False)
        return StepResult(self._look())

    def close(self) -> None:
        if "goodbye" in getattr(self, "_quirks", {}):
            Path(self._quirks["goodbye"]).touch()

    def _look(self) -> str:
        seen = [f"You are in the {ROOMS[self._here]}."]
        if self._here == self._key and not self._has_key:
            seen.append("A key is here.")
        if self._here == self._chest:
            seen.append("A chest is here.")
        if "maker" in self._quirks:
            seen.append(f"Object {self._number} of process {os.getpid()}.")
        if "wild" in self._quirks:
            seen.append(str(time.monotonic_ns()))
        return " ".join(seen)

    def _misbehave(self) -> None:
        for quirk, when in self._quirks.items():
            kind = quirk.removesuffix("-once")
            turn, _, flag = when.partition(":")
            if turn != str(self._turn) or (flag and Path(flag).exists()):
                continue
            if flag:
                Path(flag).touch()
            if kind == "slow":
                time.sleep(1.0)
            elif kind == "hang":
                time.sleep(3600)
            elif kind == "freeze":
                threading.Thread(target=_freeze, daemon=True).start()
            elif kind == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            elif kind == "exit":
                os._exit(3)
            elif kind == "raise":
                raise KeyError("val1")
            elif kind == "quit":
                sys.exit("enough")


def _freeze() -> None:
    """Stop this worker in the middle of a message: when its socket takes no more."""
    while select.select([], [int(sys.argv[1])], [], 0)[1]:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGSTOP)


class Unstartable(Rooms):
    """An environment whose making takes its process down."""

    def __init__(self) -> None:
        os._exit(5)
