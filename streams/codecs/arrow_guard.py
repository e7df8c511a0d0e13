"""How much an Arrow IPC stream will unpack to, read from its headers before anything is unpacked.

Enters: the bytes of a stream. Leaves: nothing, or a Fault. Compressed buffers name their unpacked length in their first eight bytes,
and a batch names its rows; a small body could claim any of both and take the process with it (promise 4).
"""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa

from streams.codecs.rows import Fault

INFLATED = 512 << 20
"""Bytes that the buffers of one stream may unpack to."""
ROWS = 1 << 24
"""Rows that one stream may hold."""

_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # MessageHeader in Arrow's Message.fbs
_LENGTH, _BUFFERS, _COMPRESSION = 0, 2, 3  # fields of RecordBatch
_DATA = 1  # field of DictionaryBatch


def check_size(body: bytes) -> None:
    """Refuse a stream whose headers claim too much; raises Fault, ArrowInvalid or struct.error for broken headers."""
    rows = inflated = 0
    for message in pa.ipc.MessageReader.open_stream(body):
        batch = _record_batch(memoryview(message.metadata))
        if batch is None:
            continue
        rows += batch.number(_LENGTH)
        if batch.at(_COMPRESSION):
            inflated += _claimed(batch, memoryview(message.body))
        if rows > ROWS or inflated > INFLATED:
            raise Fault("bad_arrow", f"claims {rows} rows and {inflated} bytes; send at most {ROWS} rows and {INFLATED >> 20} MB")


class _Table:
    """A flatbuffer table: fields by their number (flatbuffers' binary format: a signed offset to the table of field offsets)."""

    def __init__(self, data: memoryview, position: int) -> None:
        self.data, self.position = data, position
        self._fields = position - struct.unpack_from("<i", data, position)[0]

    def at(self, field: int) -> int:
        """Return where a field lies, 0 if it is not there."""
        entry = 4 + 2 * field
        if self._fields < 0 or entry >= struct.unpack_from("<H", self.data, self._fields)[0]:
            return 0
        offset: int = struct.unpack_from("<H", self.data, self._fields + entry)[0]
        return self.position + offset if offset else 0

    def number(self, field: int) -> int:
        """Return an int64 field, 0 if it is not there."""
        position = self.at(field)
        return int(struct.unpack_from("<q", self.data, position)[0]) if position else 0

    def follow(self, field: int) -> int:
        """Return where the table or vector of a field begins."""
        position = self.at(field)
        return position + int(struct.unpack_from("<I", self.data, position)[0])


def _record_batch(metadata: memoryview) -> _Table | None:
    message = _Table(metadata, struct.unpack_from("<I", metadata, 0)[0])
    kind_at = message.at(1)
    kind = metadata[kind_at] if kind_at else 0
    if kind not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return None
    batch = _Table(metadata, message.follow(2))
    return _Table(metadata, batch.follow(_DATA)) if kind == _DICTIONARY_BATCH else batch


def _claimed(batch: _Table, body: Any) -> int:
    """Add up the unpacked lengths that compressed buffers claim; -1 marks one that is not compressed."""
    vector = batch.follow(_BUFFERS)
    (count,) = struct.unpack_from("<I", batch.data, vector)
    total = 0
    for i in range(count):
        offset, length = struct.unpack_from("<qq", batch.data, vector + 4 + 16 * i)
        if length >= 8 and offset >= 0:
            total += max(struct.unpack_from("<q", body, offset)[0], 0)
    return total
