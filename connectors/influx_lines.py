"""Arrow columns to Influx line protocol: a table enters, lines leave, ready to be cut into the bodies of writes.

The text is made column by column in Arrow: a line costs about a microsecond, where one object a point costs ten. InfluxDB knows no
empty tag and no tag with a line break, so tag values are written by `tag` and read back by `untag`, and any text survives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.line_protocol import name, series

TEXT = pa.large_string()
_UNWRITABLE = re.compile(r"[%\x00-\x1f\x7f]|\\\Z")
_WRITTEN = re.compile("%([0-9A-F]{2})")


def tag(text: str) -> str:
    r"""Return text as a tag value: `%`, control characters and a backslash at the end become %HH.

    >>> tag("50%\n")
    '50%25%0A'
    """
    return _UNWRITABLE.sub(lambda found: f"%{ord(found[0]):02X}", text)


def untag(value: str) -> str:
    r"""Return the text of a tag value.

    >>> untag(tag("50%\n城南\\"))
    '50%\n城南\\'
    """
    return _WRITTEN.sub(lambda found: chr(int(found[1], 16)), value)


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines one after the other: `data` bytes, each line with its line break; line i is data[ends[i] : ends[i + 1]]."""

    data: memoryview
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many lines there are."""
        return len(self.ends) - 1

    def body(self, first: int, last: int) -> memoryview:
        """Return lines `first` to `last` (excluded) as one piece."""
        return self.data[self.ends[first] : self.ends[last]]

    @staticmethod
    def of(lines: Sequence[bytes]) -> Lines:
        """Return lines that were made elsewhere."""
        ends = np.cumsum([0, *(len(one) + 1 for one in lines)])
        return Lines(memoryview(b"".join(one + b"\n" for one in lines)), ends)


def table_lines(measurement: str, table: pa.Table, tags: Sequence[str]) -> Lines:
    """Return a line for each row of `table` (n,), in its order.

    `tags` names its text columns; `time` is int64 ns UTC; every other column (float, integer, boolean or text) is a field. A field
    that is null or not finite is left out; a row without any field makes no line.
    """
    fields = [column for column in table.column_names if column != "time" and column not in tags]
    head = _heads(measurement, table, tags)
    written = [_field(column, _one(table[column])) for column in fields]
    values = pc.binary_join_element_wise(*written, _text("")) if len(written) > 1 else written[0]
    values = pc.utf8_slice_codeunits(values, 1)
    time = _one(table["time"]).cast(TEXT)
    rows = pc.binary_join_element_wise(head, _text(" "), values, _text(" "), time, _text("\n"), _text(""))
    return _lines(rows.filter(pc.not_equal(values, _text(""))))


def _one(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _text(text: str) -> pa.Scalar:
    return pa.scalar(text, TEXT)


def _heads(measurement: str, table: pa.Table, tags: Sequence[str]) -> pa.Array:
    """Return measurement and tags of each row (n,), tags by name as InfluxDB wants them; a combination is written once."""
    heads, code = [series(measurement, {})], np.zeros(len(table), np.int64)
    for key in sorted(tags):
        coded = _one(table[key])
        if not pa.types.is_dictionary(coded.type):
            coded = coded.dictionary_encode()
        parts = [_part(key, value) for value in coded.dictionary.to_pylist()]
        seen, code = np.unique(code * len(parts) + coded.indices.to_numpy(zero_copy_only=False), return_inverse=True)
        heads = [heads[i // len(parts)] + parts[i % len(parts)] for i in seen.tolist()]
    return pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int32)), pa.array(heads, TEXT)).cast(TEXT)


@lru_cache(maxsize=200_000)
def _part(key: str, value: str) -> str:
    return f",{name(key)}={name(tag(value))}" if value else ""


def _field(column: str, values: pa.Array) -> pa.Array:
    """Return `,name=value` of each row, empty where there is no value."""
    kind = values.type
    if pa.types.is_floating(kind):
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, kind))
        word = values.cast(TEXT)
    elif pa.types.is_integer(kind):
        word = pc.binary_join_element_wise(values.cast(TEXT), _text("i"), _text(""))
    elif pa.types.is_boolean(kind):
        word = values.cast(TEXT)
    else:
        quoted = pc.replace_substring(pc.replace_substring(values.cast(TEXT), "\\", "\\\\"), '"', '\\"')
        word = pc.binary_join_element_wise(_text('"'), quoted, _text('"'), _text(""))
    return pc.fill_null(pc.binary_join_element_wise(_text(f",{name(column)}="), word, _text("")), _text(""))


def _lines(rows: Any) -> Lines:
    """Return an Arrow text column as lines; its buffer already holds them one after the other."""
    whole = pa.concat_arrays([rows]) if rows.offset else rows
    if not len(whole):
        return Lines(memoryview(b""), np.zeros(1, np.int64))
    ends = np.frombuffer(whole.buffers()[1], np.int64, len(whole) + 1)
    return Lines(memoryview(whole.buffers()[2]), ends)
