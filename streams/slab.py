"""The live state of one detector: a growing structured array, persisted in chunks of at most 64 KB when dirty.

Row numbers enter, records leave. Zero bytes mean "nothing seen yet", so a new row needs no initialisation and a state that
was never written restores to the same thing. A chunk is the unit of persistence (design §2): it holds a whole number of rows,
its number is `row // chunk_rows`, and its bytes are the little-endian records one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.integer[Any]]

CHUNK_BYTES = 65_536


class Slab:
    """One record a member, all in one array.

    >>> slab = Slab("demo", np.dtype([("n", "<i8")]))
    >>> slab.rows(3)
    >>> slab.data["n"][[0, 2]] += 7
    >>> slab.touch(np.array([0, 2]))
    >>> [(number, len(raw)) for number, raw in slab.dirty_chunks()]
    [(0, 24)]

    name: what the changelog calls it; dtype: the record; chunk_bytes: upper bound of a chunk, at least one record.
    """

    __slots__ = ("_buffer", "_dirty", "_plain", "_size", "_store", "chunk_rows", "dtype", "name")

    def __init__(self, name: str, dtype: np.dtype[Any], chunk_bytes: int = CHUNK_BYTES) -> None:
        if dtype.itemsize > chunk_bytes:
            raise ValueError(f"slab {name}: a record of {dtype.itemsize} bytes does not fit a chunk of {chunk_bytes}")
        if dtype.hasobject:
            raise ValueError(f"slab {name}: a record must be plain bytes, without Python objects")
        self.name = name
        self.dtype = dtype
        self.chunk_rows = chunk_bytes // max(dtype.itemsize, 1)
        self._plain = np.dtype((np.void, dtype.itemsize))  # moved as plain bytes, several times faster than field by field
        self._buffer: NDArray[Any] = np.empty(0, self._plain)
        self._size = 0
        self._store: NDArray[Any] = np.zeros(0, dtype)
        self._dirty = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        """Return how many rows are in use."""
        return self._size

    @property
    def data(self) -> NDArray[Any]:
        """The rows in use, (n,) of `dtype`, for access in place; call `touch` after a change, and take it anew after `rows`."""
        return self._store[: self._size]

    @property
    def nbytes(self) -> int:
        """Bytes of the rows in use."""
        return self._size * self.dtype.itemsize

    def rows(self, n: int) -> None:
        """Make sure that rows 0..n-1 exist; new ones are zero. Never shrinks. Amortised O(1) a row."""
        if n > len(self._store):
            grown = np.zeros(max(n, 2 * len(self._store), 64), self.dtype)
            grown[: self._size] = self._store[: self._size]
            self._store = grown
        if n > self._size:
            self._size = n
            chunks = -(-n // self.chunk_rows)
            if chunks > len(self._dirty):
                self._dirty = np.concatenate([self._dirty, np.zeros(chunks - len(self._dirty), np.bool_)])

    def gather(self, rows: Rows) -> NDArray[Any]:
        """Copy the records of `rows` (k,) → (k,). IndexError if a row does not exist."""
        if not self.dtype.itemsize:
            return np.zeros(len(rows), self.dtype)
        return self.data.view(self._plain).take(rows).view(self.dtype)

    def borrow(self, rows: Rows) -> NDArray[Any]:
        """Return what `gather` returns in a buffer that the next `borrow` overwrites: no new memory for each batch.

        Rows must exist (`rows`); one that does not is taken for the nearest that does.
        """
        if len(rows) > len(self._buffer):
            self._buffer = np.empty(max(len(rows), 2 * len(self._buffer)), self._plain)
        borrowed = self._buffer[: len(rows)]
        if self.dtype.itemsize:
            self.data.view(self._plain).take(rows, out=borrowed, mode="clip")
        return borrowed.view(self.dtype)

    def scatter(self, rows: Rows, records: NDArray[Any]) -> None:
        """Put `records` (k,) back at `rows` (k,) and mark their chunks dirty. IndexError if a row does not exist."""
        if self.dtype.itemsize:
            self.data.view(self._plain)[rows] = records.view(self._plain)
            self.touch(rows)

    def touch(self, rows: Rows) -> None:
        """Mark the chunks of `rows` dirty, after a change through `data`."""
        if self.dtype.itemsize and len(rows):
            self._dirty[np.asarray(rows) // self.chunk_rows] = True

    def dirty_chunks(self) -> Iterator[tuple[int, bytes]]:
        """Yield (chunk number, bytes) of every chunk changed since `clean`; the last chunk holds only the rows in use."""
        for number in np.flatnonzero(self._dirty).tolist():
            yield number, self.data[number * self.chunk_rows : (number + 1) * self.chunk_rows].tobytes()

    def clean(self) -> None:
        """Forget what is dirty: call it once the step that wrote the chunks is durable."""
        self._dirty[:] = False

    def load(self, number: int, raw: bytes) -> None:
        """Restore chunk `number`. Chunks come in any order. ValueError if `raw` is not a chunk of this slab."""
        size = self.dtype.itemsize
        if number < 0 or size == 0 or not raw or len(raw) % size or len(raw) > self.chunk_rows * size:
            raise ValueError(f"slab {self.name}: chunk {number} of {len(raw)} bytes does not hold records of {size} bytes")
        first = number * self.chunk_rows
        records = np.frombuffer(raw, self.dtype)
        self.rows(first + len(records))
        self._store[first : first + len(records)] = records
