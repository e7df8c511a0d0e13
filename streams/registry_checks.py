"""Checks between the rows of a registry: dangling references, shared devices, ranges that run backwards.

Enters: rows by table with the place they stand; what could not be read is empty in them and told already. Leaves: faults appended to the list, one sentence each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Read = Mapping[str, list[tuple[str, Any]]]

_REFERENCES: tuple[tuple[str, tuple[str, ...], str, tuple[str, ...]], ...] = (
    ("sites", ("district",), "districts", ("code",)),
    ("points", ("site",), "sites", ("site",)),
    ("factors", ("site", "point"), "points", ("site", "point")),
    ("limits", ("site", "point"), "points", ("site", "point")),
    ("equipment", ("site",), "sites", ("site",)),
    ("equipment", ("site", "meter_point"), "points", ("site", "point")),
    ("people", ("district",), "districts", ("code",)),
    ("people", ("site",), "sites", ("site",)),
    ("districts", ("parent",), "districts", ("code",)),
)
"""(table, columns) must exist as (table, columns). An empty last column refers to nothing."""

_OPTIONAL = {"districts"}
"""Tables whose absence switches the check off: many registries name districts only in words."""

_SHARED_MEDIA = {"power", "video"}
"""Media of which one device may serve several points: their factor codes name the meter."""


def check_references(read: Read, faults: list[str]) -> None:
    """Append a fault for each reference to a row that is not there."""
    for table, columns, target, keys in _REFERENCES:
        rows = read[target]
        if not rows and target in _OPTIONAL:
            continue
        known = {tuple(getattr(row, key) for key in keys) for _, row in rows}
        for place, row in read[table]:
            value = tuple(getattr(row, column) for column in columns)
            if all(value) and value not in known:
                faults.append(f"{place} {columns[-1]}: {'/'.join(value)} is not in {target}")
    _check_serves(read, faults)


def _check_serves(read: Read, faults: list[str]) -> None:
    known = {(row.site, row.point) for _, row in read["points"]}
    known |= {(row.site, row.device) for _, row in read["equipment"]}
    known |= {(row.site, row.production_unit) for name in ("points", "equipment") for _, row in read[name] if row.production_unit}
    for place, row in read["equipment"]:
        faults.extend(
            f"{place} serves: {row.site}/{name} is no point, device or production unit of the site"
            for name in row.serves
            if row.site and (row.site, name) not in known
        )


def check_values(read: Read, faults: list[str]) -> None:
    """Append faults of rows that are wrong by themselves or beside each other."""
    for place, row in read["sites"]:
        lost = "lon" if row.lon is None else "lat"
        if (row.lon is None) != (row.lat is None) and not any(fault.startswith(f"{place} {lost}:") for fault in faults):
            faults.append(f"{place} {lost}: is missing beside its partner")
    for place, row in read["factors"]:
        if row.range_low is not None and row.range_high is not None and row.range_low >= row.range_high:
            faults.append(f"{place} range_high: {row.range_high:g} must be greater than range_low {row.range_low:g}")
    for place, row in read["limits"]:
        if row.valid_from and row.valid_to and row.valid_to < row.valid_from:
            faults.append(f"{place} valid_to: {row.valid_to} is before valid_from {row.valid_from}")
    _check_devices(read, faults)


def _check_devices(read: Read, faults: list[str]) -> None:
    first: dict[tuple[str, str], str] = {}
    for place, row in read["points"]:
        if not row.mn or not row.medium or row.medium in _SHARED_MEDIA:
            continue
        other = first.setdefault((row.mn, row.medium), place)
        if other != place:
            faults.append(
                f"{place} mn: {row.mn} already serves a {row.medium} point at {other}; its readings could not be told apart"
            )
