"""Numbers and times read many at once are, bit for bit, what is read one at a time."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from connectors.hj212.commands import parse_cst
from streams.codecs.hj212_numbers import PAD, Words, decimals, plain_number, times


def spans(texts: list[str]) -> tuple[Words, np.ndarray, np.ndarray]:
    data = b"".join(text.encode() + b";" for text in texts)
    lengths = np.array([len(text.encode()) for text in texts], np.int64)
    start = PAD + np.cumsum(lengths + 1) - lengths - 1
    return Words(b";" * PAD + data + b";" * PAD), start, start + lengths


SHAPED = st.from_regex(r"-?[0-9]{0,9}(\.[0-9]{0,9})?", fullmatch=True)


@given(st.lists(st.one_of(SHAPED, st.text("0123456789.-+eE x:/", max_size=18)), min_size=1, max_size=20))
def test_decimals(texts):
    words, start, end = spans(texts)
    dot = np.array([s + t.find(".") if "." in t else e for t, s, e in zip(texts, start, end, strict=True)], np.int64)
    value, good = decimals(words, start, dot, end)
    for text, got, ok in zip(texts, value.tolist(), good.tolist(), strict=True):
        if ok:
            assert struct.pack("<d", got) == struct.pack("<d", float(text))
            assert got == plain_number(text.encode())
        whole, _, part = text.lstrip("-").partition(".")
        if (
            len(whole) <= 8
            and len(part) <= 8
            and 1 <= len(whole + part) <= 15
            and (whole + part).isdigit()
            and text.count("-") < 2
        ):
            assert ok


def test_sixteen_digits_are_left_to_the_slow_way():
    dice = np.random.default_rng(212)
    texts = [f"{whole:08d}.{part:08d}" for whole, part in dice.integers(90_000_000, 99_999_999, (2000, 2)).tolist()]
    words, start, end = spans(texts)
    value, good = decimals(words, start, start + 8, end)
    assert not good.any()
    assert value.tolist() != [float(text) for text in texts]  # and rightly so: the quotient is not always correctly rounded


STAMPS = st.one_of(
    st.from_regex(r"(19|20)[0-9]{2}(0[0-9]|1[0-3])[0-3][0-9][0-2][0-9][0-6][0-9][0-6][0-9]([0-9]{3})?", fullmatch=True),
    st.text("0123456789 -:", max_size=20),
)


@given(st.lists(STAMPS, min_size=1, max_size=20))
def test_times(texts):
    words, start, end = spans(texts)
    ms, good = times(words, start, end)
    assert [m if ok else None for m, ok in zip(ms.tolist(), good.tolist(), strict=True)] == [parse_cst(text) for text in texts]


def test_plain_numbers_and_their_refusals():
    texts = [b"1e3", b" 7 ", b"+.5", b"1e400", b"-Infinity", b"nan", b"", b"1_0", b"0x10", "１２".encode()]
    expected = [1000.0, 7.0, 0.5, "not_finite", "not_finite", "not_finite", *["bad_number"] * 4]
    assert [plain_number(text) for text in texts] == expected
