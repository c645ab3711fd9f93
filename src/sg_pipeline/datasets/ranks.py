"""The catalog of processes that share a run: rank 0 writes, all others read what it has written.

Every rank keeps its own datasets in memory: the live policy, the frames that one step passes to the next. What
is a file rank 0 writes while the others wait, and a rank that needs it later reads that file, so every rank's node gets
the same fresh object through the same schema as rank 0's. (Keeping the object on the other ranks would save the
reading, but hand out one that has not been through the file: tuples for lists, keys that are no strings, a frame that
some node has changed.) A policy whose link is live is kept on every rank, as on rank 0. The ranks share a file system:
inputs, games and checkpoints are read by all of them in any case.
"""

from collections.abc import Iterable
from typing import Any

from kedro.io import DataCatalog, MemoryDataset

from sg_pipeline.distributed.world import world


class RankCatalog(DataCatalog):
    """Kedro's catalog; in a world of one process nothing else."""

    _there: dict[str, bool] | None = None

    def agree_on_existence(self, names: Iterable[str]) -> None:
        """Let rank 0 look which datasets exist, so that `--only-missing-outputs` leaves out the same nodes everywhere.

        Args:
            names: of the pipeline's datasets.
        """
        if not world().alone:
            self._there = world().on_first(lambda: {name: self.exists(name) for name in sorted(names)})

    def exists(self, ds_name: str) -> bool:
        """Return whether the dataset exists, as it was agreed on."""
        agreed = self._there
        return agreed[ds_name] if agreed is not None and ds_name in agreed else super().exists(ds_name)

    def save(self, ds_name: str, data: Any) -> None:
        """Save on rank 0 while the others wait; in memory on each rank. An error of rank 0 is everybody's."""
        dataset = self[ds_name]
        if world().alone or isinstance(dataset, MemoryDataset):
            super().save(ds_name, data)
            return
        write = super().save
        written = dataset.whole(data, keep=world().first) if hasattr(dataset, "whole") else data
        world().on_first(lambda: write(ds_name, written))
        if hasattr(dataset, "hold"):
            dataset.hold(data)
