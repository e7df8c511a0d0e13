"""The shared clock: two modes, many readers, never backwards, never half a change."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from offsite.city.clock import SharedClock

ROOT = Path(__file__).resolve().parents[3]


def test_manual_mode_says_what_was_set(tmp_path):
    with SharedClock(tmp_path / "clock") as clock:
        clock.set(1_000)
        assert (clock.now(), clock(), clock.speed) == (1_000, 1_000, 0.0)


def test_running_mode_multiplies_the_wall(tmp_path):
    wall = [50_000]
    with SharedClock(tmp_path / "clock", wall=lambda: wall[0]) as clock:
        clock.set(1_000)
        clock.run(60.0)
        wall[0] += 2_000
        assert clock.now() == 1_000 + 120_000
        assert clock.speed == 60.0


def test_run_continues_from_now_or_from_a_base(tmp_path):
    wall = [0]
    with SharedClock(tmp_path / "clock", wall=lambda: wall[0]) as clock:
        clock.set(500)
        clock.run(10.0, base_ms=9_000)
        wall[0] = 100
        clock.run(1.0)
        wall[0] = 150
        assert clock.now() == 9_000 + 1_000 + 50


def test_a_reader_never_goes_back(tmp_path):
    wall = [1_000]
    with SharedClock(tmp_path / "clock", wall=lambda: wall[0]) as clock:
        clock.run(1.0, base_ms=5_000)
        wall[0] = 2_000
        before = clock.now()
        wall[0] = 1_500
        assert clock.now() == before == 6_000


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_that_does_not_advance_is_refused(tmp_path, speed):
    with SharedClock(tmp_path / "clock") as clock, pytest.raises(ValueError, match="speed"):
        clock.run(speed)


def test_another_process_reads_the_same_time(tmp_path):
    with SharedClock(tmp_path / "clock") as clock:
        clock.set(123_456_789)
        code = "import sys; from pathlib import Path; from offsite.city.clock import SharedClock; print(SharedClock(Path(sys.argv[1]))())"
        out = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "clock")], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert out.stdout.strip() == "123456789"


def test_no_reader_sees_half_a_change(tmp_path):
    """Mode and base change together: a reader that mixed them would see a time far off both."""
    path = tmp_path / "clock"
    stop = threading.Event()
    with SharedClock(path, wall=lambda: 10**12) as writer:
        writer.set(1_000)

        def flip() -> None:
            while not stop.is_set():
                writer.set(1_000)
                writer.run(1.0, base_ms=2_000)

        thread = threading.Thread(target=flip)
        thread.start()
        try:
            for _ in range(3_000):
                with_fresh = SharedClock(path, wall=lambda: 10**12)
                assert with_fresh.now() in (1_000, 2_000)
                with_fresh.close()
        finally:
            stop.set()
            thread.join()
