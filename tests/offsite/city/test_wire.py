"""Frames: every one is good for the product's own framer, header parser and codec, and says what the block says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectors.hj212.frame import Frame, Framer
from connectors.hj212.header import parse
from offsite.city.emissions import STOPPED
from offsite.city.model import START_MS
from offsite.city.tables import FACTORS, MINUTE_MS
from offsite.city.wire import HOUR, MINUTE, REALTIME, Renderer, columns, enclose, stamps
from streams.codecs.hj212 import Hj212Decoder
from streams.model import SeriesKey, SeriesTable


def frames_of(data):
    framer = Framer()
    found = framer.feed(b"".join(data)) + framer.flush()
    assert all(isinstance(f, Frame) for f in found), [f for f in found if not isinstance(f, Frame)][:3]
    return found


def of_version(city, version):
    for members in city.groups(hourly=False):
        chosen = tuple(o for o in members if o.version == version)[:3]
        if chosen:
            yield city.block(chosen, START_MS, MINUTE_MS, 4)


def test_stamps_are_china_standard_time():
    assert stamps(np.array([0, START_MS], np.int64)) == ["19700101080000", "20261116090000"]


def test_no_segments_make_no_frames():
    assert enclose([]) == []


@pytest.mark.parametrize("version", ["2005", "2017", "2025"])
@pytest.mark.parametrize("cn", [REALTIME, MINUTE, HOUR])
def test_every_version_parses(full_city, version, cn):
    for block in of_version(full_city, version):
        rendered = Renderer().render(block, cn, block.time + block.step_ms)
        assert len(rendered) == len(block.outlets) * 4
        for wire, frame in zip(rendered, frames_of(f.data for f in rendered), strict=True):
            header = parse(frame.segment)
            outlet = full_city.inventory.outlets[wire.outlet]
            assert (header.cn, header.mn, header.version, header.rf) == (cn, outlet.mn, version, False)
            assert header.st == outlet.profile.st
            assert header.answer_required
            assert wire.key == (header.qn + header.mn).encode()
            assert len(frame.segment) <= 1024


def test_only_2025_marks_what_is_uploaded_again(full_city):
    for version in ("2005", "2017", "2025"):
        for block in of_version(full_city, version):
            lost = replace(block, sent=np.zeros_like(block.sent))
            assert Renderer().render(lost, MINUTE, lost.time) == []
            rendered = Renderer().render(lost, MINUTE, lost.time, refill=True)
            assert len(rendered) == lost.sent.size
            assert {parse(f.segment).rf for f in frames_of(r.data for r in rendered)} == {version == "2025"}


def decoded(city, rendered):
    """Decode rendered frames as the judge does; return {series key and time: (value, flag)}."""
    media = {(o.mn, o.profile.medium): (o.site, o.point) for o in city.inventory.outlets}
    table = SeriesTable()
    raw = [f.raw for f in frames_of(r.data for r in rendered)]
    out = Hj212Decoder(lambda mn, medium: media[mn, medium], table).decode(raw, np.zeros(len(raw), np.int64))
    assert out.rejects == []
    r = out.readings
    return {
        (table.keys[s], t): (v, f)
        for s, t, v, f in zip(r.series, r.time.tolist(), r.value.tolist(), r.flag.tolist(), strict=True)
    }


def test_the_product_reads_what_the_city_means(full_city):
    for version in ("2005", "2017", "2025"):
        for block in of_version(full_city, version):
            block.flags[1, 0, 2] = STOPPED
            found = decoded(full_city, Renderer().render(block, MINUTE, block.time))
            values, flags = columns(block)
            expected = {}
            for n, o in enumerate(block.outlets):
                for k, time in enumerate(block.time.tolist()):
                    c = 0
                    for f, code in enumerate(block.profile.factors):
                        for stat in ("avg", "zs_avg") if code in block.profile.converted else ("avg",):
                            key = SeriesKey(o.site, o.point, code, "minute", stat)
                            expected[key, time] = (round(values[c, n, k], FACTORS[code].decimals), flags[f, n, k])
                            c += 1
            assert found.keys() == expected.keys()
            for key, (value, flag) in expected.items():
                assert found[key] == (pytest.approx(value, abs=0.0011 if FACTORS[key[0].factor].decimals == 3 else 0.11), flag)
