"""What is said over HTTP is taken by the product's own decoders, row for row."""

from __future__ import annotations

import json

from offsite.city.reports import events, power_rows
from offsite.city.tables import DAY_MS, HOUR_MS, MINUTE_MS
from streams.codecs.events import decode_events
from streams.codecs.json_ import decode
from streams.model import SeriesTable


def test_power_is_readable(full_city):
    for period, step in (("minute", 10 * MINUTE_MS), ("realtime", MINUTE_MS)):
        rows = power_rows(full_city, full_city.start_ms, step, 2, period=period)
        table = SeriesTable()
        found = decode(json.dumps(rows).encode(), table, full_city.start_ms)
        assert found.rejects == []
        assert len(found.readings) == len(rows) == 2 * len(full_city.inventory.meters)
        assert {(k.factor, k.period) for k in table.keys} == {("d10001", period)}
        assert set(found.readings.time.tolist()) == {full_city.start_ms, full_city.start_ms + step}


def test_events_are_readable(full_city):
    rows = events(full_city, full_city.start_ms, full_city.live_ms + 2 * HOUR_MS)
    found, rejects = decode_events("application/json", json.dumps(rows).encode())
    assert rejects == []
    assert [(e.id, e.kind, e.site) for e in found] == [(r["id"], r["kind"], r["site"]) for r in rows]


def test_maintenance_comes_with_a_work_order_about_once_a_week(full_city):
    rows = events(full_city, full_city.start_ms, full_city.start_ms + 7 * DAY_MS)
    visits = [r for r in rows if r["kind"] == "door_open"]
    cameras = sum(bool(s.camera) for s in full_city.inventory.sites)
    assert 0.9 * cameras <= len(visits) <= 1.1 * cameras
    assert all(r["body"]["work_order_id"] for r in visits)
