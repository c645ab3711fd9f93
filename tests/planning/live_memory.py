"""Exact memory of a computation on the CPU, by counting storages: no clock, no sampling, no allocator."""

import weakref
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Bytes of all storages that operations have made and that still live; and the most there ever were at once.

    What one operation allocates inside itself and frees again is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known: set[int] = set()

    def ignore(self, storages: set[int]) -> None:
        """Leave out storages that were made before, by their identities."""
        self._known |= storages

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        for leaf in tree_leaves((arguments, named)):
            if isinstance(leaf, torch.Tensor):  # made before: not ours to count, unless we have
                self._known.add(leaf.untyped_storage()._cdata)
        result = function(*arguments, **(named or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)

        def gone() -> None:
            self.live -= size
            self._known.discard(key)

        weakref.finalize(storage, gone)


@contextmanager
def counting_saved():
    """Yield a dictionary of the storages that autograd keeps for backward: identity -> bytes."""
    kept: dict[int, int] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept
