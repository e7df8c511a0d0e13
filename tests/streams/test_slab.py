from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.slab import CHUNK_BYTES, Slab

RECORD = np.dtype([("x", "<f8"), ("n", "<i4")])


def chunks(slab):
    return dict(slab.dirty_chunks())


def test_new_rows_are_zero_and_clean():
    slab = Slab("s", RECORD)
    slab.rows(10)
    assert len(slab) == 10
    assert not slab.data.tobytes().strip(b"\0")
    assert chunks(slab) == {}


def test_growing_keeps_what_was_there():
    slab = Slab("s", RECORD)
    for n in (1, 63, 64, 65, 1000, 70_000):
        slab.rows(n)
        slab.data["n"][n - 1] = n
    assert [int(slab.data["n"][n - 1]) for n in (1, 63, 64, 65, 1000, 70_000)] == [1, 63, 64, 65, 1000, 70_000]


def test_growing_row_by_row_moves_the_rows_few_times():
    slab, places = Slab("s", RECORD), set()
    for n in range(1, 20_000):
        slab.rows(n)
        places.add(slab.data.__array_interface__["data"][0])
    assert len(places) < 20


def test_rows_never_shrinks():
    slab = Slab("s", RECORD)
    slab.rows(5)
    slab.rows(2)
    assert len(slab) == 5


def test_gather_is_a_copy_and_scatter_marks_only_its_chunk():
    slab = Slab("s", RECORD, chunk_bytes=24)
    slab.rows(6)
    got = slab.gather(np.array([3]))
    got["x"] = 1.5
    assert slab.data["x"][3] == 0.0
    slab.scatter(np.array([3]), got)
    assert slab.data["x"][3] == 1.5
    assert list(chunks(slab)) == [1]


def test_borrow_is_gather_without_new_memory():
    slab = Slab("s", RECORD)
    slab.rows(6)
    slab.data["n"][:] = range(6)
    first = slab.borrow(np.array([5, 0, 5]))
    assert first["n"].tolist() == [5, 0, 5]
    assert slab.borrow(np.array([2, 1]))["n"].tolist() == [2, 1]
    assert first["n"].tolist() == [2, 1, 5]
    assert slab.data["n"].tolist() == [0, 1, 2, 3, 4, 5]


def test_touch_marks_after_a_change_in_place():
    slab = Slab("s", RECORD, chunk_bytes=12)
    slab.rows(4)
    slab.data["n"][2] = 9
    assert chunks(slab) == {}
    slab.touch(np.array([2]))
    assert list(chunks(slab)) == [2]
    slab.clean()
    assert chunks(slab) == {}


def test_a_chunk_is_whole_rows_and_at_most_64_kb():
    slab = Slab("s", np.dtype([("a", "u1", (1000,))]))
    assert slab.chunk_rows == 65
    slab.rows(200)
    slab.touch(np.arange(200))
    assert [len(raw) for _, raw in slab.dirty_chunks()] == [65_000, 65_000, 65_000, 5_000]
    assert max(len(raw) for _, raw in slab.dirty_chunks()) <= CHUNK_BYTES


def test_a_row_that_does_not_exist_is_an_error():
    slab = Slab("s", RECORD)
    slab.rows(3)
    with pytest.raises(IndexError):
        slab.gather(np.array([3]))
    with pytest.raises(IndexError):
        slab.scatter(np.array([3]), np.zeros(1, RECORD))


def test_a_record_larger_than_a_chunk_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        Slab("big", np.dtype([("a", "u1", (CHUNK_BYTES + 1,))]))


def test_objects_are_refused():
    with pytest.raises(ValueError, match="plain bytes"):
        Slab("o", np.dtype([("a", "O")]))


@pytest.mark.parametrize(("number", "raw"), [(0, b""), (0, b"x"), (-1, bytes(12)), (0, bytes(36))])
def test_load_refuses_what_is_not_a_chunk(number, raw):
    slab = Slab("s", RECORD, chunk_bytes=24)
    with pytest.raises(ValueError, match="slab s: chunk"):
        slab.load(number, raw)
    assert len(slab) == 0


def test_a_stateless_record_has_no_bytes():
    slab = Slab("none", np.dtype([]))
    slab.rows(1000)
    slab.touch(np.arange(1000))
    assert slab.nbytes == 0
    assert chunks(slab) == {}


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 300), max_size=8), max_size=8), st.randoms())
def test_what_was_written_when_dirty_restores_the_state(steps, random):
    """The last write of each chunk, replayed in any order of chunks, gives the same rows; a step writes only what changed."""
    slab, stored = Slab("s", RECORD, chunk_bytes=100), {}
    for number, rows in enumerate(steps):
        picked = np.array(sorted(set(rows)), np.int64)
        if len(picked):
            slab.rows(int(picked.max()) + 1)
            records = slab.gather(picked)
            records["x"] += number + 1
            records["n"] += 1
            slab.scatter(picked, records)
        written = chunks(slab)
        assert set(written) == {row // slab.chunk_rows for row in rows}
        stored.update(written)
        slab.clean()
    again = Slab("s", RECORD, chunk_bytes=100)
    order = list(stored)
    random.shuffle(order)
    for number in order:
        again.load(number, stored[number])
    again.rows(len(slab))
    used = slab.data.tobytes()
    assert again.data.tobytes() == used
    assert chunks(again) == {}
