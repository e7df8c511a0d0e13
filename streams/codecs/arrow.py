"""Readings as an Arrow IPC stream: columns in, columns out (design §3, Messages).

Enters: the bytes of a stream with the Reading's columns. Leaves: `Decoded`. A stream that cannot be read is one Reject.
"""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa

from streams.codecs.arrow_guard import check_size
from streams.codecs.columns import decode_table
from streams.codecs.rows import NO_ENVELOPE, Envelope, Fault
from streams.model import Decoded, Readings, Reject, SeriesTable

TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        *((name, TEXT) for name in ("site", "point", "factor", "period", "stat", "flag")),
        ("time", pa.timestamp("ms", tz="Asia/Shanghai")),
        ("value", pa.float64()),
    ]
)


def decode(body: bytes, table: SeriesTable, arrived: int, *, record: int = -1, envelope: Envelope = NO_ENVELOPE) -> Decoded:
    """Decode a stream; arguments as `json_.decode`."""
    try:
        check_size(body)
        with pa.ipc.open_stream(body) as stream:
            columns = stream.read_all()
        columns.validate(full=True)
        return decode_table(columns, table, arrived, record=record, envelope=envelope)
    except Fault as fault:
        return _refused(fault.reason, str(fault), body, record)
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError, struct.error) as error:
        return _refused("bad_arrow", f"not an Arrow IPC stream ({error}); write it with RecordBatchStreamWriter", body, record)


def _refused(reason: str, detail: str, body: bytes, record: int) -> Decoded:
    return Decoded(Readings.empty(), [], [Reject(reason, detail, body, max(record, 0), 0)])


def to_table(readings: Readings, table: SeriesTable) -> pa.Table:
    """Return a batch as a table of SCHEMA."""
    distinct, codes = np.unique(readings.series, return_inverse=True)
    keys = [table.keys[number] for number in distinct.tolist()]
    columns = {}
    for name in ("site", "point", "factor", "period", "stat"):
        texts = {text: i for i, text in enumerate(dict.fromkeys(getattr(key, name) for key in keys))}
        parts = np.asarray([texts[getattr(key, name)] for key in keys], np.int32)
        columns[name] = pa.DictionaryArray.from_arrays(parts[codes] if keys else parts, pa.array(list(texts), pa.string()))
    flags, of_flag = np.unique(readings.flag, return_inverse=True)
    letters = pa.array([chr(flag) if flag else "" for flag in flags.tolist()], pa.string())
    columns["flag"] = pa.DictionaryArray.from_arrays(of_flag.astype(np.int32), letters)
    columns["time"] = pa.array(readings.time, pa.timestamp("ms", tz="Asia/Shanghai"))
    columns["value"] = pa.array(readings.value)
    return pa.table(columns, schema=SCHEMA)


def encode(readings: Readings, table: SeriesTable) -> bytes:
    """Write a batch as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as stream:
        stream.write_table(to_table(readings, table))
    return bytes(sink.getvalue())
