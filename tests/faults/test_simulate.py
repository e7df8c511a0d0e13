"""The simulator in the suite: a hundred seeds keep every promise, and every broken build is caught."""

from __future__ import annotations

import os

import pytest

from tests.faults import simulate
from tests.faults.broken import BUILDS
from tests.faults.cluster.broken import BUILDS as CLUSTER_BUILDS

pytestmark = pytest.mark.faults

SEEDS = int(os.environ.get("SEEDS", "100"))
WITHIN = 100


def test_no_seed_breaks_a_promise() -> None:
    reports = list(simulate.runs(range(SEEDS), None, 2))
    assert [(r.seed, r.broken) for r in reports if r.broken] == []
    assert len(reports) == SEEDS
    for name, least in (("outputs", 5), ("cases", 0.3), ("faults", 8), ("log", 80)):
        mean = sum(getattr(r, name) for r in reports) / SEEDS
        assert mean > least, f"{name}: {mean} a seed is too quiet a world to prove anything"


def test_a_seed_is_the_same_run_each_time() -> None:
    first, second = (simulate.one(7) for _ in range(2))
    assert first == second
    assert first != simulate.one(8)


@pytest.mark.parametrize("name", sorted(BUILDS))
def test_a_broken_build_is_caught(name: str) -> None:
    caught = next((r for seed in range(WITHIN) if (r := simulate.one(seed, name)).broken), None)
    assert caught is not None, f"{WITHIN} seeds did not notice {name}"


def test_no_seed_of_the_cluster_breaks_a_promise() -> None:
    reports = list(simulate.runs(range(SEEDS // 8), None, 2, "cluster"))
    assert [(r.seed, r.broken) for r in reports if r.broken] == []
    for name, least in (("outputs", 10), ("faults", 50), ("log", 100)):
        mean = sum(getattr(r, name) for r in reports) / len(reports)
        assert mean > least, f"{name}: {mean} a seed is too quiet a world to prove anything"


@pytest.mark.parametrize("name", sorted(CLUSTER_BUILDS))
def test_a_broken_tie_to_the_cluster_is_caught(name: str) -> None:
    caught = next((r for seed in range(WITHIN) if (r := simulate.one(seed, name, "cluster")).broken), None)
    assert caught is not None, f"{WITHIN} seeds did not notice {name}"


def test_a_failing_seed_says_how_to_see_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["--seeds", "100", "--broken", "ack-before-durable"]) == 0
    said = capsys.readouterr().out
    assert "promise 1:" in said
    assert "--trace" in said
