"""Other people's columns become readings, and a refusal names the sender's own row."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import orjson
import pyarrow as pa

from connectors.core import ARROW, CSV, JSON, NDJSON
from connectors.field_map import FieldMap


def rows(mapped: tuple[str, bytes, object]) -> list[dict[str, object]]:
    assert mapped[0] == NDJSON
    return [orjson.loads(line) for line in mapped[1].split(b"\n")]


def test_a_map_of_nothing_changes_nothing() -> None:
    assert FieldMap().apply(CSV, b"a,b\n1,2\n") == (CSV, b"a,b\n1,2\n", None)


def test_a_wide_chinese_export_becomes_one_reading_a_value() -> None:
    text = "站点,排口,时间,二氧化硫,氮氧化物\nS1,DA001,2026-11-25 03:00,12.5,\nS1,DA001,2026-11-25 04:00,13,80.1\n"
    fields = FieldMap(
        columns={"站点": "site", "排口": "point", "时间": "time"},
        values={"二氧化硫": "a21026", "氮氧化物": "a21002"},
        fixed={"period": "hour"},
        zone="+08:00",
        time_format="%Y-%m-%d %H:%M",
        encoding="gbk",
    )
    mapped = fields.apply(CSV, text.encode("gbk"))
    common = {"site": "S1", "point": "DA001", "period": "hour"}
    assert rows(mapped) == [
        {**common, "time": "2026-11-25T03:00:00+08:00", "factor": "a21026", "value": 12.5},
        {**common, "time": "2026-11-25T04:00:00+08:00", "factor": "a21026", "value": 13.0},
        {**common, "time": "2026-11-25T04:00:00+08:00", "factor": "a21002", "value": 80.1},
    ]
    assert mapped[2] == (0, 1, 1)


def test_what_a_row_says_itself_is_stronger_than_a_fixed_field() -> None:
    fields = FieldMap(fixed={"period": "realtime"})
    body = b'[{"site":"S1","period":"hour"},{"site":"S2"}]'
    assert [row["period"] for row in rows(fields.apply(JSON, body, {"site": "S9"}))] == ["hour", "realtime"]
    assert [row["site"] for row in rows(fields.apply(JSON, body, {"site": "S9"}))] == ["S1", "S2"]


def test_a_broken_line_is_handed_on_for_the_codec_to_refuse() -> None:
    mapped = FieldMap(fixed={"period": "hour"}).apply(NDJSON, b'{"site":"S1"}\nnot json\n\n{"site":"S2"}')
    lines = mapped[1].split(b"\n")
    assert (lines[1], mapped[2]) == (b"not json", (0, 1, 2))
    assert FieldMap(encoding="gbk").apply(CSV, b"\x81", None) == (CSV, b"\x81", None)


def test_arrow_with_instants_and_with_milliseconds() -> None:
    when = datetime(2026, 11, 25, 3, tzinfo=UTC)
    for column in (pa.array([when], pa.timestamp("ms", "UTC")), pa.array([int(when.timestamp() * 1000)], pa.int64())):
        sink = io.BytesIO()
        table = pa.table({"ts": column, "v": [1.5]})
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        [row] = rows(FieldMap(columns={"ts": "time", "v": "value"}).apply(ARROW, sink.getvalue()))
        assert row == {"time": "2026-11-25T03:00:00+00:00", "value": 1.5}
