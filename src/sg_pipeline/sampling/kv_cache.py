"""A key-value cache whose rows grow independently: row b's token at position p is in slot [b, :, p].

No row is padded, so rows of any length share a forward pass without holes: what is beyond a row's length is masked and
later overwritten. Memory is preallocated and grown by blocks; `update` returns views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BLOCK = 256
"""The cache grows by this many positions."""


def row_bytes(model: PreTrainedModel, positions: int, compute: str = "weights") -> int:
    """Return the bytes of one row's keys and values in all layers at `positions` positions.

    A layer's table grows into a new one next to the old, layer by layer: that is counted as one more table.
    """
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    tables = 2 * config.num_hidden_layers + 1
    itemsize = 2 if compute == "bfloat16" else model.dtype.itemsize
    return int(tables * heads * size * -(-positions // BLOCK) * BLOCK * itemsize)


@dataclass
class Placement:
    """Where the next forward pass writes and reads; set before each pass, shared by all layers.

    Attributes:
        start, stop: cache rows of the batch.
        span: cached positions that the pass may see.
        batch_index, query_index: (N,) row and place in the batch of each token to store.
        positions: (N,) the position where it is stored.
        rows, capacity: rows and positions that the layers must have room for.
    """

    rows: int
    capacity: int = 0
    start: int = 0
    stop: int = 0
    span: int = 0
    batch_index: torch.Tensor | None = None
    query_index: torch.Tensor | None = None
    positions: torch.Tensor | None = None


class RowLayer(CacheLayerMixin):
    """One attention layer's keys and values, (rows, key-value heads, capacity, head size) each."""

    is_sliding = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, placement: Placement, dtype: torch.dtype | None) -> None:
        """Share `placement` with the other layers; keep states in `dtype` (None: in their own type)."""
        super().__init__()
        self._placement = placement
        self._dtype = dtype

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate for the heads, sizes, type and device of the first states, (…, heads, queries or tokens, size)."""
        self.dtype, self.device = self._dtype or key_states.dtype, key_states.device
        self.keys, self.values = self._allocate(key_states), self._allocate(value_states)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the new states (batch, heads, queries, size); return views of all states that the batch may see."""
        place = self._placement
        return self.store(*(states[place.batch_index, :, place.query_index] for states in (key_states, value_states)))

    def store(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the states (tokens, heads, size) of the placed tokens; return views of all that the batch may see."""
        if not self.is_initialized:
            self.lazy_initialization(keys.transpose(0, 1), values.transpose(0, 1))
        place = self._placement
        if self.keys.shape[2] < place.capacity:
            self._grow()
        tables = self.keys[place.start : place.stop], self.values[place.start : place.stop]
        for table, states in zip(tables, (keys, values), strict=True):
            table[place.batch_index, :, place.positions] = states.to(table.dtype)
        return tables[0][:, :, : place.span], tables[1][:, :, : place.span]

    def move(self, targets: Sequence[int], sources: Sequence[int], length: int) -> None:
        """Copy rows `sources` to rows `targets` up to `length` positions."""
        for table in (self.keys, self.values):
            table[targets, :, :length] = table[sources, :, :length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return what a mask must span (unused: the sampler passes complete masks)."""
        return self._placement.span, 0

    def get_seq_length(self) -> int:
        """Return the positions in use."""
        return self._placement.span if self.is_initialized else 0

    def get_max_length(self) -> int:
        """Return -1: the layer grows."""
        return -1

    def _allocate(self, states: torch.Tensor) -> torch.Tensor:
        # Zeros, not `empty`: a masked NaN would still poison the attention (0 * NaN).
        shape = (self._placement.rows, states.shape[-3], self._placement.capacity, states.shape[-1])
        return torch.zeros(shape, dtype=self._dtype or states.dtype, device=states.device)

    def _grow(self) -> None:
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = self._allocate(old)
            rows = min(old.shape[0], new.shape[0])
            new[:rows, :, : old.shape[2]] = old[:rows]
            setattr(self, name, new)


class RowCache(Cache):
    """The cache of a whole model: one `RowLayer` a layer, created as the model asks for them."""

    def __init__(self, rows: int, block: int, dtype: torch.dtype | None) -> None:
        """Prepare for `rows` rows; capacity grows in steps of `block` positions.

        Under autocast keys arrive in float32 although attention rounds them: `dtype` keeps them as attention uses them.
        """
        self.placement = Placement(rows=rows)
        self._block = block
        self._make = partial(RowLayer, self.placement, dtype)
        # The base class only calls it, so a function that makes a layer works like a class.
        super().__init__(layer_class_to_replicate=self._make)  # type: ignore[arg-type]

    def reserve(self, positions: int, rows: int) -> None:
        """Make room for `positions` positions in the first `rows` rows; other rows may be dropped."""
        if positions > self.placement.capacity:
            self.placement.capacity = -(-positions // self._block) * self._block
            self.placement.rows = rows

    def layer(self, index: int) -> RowLayer:
        """Return layer `index`, which is made where it does not exist yet."""
        while len(self.layers) <= index:
            self.layers.append(self._make())
        found = self.layers[index]
        assert isinstance(found, RowLayer)
        return found

    def move(self, targets: Sequence[int], sources: Sequence[int], length: int) -> None:
        """Permute rows: row `sources[i]` becomes row `targets[i]`."""
        for layer in self.layers:
            assert isinstance(layer, RowLayer)
            layer.move(targets, sources, length)
