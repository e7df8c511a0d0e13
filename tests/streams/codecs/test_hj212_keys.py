"""The dictionary of names: exact under collisions, in row order, and it grows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.codecs.hj212_keys import ABSENT, Keys, first_of_each

KEY = st.tuples(st.integers(0, 3), st.integers(0, 2**64 - 1), st.integers(1, 5))


def columns(keys: list[tuple[int, int, int]]) -> list[np.ndarray]:
    return [np.array([key[i] for key in keys], np.uint64) for i in range(3)]


@given(st.lists(KEY, unique=True, max_size=40), st.lists(KEY, max_size=10))
def test_finds_what_was_added_and_nothing_else(keys, others):
    table = Keys(bits=2)
    for number, key in enumerate(keys):
        table.add(*key, number)
    assert len(table) == len(keys)
    asked = keys + others
    known = {key: number for number, key in enumerate(keys)}
    assert table.find(*columns(asked)).tolist() == [known.get(key, ABSENT) for key in asked]


def test_colliding_keys_are_told_apart(monkeypatch):
    table = Keys(bits=6)
    monkeypatch.setattr("streams.codecs.hj212_keys._MIX", (0, 0, 0))
    keys = [(n % 2, n // 2 % 2, 1 + n // 4) for n in range(10)]
    for number, key in enumerate(keys):
        table.add(*key, number)
    assert table.find(*columns([*keys, (99, 99, 1)])).tolist() == [*range(10), ABSENT]


@given(st.lists(KEY, max_size=30))
def test_first_of_each_in_row_order(keys):
    first = list({key: row for row, key in reversed(list(enumerate(keys)))}.values())
    assert first_of_each(*columns(keys)).tolist() == sorted(first)
