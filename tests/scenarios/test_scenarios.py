"""Every scenario folder: what must come out comes out, once, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.runner import differences, log_of, run_scenario, wanted

HERE = Path(__file__).parent
FOLDERS = sorted(p.parent for p in HERE.glob("*/out.ndjson"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_scenario(folder: Path) -> None:
    assert differences(run_scenario(folder), wanted(folder)) == []


def test_there_are_scenarios() -> None:
    assert len(FOLDERS) >= 15


ALERT = {"kind": "alert", "rule": "r", "site": "S1", "level": 3, "window": {"start": 1, "end": 2}}


def test_the_comparison_can_fail() -> None:
    assert differences([ALERT], [{"kind": "alert", "window": {"end": 2}}]) == []
    assert differences([ALERT, {"kind": "books", "x": 1}], [{"kind": "alert", "level": 3}]) == []
    [missing, too_much] = differences([ALERT], [{"kind": "alert", "rule": "r", "site": "S1", "level": 2}])
    assert "missing" in missing
    assert "'level': 3" in missing
    assert too_much.startswith("too much")
    assert len(differences([ALERT], [{"kind": "alert"}, {"kind": "alert"}])) == 1


def test_the_log_of_a_scenario_has_a_tick_each_minute_and_none_in_a_pause() -> None:
    log = log_of(HERE / "platform_pause_raises_nothing")
    ticks = [r for r in log if r.topic == "context"]
    assert 40 < len(ticks) < 100
    assert [r.offset for r in log] == list(range(len(log)))
