"""A small world for the console's tests: a real desk on SQLite, a history that draws curves, one registry, one clock."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cases.clocks import format_time
from cases.store import Desk
from console.app import create_app
from streams.summary import summarise, window_length

HOUR = 3_600_000
NOW = 1_795_478_400_000  # 2026-11-24T08:00:00+08:00
SITE = "XS001"
FACTORS = {
    "a21026": ("二氧化硫", "SO₂", "mg/m³", 35.0, 50.0),
    "a21002": ("氮氧化物", "NOx", "mg/m³", 62.0, 100.0),
    "a34013": ("颗粒物", "Particulates", "mg/m³", 6.0, 10.0),
    "a19001": ("含氧量", "O₂", "%", 8.5, None),
    "a01011": ("烟气流速", "Velocity", "m/s", 11.0, None),
    "a01012": ("烟气温度", "Temperature", "℃", 118.0, None),
}
SITES = {"XS001": "示例热电一号厂", "XS002": "示例建材", "XS003": "示例水务", "XS004": "示例化工"}


def content_id(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()[:32]


def alert(k: int, **changes: Any) -> dict[str, Any]:
    """One alert of the judge; `k` makes it its own."""
    opened = changes.pop("opened_ms", NOW - 3 * HOUR)
    return {
        "id": content_id("alert", str(k)), "rule": "exceed-hour", "family": "limits", "site": SITE, "point": "DA001", "factor": "a21026",
        "period": "hour", "level": 2, "active": True, "opened": format_time(opened), "updated": format_time(opened + HOUR),
        "closed": None, "observed": 83.4, "expected": 50.0, "limit": 50.0, "unit": "mg/m³", "score": 1.67,
        "reason_zh": "二氧化硫小时折算均值 83.4 mg/m³，超过限值 50 mg/m³ 的 0.67 倍，已连续 2 小时。",
        "reason_en": "Converted hourly mean of SO₂ is 83.4 mg/m³, 0.67 times over the limit of 50 mg/m³, for 2 hours.",
        "plan": "3f9a0c1d", "seq": 1, "folded": None, **changes,
    }  # fmt: skip


def lead(k: int, alerts: Sequence[str], **changes: Any) -> dict[str, Any]:
    """One lead that rests on `alerts`."""
    return {
        "id": content_id("lead", str(k)), "type": "two-families", "site": SITE, "point": "DA001",
        "window": {"start": format_time(NOW - 3 * HOUR), "end": format_time(NOW - HOUR)}, "alerts": list(alerts),
        "families": ["limits", "power"], "probability": 0.91, "grade": "B", "missing": ["手工监测"],
        "clause": "《生态环境法典》第一百六十四条", "opened": format_time(NOW - 2 * HOUR), "updated": format_time(NOW - HOUR), "level": 2,
        "reason_zh": "生产线运行而治理设施停运，同时段二氧化硫超标，两类证据相互独立。",
        "reason_en": "Production ran while treatment stood still, and SO₂ was over its limit: two independent kinds of evidence.",
        "plan": "3f9a0c1d", "auto_case": False, "seq": 1, **changes,
    }  # fmt: skip


def output(number: int, body: dict[str, Any]) -> tuple[int, str, str, dict[str, Any]]:
    return number, "lead" if "alerts" in body else "alert", body["site"], body


class Curves:
    """A history of plausible curves: hourly values with an exceedance, one gap and one span of maintenance."""

    def series(self, site: str, point: str, factor: str, start_ms: int, end_ms: int, period: str | None = None) -> pa.Table:
        step = {"realtime": 60_000, "minute": 600_000, "hour": HOUR, "day": 24 * HOUR}[period or "hour"]
        time = np.arange(-(-start_ms // step) * step, end_ms, step, dtype=np.int64)
        time = time[(time < NOW - 16 * HOUR) | (time >= NOW - 13 * HOUR)]
        base = FACTORS.get(factor, ("", "", "", 20.0, None))[3]
        wave = np.sin(time / HOUR * 0.7 + len(factor) + base) * 0.06 + np.sin(time / HOUR * 2.9 + base) * 0.04
        dry = base * (1 + wave)
        if factor == "a21026":
            dry = np.where((time >= NOW - 3 * HOUR) & (time < NOW), base * 2.0 * (1 + wave), dry)
        bad = (time >= NOW - 10 * HOUR) & (time < NOW - 8 * HOUR)
        rows = {"avg": dry}
        if factor in ("a21026", "a21002", "a34013"):
            rows["zs_avg"] = dry * 1.19
        parts = [
            pa.table({
                "time": time, "stat": [stat] * len(time), "period": [period or "hour"] * len(time), "value": value,
                "flag": np.where(bad, ord("M"), ord("N")).astype(np.uint8), "quality": np.where(bad, 4, 1).astype(np.uint8),
                "revision": np.zeros(len(time), np.int32),
            })
            for stat, value in rows.items()
        ]  # fmt: skip
        return pa.concat_tables(parts)

    def summary(
        self, site: str, point: str, factor: str, start: int, end: int, period: str | None = None, most: int = 2000
    ) -> pa.Table:
        return summarise(self.series(site, point, factor, start, end, period), start, window_length(start, end, most))


FETCHED = {"source": "checks", "department": "区市场监管局", "fetched": "2026-11-01T02:30:00.000+08:00", "sha256": "ab" * 32}
REFERENCE = {
    "facts": [
        {"kind": "inspection", "date": "2026-03-02", "number": "", "authority": "", "result": "未见异常", "row": "3"} | FETCHED,
        {"kind": "penalty", "date": "2026-09-15", "number": "示环罚〔2026〕7号", "authority": "示范县生态环境局", "row": "4"}
        | {"result": "超标排放", "amount": "120000"}
        | FETCHED,
    ],
    "fields": [],
    "conflicts": [
        {"table": "sites", "key": "XS001", "field": "industry", "value": "4411", "source": "permits"}
        | {"others": [{"source": "checks", "value": "4417"}]}
    ],
    "left_out": [],
}
"""What other departments say of SITE."""


def registry(site: str) -> dict[str, Any]:
    if site not in SITES:
        return {}
    factors = [
        {"factor": code, "name_zh": zh, "name_en": en, "unit": unit, "limit": limit}
        for code, (zh, en, unit, _, limit) in FACTORS.items()
    ]
    points = [{"point": name, "name": name, "medium": "gas", "factors": factors} for name in ("DA001", "DA002")]
    card = {"site": site, "name": SITES[site], "enterprise": SITES[site], "district": "示范县", "points": points}
    return card | {"reference": REFERENCE} if site == SITE else card


PEOPLE = (
    {"person": "zhang", "name": "张值班", "role": "operator"},
    {"person": "li", "name": "李班长", "role": "shift_lead"},
    {"person": "wang", "name": "王执法", "role": "officer"},
)


@cache
def empty_desk() -> bytes:
    """Migrate once; every world starts from a copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "desk.sqlite"
        with Desk(f"sqlite:///{path}", clock=lambda: NOW) as desk:
            desk.put_people(PEOPLE)
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


class World:
    """The parts of a console under test, with a clock that stands until it is moved."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.stop = False
        path = folder / "desk.sqlite"
        if not path.exists():
            path.write_bytes(empty_desk())
        self.desk = Desk(f"sqlite:///{path}", clock=lambda: self.now, migrate=False)
        self.offered = 0
        self.conditions: list[dict[str, Any]] = []
        self.app = create_app(
            self.desk, Curves(), clock=lambda: self.now, registry=registry, title="示范市",
            books=lambda: {"readings": {"received": 100, "accepted": 97, "duplicate": 1, "revised": 0, "late": 1, "refused": 1}},
            devices=lambda: [
                {"mn": "XS001A", "site": "XS001", "point": "DA001", "online": True, "last_seen": format_time(NOW - 30_000)},
                {"mn": "XS002A", "site": "XS002", "point": "DA002", "online": False, "last_seen": format_time(NOW - 5 * HOUR)},
            ],
            clock_info=lambda: {"judged": self.now - 2000, "speed": 1.0}, stopping=lambda: self.stop,
        )  # fmt: skip

    def judged(self, *bodies: dict[str, Any]) -> None:
        """Let the judge's outputs arrive at the desk."""
        rows = [output(self.offered + k, body) for k, body in enumerate(bodies, 1)]
        self.offered += len(rows)
        self.desk.project(rows, self.offered)


def morning(world: World) -> None:
    """Fill the desk with a believable morning."""
    kinds = [
        (1, "D-01", "power", "治污设施未运行：生产线 2# 412 kW 运行 47 分钟，布袋除尘 0 kW。", "Treatment is off: line 2 at 412 kW for 47 min, filter at 0 kW.", "XS002", "DA002", None),
        (2, "exceed-hour", "limits", "氮氧化物小时折算均值 128 mg/m³，超过限值 100 mg/m³ 的 0.28 倍。", "Converted hourly mean of NOx is 128 mg/m³, 0.28 times over the limit.", "XS001", "DA001", "a21002"),
        (2, "E-03", "video", "站房闯入：门禁无登记，随后颗粒物 3 分钟内下降 62 %。", "Intrusion: no entry in the door log, then particulates fell 62 % in 3 min.", "XS003", "DA001", "a34013"),
        (3, "silence", "quality", "传输中断 2 小时 10 分，3 个点位同时，疑为运营商线路。", "No data for 2 h 10 min at 3 points, probably the carrier.", "XS004", "DA001", None),
        (4, "step", "statistics", "颗粒物单点突变：6.1 → 9.8 mg/m³，随后恢复。", "Step of particulates: 6.1 → 9.8 mg/m³, then back.", "XS001", "DA002", "a34013"),
    ]  # fmt: skip
    rows = [alert(0, level=1, score=2.1)]
    for k in range(1, 60):
        level, rule, family, zh, en, site, point, factor = kinds[k % len(kinds)]
        rows.append(alert(k, level=level, rule=rule, family=family, reason_zh=zh, reason_en=en, site=site, point=point, factor=factor,
                          opened_ms=NOW - k * HOUR // 3, active=k % 3 != 0, closed=None if k % 3 else format_time(NOW - k * HOUR // 3 + HOUR // 4), seq=k))  # fmt: skip
    for k, row in enumerate(rows):
        world.now = NOW - (len(rows) - k) * 60_000
        world.judged(row)
    world.judged(
        lead(1, [rows[0]["id"], rows[1]["id"]], seq=900),
        lead(2, [rows[2]["id"]], site="XS001", level=3, type="two-families", seq=901),
    )
    world.now = NOW
