"""Other people's columns to the fields of a reading: rename, unpivot, fill in, and give times a zone.

Enters: a body of JSON, NDJSON, CSV or Arrow in the words of its sender. Leaves: NDJSON in the words of the product, and for each
line the number of the row it came from, so that a refusal names the sender's own row. A body that can't be read is handed on as
it is: the codec says what is wrong with it (promise 4).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from connectors.core import ARROW, CSV, JSON, NDJSON
from connectors.table import Table

_ZONE = re.compile(r"(Z|z|[+-]\d\d:?\d\d)$")
_OFFSET = re.compile(r"(Z|[+-]\d\d:\d\d)?\Z")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\Z")
_TIMES = ("time", "start", "end")
ENCODINGS = ("utf-8", "gbk", "gb18030")
BLANK = (None, "")


@dataclass(frozen=True, slots=True)
class FieldMap:
    """How a sender's rows become readings (or events).

    `columns`: theirs → ours · `values`: their column → factor, for tables with a column a factor; an empty cell is no reading
    · `fixed`: fields that every row has unless it says otherwise · `zone`: offset of times that carry none, `+08:00`
    · `time_format`: strptime pattern of times that are not RFC 3339; a whole
    number is ms UTC · `encoding`: of CSV.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    zone: str = ""
    time_format: str = ""
    encoding: str = "utf-8"

    @staticmethod
    def from_table(table: Table) -> FieldMap:
        """Read the keys columns, values, fixed, zone, time_format and encoding of an input's table."""
        zone = table.text("zone", "")
        if not _OFFSET.match(zone):
            table.fault("zone", f"{zone!r} is no offset; write +08:00")
        form = table.text("time_format", "")
        encoding = table.choice("encoding", ENCODINGS, "utf-8")
        return FieldMap(table.mapping("columns"), table.mapping("values"), table.mapping("fixed"), zone, form, encoding)

    def apply(
        self, content_type: str, body: bytes, more: Mapping[str, str] | None = None
    ) -> tuple[str, bytes, tuple[int, ...] | None]:
        """Return (content type, body, row numbers) of the mapped body; `more` are fixed fields of this body alone.

        Row numbers are None where nothing was mapped.
        """
        fixed = {**self.fixed, **(more or {})}
        if not (self.columns or self.values or fixed or self.zone or self.time_format or self.encoding != "utf-8"):
            return content_type, body, None
        try:
            rows = list(_rows(content_type, body, self.encoding))
        except (ValueError, csv.Error, KeyError):
            return content_type, body, None
        lines: list[bytes] = []
        numbers: list[int] = []
        for number, row in enumerate(rows):
            made = [orjson.dumps(r) for r in self._row(row, fixed)] if isinstance(row, dict) else [row]
            lines += made
            numbers += [number] * len(made)
        return NDJSON, b"\n".join(lines), tuple(numbers)

    def _row(self, row: Mapping[str, Any], fixed: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the rows that one row becomes: one, or one a value column that has a value."""
        base: dict[str, Any] = dict(fixed)
        base |= {self.columns.get(k, k): v for k, v in row.items() if k not in self.values and v not in BLANK}
        for name in _TIMES:
            if isinstance(base.get(name), str):
                base[name] = self._time(base[name])
            elif type(base.get(name)) is int:
                base[name] = datetime.fromtimestamp(base[name] / 1000, UTC).isoformat()
        if not self.values:
            return [base | {"value": _number(base["value"])} if "value" in base else base]
        cells = ((factor, row.get(column)) for column, factor in self.values.items())
        return [{**base, "factor": factor, "value": _number(cell)} for factor, cell in cells if cell not in BLANK]

    def _time(self, text: str) -> str:
        """Return RFC 3339; a text that is no time stays as it is, for the codec to refuse."""
        if self.time_format:
            try:
                found = datetime.strptime(text, self.time_format)  # noqa: DTZ007 — the zone is added below, where the text has none
            except ValueError:
                return text
            text = found.isoformat()
        if self.zone and not _ZONE.search(text):
            text = text.strip().replace(" ", "T", 1) + self.zone
        return text


def _rows(content_type: str, body: bytes, encoding: str) -> Iterator[dict[str, Any] | bytes]:
    """Yield the rows of a body, a line that is not JSON as its bytes. Raises ValueError or csv.Error if it can't be read at all."""
    if content_type == JSON:
        found = orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
        yield from (_or_bytes(row) for row in (found if isinstance(found, list) else [found]))
    elif content_type == NDJSON:
        for line in filter(None, (part.strip() for part in body.removeprefix(b"\xef\xbb\xbf").split(b"\n"))):
            try:
                yield _or_bytes(orjson.loads(line))
            except orjson.JSONDecodeError:
                yield line
    elif content_type == CSV:
        text = body.decode("utf-8-sig" if encoding == "utf-8" else encoding)
        for row in csv.DictReader(io.StringIO(text, newline=""), strict=True):
            yield {str(k).strip(): v.strip() for k, v in row.items() if isinstance(v, str)}
    elif content_type == ARROW:
        yield from _arrow(body)
    else:
        raise ValueError(content_type)


def _or_bytes(row: Any) -> dict[str, Any] | bytes:
    return row if isinstance(row, dict) else orjson.dumps(row)


def _arrow(body: bytes) -> Sequence[dict[str, Any]]:
    """Return the rows of an Arrow stream; instants as RFC 3339."""
    import pyarrow as pa

    try:
        rows: list[dict[str, Any]] = pa.ipc.open_stream(body).read_all().to_pylist()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    for row in rows:
        for name, value in row.items():
            if isinstance(value, datetime):
                row[name] = value.isoformat()
    return rows


def _number(value: Any) -> Any:
    """Return a cell's number, or the cell for which it will be refused."""
    return float(value) if isinstance(value, str) and _NUMBER.match(value.strip()) else value
