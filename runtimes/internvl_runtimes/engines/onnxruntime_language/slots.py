"""The KV cache of the sequences that decode together: one pair of arrays, fed to the decoder as it lies.

The graph takes past keys and values as contiguous [L, B, KV, P, Dh]. Gathering them from per-sequence memory
would copy the whole cache at every step. So the cache is kept in exactly that form, P wider than needed: a
mask hides the columns that a row has not filled, and one step writes one column a row. The arrays are made
anew only when a row or a block of columns is lacking, or when much of them has lain idle for some steps.

Memory: at most `max_sequences` rows of `max_model_len` columns (rounded up to a block), plus half as much
for the moment in which the arrays are made anew; short loads touch only what they use.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

BLOCK = 32
"""Columns that the cache grows by."""
PATIENCE = 8
"""Decode steps with idle rows or blocks before the cache is made smaller: one copy buys that many steps."""


@dataclass(frozen=True, slots=True)
class KvShape:
    """Sizes of keys and values that belong to the model."""

    layers: int
    kv_heads: int
    head_dim: int

    @property
    def bytes_per_token(self) -> int:
        """Keys and values of one token in float32."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 4


@dataclass(frozen=True, slots=True)
class Past:
    """The cache as the decoder takes it for one new token a row."""

    keys: Floats
    """float32 [L, B, KV, W, Dh]."""
    values: Floats
    mask: npt.NDArray[np.bool_]
    """bool [B, 1, 1, W + 1]: the filled columns, and the new token."""
    positions: npt.NDArray[np.int64]
    """int64 [B, 1]: position of the new token; 0 in idle rows."""


class KvSlots:
    """Rows by sequence id. Used by the engine's thread only."""

    def __init__(self, shape: KvShape, *, max_sequences: int, max_model_len: int) -> None:
        self._shape = shape
        self._max_rows = max_sequences
        self._max_width = _blocks(max_model_len)
        self._rows: list[int | None] = []
        self._lengths = np.zeros(0, np.int64)
        self._keys = self._zeros(0, 0)
        self._values = self._zeros(0, 0)
        self._idle_steps = 0

    @property
    def bytes_reserved(self) -> int:
        """Memory of the arrays now."""
        return self._keys.nbytes + self._values.nbytes

    @property
    def bytes_limit(self) -> int:
        """Memory that the arrays can grow to."""
        return self._shape.bytes_per_token * self._max_rows * self._max_width

    def row(self, sequence_id: int) -> int:
        """Where a sequence lies in the batch."""
        return self._rows.index(sequence_id)

    def add(self, sequence_id: int, keys: Floats, values: Floats) -> None:
        """Take in a prefilled sequence: keys and values [L, 1, KV, T, Dh]."""
        length = keys.shape[3]
        if None not in self._rows:
            if len(self._rows) >= self._max_rows:
                raise RuntimeError(f"{self._max_rows} sequences are in the cache, one more was scheduled")
            self._rebuild([*range(len(self._rows)), None], max(self._width, _blocks(length + 1)))
        elif length >= self._width:
            self._rebuild([*range(len(self._rows))], _blocks(length + 1))
        row = self._rows.index(None)
        self._rows[row] = sequence_id
        self._lengths[row] = length
        self._keys[:, row, :, :length] = keys[:, 0]
        self._values[:, row, :, :length] = values[:, 0]

    def retain(self, sequence_ids: frozenset[int]) -> None:
        """Free the rows of all other sequences."""
        for row, sequence_id in enumerate(self._rows):
            if sequence_id is not None and sequence_id not in sequence_ids:
                self._rows[row] = None
                self._lengths[row] = 0

    def past(self) -> Past:
        """The cache for the next decode step, with room for one more token in every row."""
        self._fit()
        columns = np.arange(self._width + 1)
        mask = columns < self._lengths[:, None]
        mask[:, -1] = True
        return Past(self._keys, self._values, mask[:, None, None, :], self._lengths[:, None].copy())

    def append(self, new_keys: Floats, new_values: Floats) -> None:
        """Write what the step computed, [L, B, KV, 1, Dh], behind each sequence's tokens."""
        for row, sequence_id in enumerate(self._rows):
            if sequence_id is not None:
                column = self._lengths[row]
                self._keys[:, row, :, column] = new_keys[:, row, :, 0]
                self._values[:, row, :, column] = new_values[:, row, :, 0]
                self._lengths[row] += 1

    @property
    def _width(self) -> int:
        return int(self._keys.shape[3])

    def _fit(self) -> None:
        used = [row for row, sequence_id in enumerate(self._rows) if sequence_id is not None]
        width = _blocks(int(self._lengths.max(initial=0)) + 1)
        if width > self._width:
            self._rebuild([*range(len(self._rows))], width)
        elif len(used) < len(self._rows) or width < self._width:
            self._idle_steps += 1
            if self._idle_steps >= PATIENCE:
                self._rebuild([*used], width)
        else:
            self._idle_steps = 0

    def _rebuild(self, rows: list[int | None], width: int) -> None:
        """Make the arrays anew from the given old rows, in that order; None is a free row."""
        self._idle_steps = 0
        width = min(width, self._max_width)
        keep = min(width, self._width)
        # Keys first, then values: never both old and both new at the same time.
        self._keys = self._copied(self._keys, rows, width, keep)
        self._values = self._copied(self._values, rows, width, keep)
        self._lengths = np.array([0 if row is None else self._lengths[row] for row in rows], np.int64)
        self._rows = [None if row is None else self._rows[row] for row in rows]

    def _copied(self, old: Floats, rows: list[int | None], width: int, keep: int) -> Floats:
        new = self._zeros(len(rows), width)
        for index, row in enumerate(rows):
            if row is not None:
                new[:, index, :, :keep] = old[:, row, :, :keep]
        return new

    def _zeros(self, rows: int, width: int) -> Floats:
        # Zeros, not garbage: a hidden column has weight 0, and 0 times not-a-number is not a number.
        shape = self._shape
        return np.zeros((shape.layers, rows, shape.kv_heads, width, shape.head_dim), np.float32)


def _blocks(columns: int) -> int:
    """Columns rounded up to whole blocks."""
    return -(-columns // BLOCK) * BLOCK
