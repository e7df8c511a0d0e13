"""A scenario is a folder: what arrived, and what must come out. It runs against any runtime that can judge a log.

    registry/*.csv    the registry; without it every device is a site of its own name, under the plan's [replay.limits]
    plan.toml         the plan, where the packaged one is not meant
    in.ndjson         one reading a line; also in.csv, or in.h212 with one frame a line
    context.ndjson    {"kind": "tick", "now": …}: log time goes on at least to there
                      {"kind": "pause", "start": …, "end": …}: the platform stood still, no tick came
    out.ndjson        one alert, lead or books a line, {"kind": …, field: value …}, in any order; fields that are left out may be anything

Log time: a reading's `arrived`, else the end of its period; a frame's time before the `##`, else its QN. Readings that follow
one another with one site and arrival are one record. A tick comes each minute.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from connectors.core import HJ212, NDJSON, Record
from connectors.hj212.commands import parse_cst
from connectors.hj212.header import parse
from connectors.memory import MemoryLog
from streams import registry as registries
from streams.engine import Engine
from streams.plan import load_plan
from streams.plan.load import HOUR, MINUTE, Plan
from streams.records import tick_record
from streams.registry_model import Registry

LASTS = {"realtime": 0, "minute": MINUTE, "hour": HOUR, "day": 24 * HOUR}
STEP = 50
Output = tuple[str, str, dict[str, Any]]
Judge = Callable[[Plan, Registry | None, Sequence[Record]], tuple[Iterable[Output], dict[str, int]]]
"""A runtime: plan, registry and log in; outputs (kind, site, body) and books out."""


def embedded(plan: Plan, registry: Registry | None, log: Sequence[Record]) -> tuple[list[Output], dict[str, int]]:
    """Judge a log as the embedded runtime does, a step at a time."""
    engine = Engine(plan, registry, infer=registry is None)
    outputs: list[Output] = []
    for first in range(0, len(log), STEP):
        outputs += engine.step(list(log[first : first + STEP]))[0].outputs
    return outputs, dict(engine.state.books)


def run_scenario(folder: Path, judge: Judge = embedded) -> list[dict[str, Any]]:
    """Judge what arrived; return the last word on each alert and lead, and the books, each with its `kind`."""
    plan = load_plan(folder / "plan.toml" if (folder / "plan.toml").exists() else None)
    registry = registries.load(folder / "registry") if (folder / "registry").is_dir() else None
    outputs, books = judge(plan, registry, log_of(folder))
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for kind, _site, body in outputs:
        known = last.get((kind, body["id"]))
        if known is None or body["seq"] > known["seq"]:
            last[kind, body["id"]] = {"kind": kind, **body}
    return [*last.values(), {"kind": "books", **books}]


def wanted(folder: Path) -> list[dict[str, Any]]:
    """Return what must come out."""
    return _lines(folder / "out.ndjson")


def differences(came: Iterable[dict[str, Any]], expected: Iterable[dict[str, Any]]) -> list[str]:
    """Pair what came with what was expected, one to one; say what is missing and what is too much."""
    left = list(came)
    faults = []
    for want in expected:
        found = next((body for body in left if _fits(body, want)), None)
        if found is None:
            near = [b for b in left if all(b.get(k) == want[k] for k in ("kind", "rule", "site") if k in want)]
            faults.append(f"missing {want}; near: {near}")
        else:
            left.remove(found)
    return faults + [f"too much: {body}" for body in left if body["kind"] != "books"]


def log_of(folder: Path) -> list[Record]:
    """Return the log: what arrived, in order, with a tick each minute of log time."""
    [source] = folder.glob("in.*")
    arrived = sorted(_frames(source) if source.suffix == ".h212" else _readings(source), key=lambda r: r.arrived)
    context = _lines(folder / "context.ndjson") if (folder / "context.ndjson").exists() else []
    pauses = [(_ms(c["start"]), _ms(c["end"])) for c in context if c["kind"] == "pause"]
    end = max([arrived[-1].arrived, *(_ms(c["now"]) for c in context if c["kind"] == "tick")])
    minutes = range(arrived[0].arrived // MINUTE * MINUTE + MINUTE, end + MINUTE, MINUTE)
    ticks = [(now, tick_record(now)) for now in minutes if not any(start <= now < stop for start, stop in pauses)]
    log = MemoryLog(lambda: 0)
    log.append([r for _, r in sorted([*((r.arrived, r) for r in arrived), *ticks], key=lambda pair: pair[0])])
    return log.records


def _readings(source: Path) -> Iterator[Record]:
    with source.open(encoding="utf-8", newline="") as lines:
        rows = [{**r, "value": float(r["value"])} for r in csv.DictReader(lines)] if source.suffix == ".csv" else _lines(source)
    for (arrived, site), group in groupby(rows, key=lambda row: (_arrival(row), row["site"])):
        body = b"\n".join(orjson.dumps({k: v for k, v in row.items() if k != "arrived"}) for row in group)
        yield Record("emission-monitoring", site, arrived, NDJSON, body)


def _frames(source: Path) -> Iterator[Record]:
    for line in source.read_bytes().splitlines():
        stamp, mark, rest = line.partition(b"##")
        header = parse(rest[4:])
        arrived = _ms(stamp.decode().strip()) if stamp else parse_cst(header.qn)
        assert arrived is not None
        yield Record("emission-monitoring", header.mn, arrived, HJ212, mark + rest)


def _arrival(row: dict[str, Any]) -> int:
    return _ms(row["arrived"]) if row.get("arrived") else _ms(row["time"]) + LASTS[row["period"]]


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _fits(body: Any, want: Any) -> bool:
    """Say whether `body` has everything that `want` says."""
    if isinstance(want, dict):
        return isinstance(body, dict) and all(name in body and _fits(body[name], value) for name, value in want.items())
    return bool(body == want)
