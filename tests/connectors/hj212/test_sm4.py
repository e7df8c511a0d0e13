"""SM4 over the data area: whole blocks only, same length, the official wire bytes."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hj212.crc import crc16
from connectors.hj212.frame import Dialect, Frame, Framer
from connectors.hj212.sm4 import decrypt, encrypt

KEY = b"0" * 16


@given(st.binary(max_size=100), st.binary(min_size=16, max_size=16))
def test_there_and_back_in_the_same_length(area, key):
    cipher = encrypt(area, key)
    assert len(cipher) == len(area)
    assert cipher[len(area) // 16 * 16 :] == area[len(area) // 16 * 16 :]
    assert decrypt(cipher, key) == area


def test_a_key_of_another_length_is_named():
    with pytest.raises(ValueError, match="16 bytes, not 5"):
        encrypt(b"", b"short")


@pytest.mark.parametrize("size", [1, 7, 64, 400])
def test_official_examples_come_out_in_clear(shared_data, size):
    vectors = [json.loads(line) for line in (shared_data / "hj212/derived.jsonl").read_text("utf-8").splitlines()]
    wires = [base64.b64decode(v["b64"]) for v in vectors if "A.2 example" in v["name"]]
    assert len(wires) == 2
    framer, stream = Framer(dialects=lambda _mn: Dialect(sm4_key=KEY)), b"".join(wires)
    frames = [item for i in range(0, len(stream), size) for item in framer.feed(stream[i : i + size])]
    assert [type(f) for f in frames] == [Frame, Frame]
    for frame, wire in zip(frames, wires, strict=True):
        assert frame.audit == "sm4"
        assert frame.raw == wire[: len(frame.raw)]
        assert frame.segment.endswith(b"&&")
        assert b"DataTime=2024" in frame.segment
        assert int(frame.plain[-4:], 16) == crc16(frame.plain[6:-4])


def test_without_the_key_an_encrypted_frame_is_one_bad_chunk(shared_data):
    vectors = [json.loads(line) for line in (shared_data / "hj212/derived.jsonl").read_text("utf-8").splitlines()]
    for vector in vectors:
        if "A.2 example" in vector["name"]:
            framer = Framer()
            assert [item.reason for item in framer.feed(base64.b64decode(vector["b64"]))] == ["bad_crc"]
