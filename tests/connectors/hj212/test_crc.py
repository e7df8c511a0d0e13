"""The checksums of HJ 212: published vectors, the weak state, and many at once against one at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hj212.crc import TABLE, crc16, crc16_many, crc16_modbus

ANNEX_A_2017 = b"QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&"
ANNEX_A_2025 = b"QN=20240601085857223;ST=32;CN=1011;PW=123456;MN=010000A8900016F000169DC0;Flag=9;CP=&&&&"


def plain(segment: bytes) -> int:
    register = 0xFFFF
    for byte in segment:
        register = (register >> 8) ^ byte
        for _ in range(8):
            register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    return register


@pytest.mark.parametrize(("segment", "expected"), [(ANNEX_A_2017, 0x1C80), (ANNEX_A_2025, 0x2200), (b"", 0xFFFF)])
def test_published_vectors(segment, expected):
    assert crc16(segment) == expected


def test_modbus_is_another_checksum():
    assert crc16_modbus(b"123456789") == 0x4B37
    assert crc16_modbus(ANNEX_A_2017) == 0x0759


@given(st.binary(max_size=60))
def test_the_table_is_the_loop_of_annex_a(segment):
    assert crc16(segment) == plain(segment)


@given(st.lists(st.binary(max_size=40), max_size=12), st.binary(max_size=5))
def test_many_at_once_equals_one_at_a_time(segments, gap):
    buffer = gap.join(segments)
    starts = np.array([sum(len(s) + len(gap) for s in segments[:i]) for i in range(len(segments))], np.int64)
    ends = starts + np.array([len(s) for s in segments], np.int64)
    sums = crc16_many(np.frombuffer(buffer, np.uint8), starts, ends)
    assert sums.tolist() == [crc16(s) for s in segments]


def test_only_256_sums_exist():
    assert len({crc16(bytes([a, b])) for a in range(256) for b in range(256)}) == 256


def test_a_step_of_the_state_is_linear_and_its_eighth_power_is_the_identity() -> None:
    step = [register >> 8 for register in TABLE]
    assert all(step[a ^ b] == step[a] ^ step[b] for a in range(256) for b in range(256))
    for state in range(256):
        seen = state
        for _ in range(8):
            seen = step[seen]
        assert seen == state


@given(st.binary(max_size=2_000))
def test_folding_gives_what_walking_gives(segment: bytes) -> None:
    state, register = 0xFF, 0xFFFF
    for byte in segment:
        register = TABLE[state ^ byte]
        state = register >> 8
    assert crc16(segment) == register
