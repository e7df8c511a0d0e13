"""Columns to lines: what a table says is what the lines say, whatever its names, values and gaps are."""

from __future__ import annotations

import math

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from connectors.influx_lines import Lines, table_lines, tag, untag
from connectors.line_protocol import parse

TEXT = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from('\\,= "%\n')))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "site": TEXT,
            "factor": TEXT,
            "time": st.integers(-(1 << 63), (1 << 63) - 1),
            "value": st.one_of(st.none(), st.floats()),
            "count": st.one_of(st.none(), st.integers(-(1 << 63), (1 << 63) - 1)),
            "valid": st.one_of(st.none(), st.booleans()),
            "note": st.one_of(st.none(), TEXT),
        }
    ),
    max_size=8,
)
SCHEMA = pa.schema(
    [
        ("site", pa.string()),
        ("factor", pa.string()),
        ("time", pa.int64()),
        ("value", pa.float64()),
        ("count", pa.int64()),
        ("valid", pa.bool_()),
        ("note", pa.string()),
    ]
)


@given(ROWS, st.booleans())
def test_lines_say_what_the_table_says(rows: list[dict], coded: bool) -> None:
    table = pa.Table.from_pylist(rows, SCHEMA)
    if coded:
        for i, name in enumerate(("site", "factor")):
            table = table.set_column(i, name, table[name].dictionary_encode())
    lines = table_lines("air", table, ("site", "factor"))
    points, faults = parse(b"".join(lines.body(i, i + 1) for i in range(len(lines))), "ns")
    assert faults == []
    told = [
        {"time": p.time, "site": untag(p.tags.get("site", "")), "factor": untag(p.tags.get("factor", "")), **p.fields}
        for p in points
    ]
    fields = ("value", "count", "valid", "note")
    meant = [
        {
            k: v
            for k, v in row.items()
            if k not in fields or (v is not None and not (isinstance(v, float) and not math.isfinite(v)))
        }
        for row in rows
    ]
    assert told == [row for row in meant if row.keys() & set(fields)]


@given(TEXT)
def test_any_text_survives_as_a_tag(text: str) -> None:
    assert untag(tag(text)) == text


def test_lines_are_cut_anywhere() -> None:
    lines = Lines.of([b"a f=1", b"b f=2", b"c f=3"])
    assert len(lines) == 3
    assert bytes(lines.body(1, 3)) == b"b f=2\nc f=3\n"
    assert len(Lines.of([])) == 0
