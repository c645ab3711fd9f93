"""`kedro` that is killed with SIGKILL at a chosen moment: python self_killing_run.py MOMENT STEP run …

MOMENT@RANK kills this rank alone.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def in_rollout(step: int) -> None:
    """Episodes have begun, none has ended."""
    from sg_pipeline.environments.pool import EnvironmentPool
    from sg_pipeline.pipelines import step as nodes

    current: list[int] = []

    def play_step(play: Any, panel: Any, config: Any, seed: int, number: int) -> Any:
        current[:] = [number]
        return original(play, panel, config, seed, number)

    original, nodes.play_step = nodes.play_step, play_step
    _die_instead_of(EnvironmentPool, "step", lambda *_: current == [step])


def in_train(step: int) -> None:
    """The weights in memory have changed, nothing is written."""
    from sg_pipeline.training import learner

    current: list[int] = []

    def train_step(policy: Any, *arguments: Any, **named: Any) -> Any:
        current[:] = [policy.step]
        return original(policy, *arguments, **named)

    original, learner.train_step = learner.train_step, train_step
    _die_instead_of(learner, "export_state", lambda *_: current == [step])


def in_checkpoint(step: int) -> None:
    """The checkpoint of a step is being written: its weights are cut in half, it has not got its name yet."""
    from sg_pipeline.policies import checkpoint

    def torn(path: Path) -> bool:
        if f".step_{step:03d}.new" not in str(path) or path.suffix != ".safetensors":
            return False
        os.truncate(path, path.stat().st_size // 2)
        return True

    _die_instead_of(checkpoint, "_flush", torn)


def before_rename(step: int) -> None:
    """The trajectories of a step are written, but not yet in their place."""
    place = (f"step_{step:03d}", "trajectories.parquet")
    _die_instead_of(Path, "replace", lambda _, target: Path(target).parts[-2:] == place)


def in_pruning(step: int) -> None:
    """The checkpoint of a step counts as pruned, its files are still there."""
    folder = f"step_{step:03d}"
    _die_instead_of(Path, "unlink", lambda path, *_: path.parent.name == folder and path.suffix == ".safetensors")


def in_deletion(number: int) -> None:
    """The outputs of an earlier making are deleted, all but the first so many are still there."""
    from sg_pipeline.datasets.atomic import AtomicDataset

    deleted: list[Any] = []
    _die_instead_of(AtomicDataset, "delete", lambda dataset: deleted.append(dataset) or len(deleted) > number)


def _die_instead_of(owner: Any, name: str, when: Callable[..., bool]) -> None:
    original = getattr(owner, name)

    def deadly(*arguments: Any, **named: Any) -> Any:
        if when(*arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    setattr(owner, name, deadly)


if __name__ == "__main__":
    from kedro.framework.cli import main

    moment, _, rank = sys.argv[1].partition("@")
    if rank in ("", os.environ.get("RANK")):
        globals()[moment](int(sys.argv[2]))
    del sys.argv[1:3]
    main()
