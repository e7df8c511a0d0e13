"""The inventory: complete, unambiguous, and fixed by its seed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from offsite.city.industries import INDUSTRIES
from offsite.city.plants import build, shares
from offsite.city.tables import FACTORS
from streams.registry import load


@given(st.integers(1, 600))
def test_every_enterprise_gets_an_industry(count):
    assert sum(shares(count)) == count
    assert min(shares(count)) >= (1 if count >= len(INDUSTRIES) else 0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60))
def test_an_mn_and_a_medium_name_one_point(seed, count):
    inventory = build(seed, count)
    assert len({(o.mn, o.profile.medium) for o in inventory.outlets}) == len(inventory.outlets)
    assert [o.index for o in inventory.outlets] == list(range(len(inventory.outlets)))
    assert all(len(o.mn) in (14, 24) and set(o.mn) <= set("0123456789ABCDEF") for o in inventory.outlets)


def test_the_city_is_as_large_as_promised(full_city):
    enterprises = [s for s in full_city.inventory.sites if s.industry]
    assert len(enterprises) == 210
    assert len({s.industry.key for s in enterprises}) >= 8
    assert {o.profile.medium for o in full_city.inventory.outlets} == {"gas", "water", "air", "surface_water", "noise"}
    assert Counter(o.version for o in full_city.inventory.outlets)["2005"] > 5
    assert Counter(o.version for o in full_city.inventory.outlets)["2025"] > 2
    assert all(2 <= len(o.profile.factors) <= 8 for o in full_city.inventory.outlets)
    assert sum(s.kind == "sensitive" for s in full_city.inventory.sites) >= 5


def test_all_names_are_plainly_invented(full_city):
    assert all("示例" in s.name for s in full_city.inventory.sites)


def test_limits_and_levels_belong_to_measured_factors(full_city):
    for outlet in full_city.inventory.outlets:
        assert set(outlet.limits) <= set(outlet.profile.factors) == set(outlet.level)
        assert all(0.2 < outlet.level[c] / limit < 0.65 for c, limit in outlet.limits.items())
        assert all(outlet.level[c] < FACTORS[c].range_high for c in outlet.level)


def test_the_registry_loads_and_knows_every_device(full_city, small_city, tmp_path):
    for city in (full_city, small_city):
        folder = tmp_path / str(city.enterprises)
        city.registry(folder)
        registry = load(folder)
        assert len(registry.sites) == len(city.inventory.sites)
        for outlet in city.inventory.outlets:
            assert registry.resolve(outlet.mn, outlet.profile.medium) == (outlet.site, outlet.point)
        assert {p.role for p in registry.people} >= {"operator", "shift_lead", "officer", "leader", "enterprise"}


def test_the_registry_is_the_same_bytes_every_time(small_city, tmp_path):
    for name in ("a", "b"):
        small_city.registry(tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["districts.csv", "equipment.csv", "factors.csv", "limits.csv", "people.csv", "points.csv", "sites.csv"]
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
