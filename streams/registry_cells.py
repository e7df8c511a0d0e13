"""How the cells of a registry file are read and written: numbers, dates, limits, polygons.

A reader takes the stripped, non-empty text of one cell and returns its value or raises ValueError with the fault in words;
`write` gives a text that the reader turns into the same value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import date
from typing import Any

from streams.registry_model import Bounds, Ring

EXACT_INTEGER = 1e15
"""Whole numbers below this are written without a fraction and read back exactly."""


def read_text(cell: str) -> str:
    """Read any text."""
    return cell


_ROUNDED = re.compile(r"\d(\.\d+)?[eE]\+\d\d+\Z")


def read_code(cell: str) -> str:
    """Read an identifier; raises ValueError for one that a spreadsheet has rounded to 15 digits (an MN has up to 24)."""
    if _ROUNDED.match(cell):
        raise ValueError(f"{cell!r} has lost digits in a spreadsheet; format the cell as text and enter it again")
    return cell


def read_number(cell: str) -> float:
    """Read a finite number; raises ValueError."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{cell!r} is not a number")
    return value


def read_positive(cell: str) -> float:
    """Read a number greater than 0; raises ValueError."""
    value = read_number(cell)
    if value <= 0:
        raise ValueError(f"{cell!r} must be greater than 0")
    return value


def within(low: float, high: float) -> Callable[[str], float]:
    """Make a reader of numbers from `low` to `high`."""

    def read(cell: str) -> float:
        value = read_number(cell)
        if not low <= value <= high:
            raise ValueError(f"{cell!r} is not within {low:g} … {high:g}")
        return value

    return read


def one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    """Make a reader of the words of a closed list."""

    def read(cell: str) -> str:
        if cell not in words:
            raise ValueError(f"{cell!r} is not one of {', '.join(words)}")
        return cell

    return read


_DATE = re.compile(r"(\d{4})(?:[-/.]?(\d{1,2})(?:[-/.]?(\d{1,2}))?)?(?:[ T]00:00:00)?$")


def read_date(cell: str) -> date:
    """Read 2026-03-01, 2026/3/1, 20260301, 2026-03 or 2026 (the first day of it); raises ValueError."""
    found = _DATE.match(cell)
    if found:
        try:
            return date(int(found[1]), int(found[2] or 1), int(found[3] or 1))
        except ValueError:
            pass  # 2026-02-30: told below like any other text that is no date
    raise ValueError(f"{cell!r} is not a date (write 2026-03-01)")


_BOUNDS = re.compile(
    r"(?:(?P<op>[≤≥<>]=?)\s*)?(?P<a>[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)(?:\s*[-–—~～]\s*(?P<b>[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?))?$"
)


def read_bounds(cell: str) -> Bounds:
    """Read `100` (at most), `≤100`, `≥5` (at least) or `6-9` (from … to); raises ValueError."""
    found = _BOUNDS.match(cell)
    if not found or (found["op"] and found["b"]):
        raise ValueError(f"{cell!r} is not a limit (write 100, ≥5 or 6-9)")
    first = read_number(found["a"])
    if found["b"]:
        second = read_number(found["b"])
        if first >= second:
            raise ValueError(f"{cell!r} must rise from low to high")
        return Bounds(first, second)
    return Bounds(first, None) if (found["op"] or "")[:1] in ("≥", ">") else Bounds(None, first)


def write_bounds(bounds: Bounds) -> str:
    """Write what `read_bounds` reads."""
    if bounds.low is None:
        return write(bounds.high)
    return f"≥{write(bounds.low)}" if bounds.high is None else f"{write(bounds.low)}~{write(bounds.high)}"


_YES = {"1", "yes", "true", "y", "是"}
_NO = {"0", "no", "false", "n", "否"}


def read_yes(cell: str) -> bool:
    """Read yes or no, also 是 or 否; raises ValueError."""
    if cell.lower() not in _YES | _NO:
        raise ValueError(f"{cell!r} is not yes or no")
    return cell.lower() in _YES


def read_names(cell: str) -> tuple[str, ...]:
    """Read several codes in one cell, apart by `;`, comma or blank."""
    return tuple(part for part in re.split(r"[;；,，、\s]+", cell) if part)


def read_rings(cell: str) -> tuple[Ring, ...]:
    """Read GeoJSON (Polygon, MultiPolygon or a Feature of one), WKT or `lon lat, lon lat, …` with `;` between rings."""
    rings = _geojson(cell) if cell.startswith("{") else _pairs(cell)
    if not rings:
        raise ValueError("a polygon needs at least three corners")
    return tuple(_ring(ring) for ring in rings)


def _geojson(cell: str) -> list[list[tuple[float, float]]]:
    try:
        shape = json.loads(cell)
        shape = shape.get("geometry", shape)
        polygons = {"Polygon": [shape["coordinates"]], "MultiPolygon": shape["coordinates"]}[shape["type"]]
        return [[(float(corner[0]), float(corner[1])) for corner in ring] for polygon in polygons for ring in polygon]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError("is not a GeoJSON Polygon or MultiPolygon") from error


def _pairs(cell: str) -> list[list[tuple[float, float]]]:
    plain = re.sub(r"^\s*(?:MULTI)?POLYGON\s*", "", cell, flags=re.IGNORECASE)
    plain = re.sub(r"\)\s*,\s*\(", ";", plain).replace("(", "").replace(")", "")
    try:
        return [[_lon_lat(pair) for pair in ring.split(",")] for ring in plain.split(";") if ring.strip()]
    except ValueError as error:
        raise ValueError(f"is not a polygon ({error}); write `lon lat, lon lat, lon lat` or GeoJSON") from error


def _lon_lat(pair: str) -> tuple[float, float]:
    parts = pair.split()
    if len(parts) != 2:
        raise ValueError(f"{pair.strip()!r} is not `lon lat`")
    return read_number(parts[0]), read_number(parts[1])


def _ring(corners: list[tuple[float, float]]) -> Ring:
    if len(corners) > 1 and corners[0] == corners[-1]:
        corners = corners[:-1]
    if len(set(corners)) < 3:
        raise ValueError("a polygon needs at least three corners")
    if not all(-180 <= lon <= 180 and -90 <= lat <= 90 for lon, lat in corners):
        raise ValueError("a corner is outside lon ±180, lat ±90 (order is lon, lat)")
    return tuple(corners)


def write(value: Any) -> str:
    """Write any cell so that its reader gives the same value back; nothing for what is empty."""
    if isinstance(value, Bounds):
        return write_bounds(value)
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < EXACT_INTEGER else repr(value)
    if isinstance(value, tuple):
        return ";".join(part if isinstance(part, str) else _write_ring(part) for part in value)
    return "" if value is None else str(value)


def _write_ring(ring: Ring) -> str:
    return ", ".join(f"{write(lon)} {write(lat)}" for lon, lat in ring)
