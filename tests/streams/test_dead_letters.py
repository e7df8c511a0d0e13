from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.core import ARROW, CSV, HJ212, JSON, NDJSON, Record
from streams.codecs.hj212 import Hj212Decoder
from streams.codecs.readings import decode_readings, encode_readings
from streams.codecs.rows import Envelope
from streams.dead_letters import DeadLetter
from streams.model import Reject, SeriesTable
from tests.streams.codecs.reading_samples import batch, good

ARRIVED = 1_795_399_260_000
FRAME = b"##0096QN=20261123100000000;ST=31;CN=2061;PW=123456;MN=M1;Flag=4;CP=&&DataTime=20261123100000;a21026-Avg=x;a21002-Avg=1&&0000"


def letters(kind: str, body: bytes) -> list[DeadLetter]:
    record = Record("emission-monitoring", "S1", ARRIVED, kind, body, 7, 3)
    found = decode_readings(kind, body, SeriesTable(), ARRIVED, record=0, envelope=Envelope("S1"))
    return [DeadLetter.of(record, reject) for reject in found.rejects]


def back(letter: DeadLetter) -> DeadLetter:
    value, headers = letter.to_message()
    sent = [(name, text.encode() if isinstance(text, str) else text) for name, text in headers.items()]
    return DeadLetter.from_message(letter.key.encode(), value, sent)


@given(
    st.builds(
        DeadLetter,
        *(
            st.text(st.characters(codec="utf-8")),
            st.binary(),
            st.text(st.characters(codec="utf-8")),
            st.text(st.characters(codec="utf-8")),
        ),
        *(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))),
        *(st.integers(-1, 100), st.integers(-1, 2**63 - 1), st.integers(-1, 2**60), st.integers(0, 10**6)),
    )
)
def test_a_letter_comes_back_as_it_was_sent(letter: DeadLetter) -> None:
    assert back(letter) == letter
    assert dict(letter.to_message()[1])["id"] == letter.id


@given(
    st.binary() | st.none(), st.binary() | st.none(), st.lists(st.tuples(st.sampled_from(["rows", "offset", "x"]), st.binary()))
)
def test_another_producer_s_letter_is_legible(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    letter = DeadLetter.from_message(key, value, headers)
    assert letter.reason == "unknown"
    assert letter.rows >= 0


def test_a_letter_names_its_place_and_its_reason() -> None:
    bad = json.dumps(good(value="x")).encode()
    [letter] = letters(JSON, bad)
    value, headers = letter.to_message()
    assert value == json.dumps(good(value="x"), separators=(",", ":")).encode()
    assert headers == {
        "content-type": JSON,
        "id": letter.id,
        "reason": "bad_number",
        "detail": "row 0: value 'x' is not a number",
        "topic": "emission-monitoring",
        "partition": "3",
        "offset": "7",
        "arrived": str(ARRIVED),
        "rows": "1",
    }
    assert letter.key == "S1"


@pytest.mark.parametrize("kind", [JSON, NDJSON, CSV, ARROW])
def test_a_refused_row_can_be_read_again_and_is_refused_for_the_same_reason(kind: str) -> None:
    readings, table = batch([(site, "P", "f", "hour", "avg", 0, 1, 78) for site in ("S1", "S2", "S1", "S3")])
    found = letters(kind, encode_readings(kind, readings, table))
    assert [letter.reason for letter in found] == ["wrong_key", "wrong_key"]
    again = [letters(letter.content_type, letter.raw) for letter in found]
    assert [[letter.reason for letter in part] for part in again] == [["wrong_key"], ["wrong_key"]]
    other = decode_readings(found[0].content_type, found[0].raw, SeriesTable(), ARRIVED, envelope=Envelope("S2"))
    assert len(other.readings) == 1


def test_what_is_not_legible_is_kept_whole() -> None:
    for kind, body in ((JSON, b"\xff{"), (ARROW, b"nothing"), (CSV, b"a,b\n1,2\n"), ("text/html", b"<p>")):
        [letter] = letters(kind, body)
        assert (letter.raw, letter.content_type, letter.rows) == (body, kind, 0) or kind == CSV
        assert letter.reason in {"not_utf8", "bad_arrow", "missing_field", "bad_content_type"}


def test_a_frame_is_kept_whole() -> None:
    decoder = Hj212Decoder(lambda mn, _: (mn, "DA001"), SeriesTable())
    decoded = decoder.decode([FRAME], np.array([ARRIVED]))
    record = Record("emission-monitoring", "S1", ARRIVED, HJ212, FRAME, 7, 3)
    [letter] = [DeadLetter.of(record, reject) for reject in decoded.rejects]
    assert (letter.reason, letter.raw, letter.content_type) == ("bad_number", FRAME, HJ212)


def test_letters_of_different_input_have_different_ids() -> None:
    record = Record("emission-monitoring", "S1", ARRIVED, JSON, b"{}", 7, 3)
    reject = Reject("bad_json", "not JSON", b"{", 0, 0)
    places = [record, replace(record, offset=8), replace(record, partition=4), replace(record, topic="power-usage")]
    ids = {
        DeadLetter.of(place, why).id
        for place in places
        for why in (reject, replace(reject, raw=b"["), replace(reject, reason="x"))
    }
    assert len(ids) == 12
    assert DeadLetter.of(record, reject).id == DeadLetter.of(record, reject).id
