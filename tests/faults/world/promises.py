"""The promises of design §4 as invariants of a finished run. Each returns the sentences that say what is broken; none is good.

The reference is a clean judge over the same log: one process, no fault, cut at other places.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import orjson

from connectors.core import HJ212, Record
from connectors.hj212.crc import crc16
from connectors.hj212.header import parse
from connectors.memory import MemoryLog
from streams.identity import rfc3339
from streams.plan.load import Plan
from tests.faults.world.desk import AnyDesk
from tests.faults.world.devices import Device
from tests.faults.world.judge import Durable, Judge, Output, Store
from tests.faults.world.oracle import area, fates

FLAGGED = re.compile(rb"(-Avg=)([0-9.]+)(,\w+-Flag=D)")


@dataclass(slots=True)
class Ended:
    """A run that has come to rest."""

    log: Sequence[Record]
    disk: Durable
    desk: AnyDesk
    devices: Sequence[Device]
    sites: dict[str, str]
    plan: Plan


def clean(log: Sequence[Record], plan: Plan, rng: Random, cuts: tuple[int, int]) -> Durable:
    """Judge a log without faults in steps of cuts[0] to cuts[1] records."""
    source = MemoryLog(lambda: 0)
    source.records = list(log)
    judge = Judge(source, Store(Durable()), plan)
    while judge.step(rng.randint(*cuts)):
        pass
    return judge.store.disk


def broken(end: Ended, rng: Random, *, deep: bool) -> list[str]:
    """Return what is broken of promises 1 to 5 and 7; `deep` re-judges the log once more for promise 5."""
    reference = clean(end.log, end.plan, rng, (100, 400))
    found = [
        *acknowledged(end),
        *books(end),
        *same(end.disk, reference),
        *numbered(end.disk.outputs),
        *desk(end, reference.outputs),
        *event_time(end),
    ]
    return [*found, *bad_quality(end, rng)] if deep else found


def acknowledged(end: Ended) -> Iterator[str]:
    """Promise 1: what was acknowledged is in the log."""
    there = {(h.mn, h.qn) for r in end.log if r.content_type == HJ212 for h in [parse(r.body[6:-4])]}
    for device in end.devices:
        lost = [qn for qn in device.acked if (device.mn, qn) not in there]
        if lost:
            yield f"promise 1: {device.mn} was given a 9014 for {', '.join(lost)}, and the log has no such frame"
        if device.waiting:
            yield f"promise 1: {device.mn} never got an answer for {', '.join(device.waiting)}"
        if len(set(device.acked)) != len(device.uploads):
            yield f"promise 1: {device.mn} sent {len(device.uploads)} frames and got {len(set(device.acked))} answers"


def books(end: Ended) -> Iterator[str]:
    """Promise 4: one fate a reading, counted once, as a plain reading of the log counts it."""
    counts = Counter(end.disk.misc()["books"])
    plain = fates(end.log, end.sites)
    for name in ("received", "accepted", "duplicate", "revised", "late", "refused"):
        if counts[f"readings.{name}"] != plain[name]:
            yield f"promise 4: {counts[f'readings.{name}']} readings {name}, the log holds {plain[name]}"
    rejected = sum(n for name, n in counts.items() if name.startswith("frames.rejected."))
    frames = (counts["frames.accepted"], counts["frames.held"], rejected)
    if frames != (plain["frames"] + plain["held"], plain["held"], plain["bad"]):
        yield f"promise 4: frames accepted, held, rejected are {frames}, the log holds {plain}"
    if len(end.disk.rejects) != plain["bad"]:
        yield f"promise 4: {len(end.disk.rejects)} dead letters, the log holds {plain['bad']}"


def same(got: Durable, reference: Durable) -> Iterator[str]:
    """Promises 2 and 3: the outputs, the books and the state of a clean run, to the byte."""
    mine, theirs = ([orjson.dumps(o[1:]) for o in disk.outputs] for disk in (got, reference))
    if mine != theirs:
        at = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
        first = [orjson.loads(side[at])[2] if at < len(side) else None for side in (mine, theirs)]
        yield f"promises 2, 3: output {at} of {len(mine)} (clean: {len(theirs)}) is {_differing(*first)}"
    ours, others = _state(got), _state(reference)
    for key in sorted(ours.keys() | others.keys()):
        if ours.get(key) != others.get(key):
            yield f"promise 3: state chunk {key} differs from the clean run"
    small, clean_small = ({k: v for k, v in disk.misc().items() if k != "next_run"} for disk in (got, reference))
    if small != clean_small:
        yield f"promise 3: small state {_differing(small, clean_small)}"


def _state(disk: Durable) -> dict[tuple[str, str, int], bytes]:
    """Return the stored state without what depends on the cut: the runs of seen keys, and how many names lie in a chunk."""
    whole = {key: body for key, body in disk.chunks.items() if key[0] not in ("seen", "misc", "keys")}
    names = sorted((key[2], body) for key, body in disk.chunks.items() if key[0] == "keys")
    return whole | {("keys", "", 0): orjson.dumps([name for _, body in names for name in orjson.loads(body)])}


def numbered(outputs: Sequence[Output]) -> Iterator[str]:
    """Promise 2: each site's sequence is 1, 2, 3 …, and nothing is opened twice."""
    sequences = defaultdict(list)
    for _, _, site, body in outputs:
        sequences[site].append(body["seq"])
    for site, numbers in sequences.items():
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"promise 2: the sequence of {site} is {numbers}"


def desk(end: Ended, reference: Sequence[Output]) -> Iterator[str]:
    """Promise 2: the desk has each alert and lead once, as the judge said it last, and one case a lead that asked for one."""
    last: dict[str, dict[str, dict[str, Any]]] = {"alert": {}, "lead": {}}
    asked = {body["id"] for _, kind, _, body in reference if kind == "lead" and body["auto_case"]}
    for _, kind, _, body in reference:
        last[kind][body["id"]] = body
    for kind, rows in (("alert", end.desk.alerts()), ("lead", end.desk.leads())):
        if rows.keys() != last[kind].keys():
            yield f"promise 2: the desk has {len(rows)} {kind}s, the log gives {len(last[kind])}"
        for key in rows.keys() & last[kind].keys():
            if (said := {k: v for k, v in rows[key].items() if k != "state"}) != last[kind][key]:
                yield f"promise 2: {kind} {key} at the desk: {_differing(said, last[kind][key])}"
    cases = end.desk.cases()
    if sorted(cases) != sorted(asked):
        yield f"promise 2: {len(cases)} cases of {len(set(cases))} leads, asked for {len(asked)}"


def event_time(end: Ended) -> Iterator[str]:
    """Promise 7: an alert of data begins at an event time of its device."""
    times: dict[str, set[str]] = defaultdict(set)
    for record in end.log:
        if record.content_type == HJ212 and record.topic != "held":
            times[record.key].add(str(rfc3339(area(record.body)[2])))
    for _, kind, site, body in end.disk.outputs:
        if kind == "alert" and body["rule"] != "silence" and body["opened"] not in times[site]:
            yield f"promise 7: {body['rule']} of {site} opened at {body['opened']}, when nothing was measured"


def bad_quality(end: Ended, rng: Random) -> Iterator[str]:
    """Promise 5: other numbers under a bad flag raise and clear nothing."""
    other = [replace(r, body=_other(r.body)) if r.content_type == HJ212 else r for r in end.log]
    judged = clean(other, end.plan, rng, (100, 400))
    for (_, _, site, a), (_, _, _, b) in zip(end.disk.outputs, judged.outputs, strict=False):
        if a != b:
            yield f"promise 5: a flagged value changed an output of {site}: {_differing(a, b)}"
            return
    if len(judged.outputs) != len(end.disk.outputs):
        yield f"promise 5: flagged values changed {len(end.disk.outputs)} outputs into {len(judged.outputs)}"


def _other(frame: bytes) -> bytes:
    """Give every value with Flag=D another number of the same length."""
    swap = bytes.maketrans(b"0123456789", b"1032547698")
    segment = FLAGGED.sub(lambda found: found[1] + found[2].translate(swap) + found[3], frame[6:-4])
    return frame[:6] + segment + b"%04X" % crc16(segment)


def _differing(a: dict[str, Any] | None, b: dict[str, Any] | None) -> str:
    """Say which fields differ."""
    if a is None or b is None:
        return f"{a or 'missing'}; clean: {b or 'missing'}"
    return "; ".join(f"{k} {a.get(k)!r}, clean {b.get(k)!r}" for k in {**a, **b} if a.get(k) != b.get(k))
