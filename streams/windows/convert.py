"""Formulas of HJ 212-2017 appendix D: means, conversion to base oxygen, dry standard flow, emission mass.

Columns enter, columns leave: every function is elementwise over float64 arrays (or numbers) of one shape, NaN = missing.
Percentages are numbers as on the wire (8 = 8 %). Nothing here decides whether a value may be used, except where a formula
itself would lie: then `ok` is False and the value NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

AIR_O2 = 21.0
"""Oxygen of air in the conversion formula, %."""

LEAST_O2_SPAN = 1.0
"""Below this 21 − O2 the factor explodes (furnace cold, start-up): do not convert (rules A.3 note 1)."""

STANDARD_PA = 101_325.0
ZERO_C = 273.0
"""0 ℃ in K, rounded as appendix D prints it."""

GAS_MINUTE_LEAST, GAS_HOUR_LEAST, GAS_DAY_LEAST = 12, 45, 20
"""Valid samples in a minute (eq. 23), minutes in an hour (eq. 24) and hours in a day (eq. 25) of a gas outlet."""

_QUIET = np.errstate(over="ignore", invalid="ignore", divide="ignore")
"""A device may send 1e308: the answer is then infinite or NaN, never a warning."""

NO_TO_NO2 = 1.53
"""Mass of NO2 for a mass of NO: 46.01 / 30.01."""


@_QUIET
def valid_mean(values: ArrayLike, least: int) -> tuple[Floats, Bools]:
    """Mean over the last axis, and whether it rests on `least` values or more: (..., n) → (...), (...).

    NaN = not valid, left out. HJ 212-2017 appendix D eq. 23–25, with `least` one of the GAS_*_LEAST.
    """
    x = np.asarray(values, np.float64)
    count = np.isfinite(x).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        mean = np.where(np.isfinite(x), x, 0.0).sum(axis=-1) / np.where(count > 0, count, np.nan)
    return mean, count >= least


@_QUIET
def converted(dry_mg: ArrayLike, o2: ArrayLike, base_o2: ArrayLike) -> tuple[Floats, Bools]:
    """Convert to base oxygen: C × (21 − base) / (21 − O2), mg/m³; O2 and base in %.

    Where the standard names no base (NaN) the measured dry concentration stands. ok is False and the value NaN where O2 is
    missing or 21 − O2 < 1: "O2 invalid" (GB 13223-2011 §5, rules A.3 note 1).
    """
    c, o, b = _columns(dry_mg, o2, base_o2)
    span = AIR_O2 - o
    factor = (AIR_O2 - b) / np.where(span >= LEAST_O2_SPAN, span, np.nan)
    value = c * np.where(np.isnan(b), 1.0, factor)
    return value, np.isfinite(value)


def excess_air(o2: ArrayLike) -> Floats:
    """Excess-air coefficient α = 21 / (21 − O2), O2 in %; NaN where O2 is invalid as in `converted`."""
    span = AIR_O2 - np.asarray(o2, np.float64)
    alpha: Floats = AIR_O2 / np.where(span >= LEAST_O2_SPAN, span, np.nan)
    return alpha


@_QUIET
def converted_by_excess_air(dry_mg: ArrayLike, o2: ArrayLike, base_alpha: ArrayLike) -> tuple[Floats, Bools]:
    """Convert to a base excess-air coefficient: C × α / αs, mg/m³ (GB 9078-1996). NaN base and `ok` as in `converted`."""
    c, o, base = _columns(dry_mg, o2, base_alpha)
    value = c * np.where(np.isnan(base), 1.0, excess_air(o) / np.where(base > 0.0, base, np.nan))
    return value, np.isfinite(value)


@_QUIET
def dry(wet_mg: ArrayLike, humidity: ArrayLike) -> Floats:
    """Concentration in dry gas C / (1 − Xsw), mg/m³; humidity % by volume. NaN where humidity is not in 0..100 (exclusive)."""
    wet, share = _columns(wet_mg, humidity)
    value: Floats = wet / _dry_share(share)
    return value


@_QUIET
def no_as_no2(no_mg: ArrayLike) -> Floats:
    """NO in mg/m³ as NO2 in mg/m³, the way NOx limits are written (rules A.3 note 4)."""
    value: Floats = np.asarray(no_mg, np.float64) * NO_TO_NO2
    return value


@_QUIET
def actual_flow(area: ArrayLike, velocity: ArrayLike) -> Floats:
    """Wet flow at stack conditions Qsh = 3600 × F × Vs, m³/h; area m², velocity m/s (Kv already applied)."""
    f, v = _columns(area, velocity)
    return 3600.0 * f * v


@_QUIET
def standard_flow(
    area: ArrayLike,
    velocity: ArrayLike,
    temp_c: ArrayLike,
    static_pa: ArrayLike,
    humidity: ArrayLike,
    *,
    baro_pa: ArrayLike = STANDARD_PA,
) -> Floats:
    """Dry flow at 0 ℃ and 101 325 Pa: Qsn = Qsh × 273/(273 + ts) × (Ba + Ps)/101325 × (1 − Xsw), Nm³/h.

    area m², velocity m/s, temp_c ℃, static_pa gauge Pa, humidity %, baro_pa Pa. NaN where a temperature, pressure or
    humidity cannot be.
    """
    t, ps, x, ba = _columns(temp_c, static_pa, humidity, baro_pa)
    kelvin, pressure = ZERO_C + t, ba + ps
    pressure = np.where(pressure > 0.0, pressure, np.nan)
    value: Floats = actual_flow(area, velocity) * ZERO_C / np.where(kelvin > 0.0, kelvin, np.nan)
    return value * pressure / STANDARD_PA * _dry_share(x)


@_QUIET
def hourly_mass(dry_mg: ArrayLike, qsn: ArrayLike) -> Floats:
    """Emission rate G = C × Qsn × 10⁻⁶, kg/h; C measured dry and *not* converted, mg/m³; Qsn dry Nm³/h (note 3).

    A day's mass is the plain sum of its hours, kg: the factor 10⁻⁶ printed again in the day formula is an erratum (note 2).
    """
    c, q = _columns(dry_mg, qsn)
    return c * q * 1e-6


@_QUIET
def water_volume(flow_l_s: ArrayLike, seconds: ArrayLike) -> Floats:
    """Volume D = Q × T × 10⁻³, m³; flow L/s, time s."""
    q, t = _columns(flow_l_s, seconds)
    return q * t * 1e-3


@_QUIET
def water_mass(conc_mg_l: ArrayLike, volume_m3: ArrayLike) -> Floats:
    """Mass G = C × D × 10⁻³, kg; concentration mg/L, volume m³."""
    c, d = _columns(conc_mg_l, volume_m3)
    return c * d * 1e-3


@_QUIET
def water_mean(conc_mg_l: ArrayLike, volume_m3: ArrayLike) -> Floats:
    """Mean concentration over the last axis, mg/L: (..., n), (..., n) → (...).

    Flow-weighted C = ΣG / ΣD × 1000 over the periods that have both; arithmetic only where no volume is known or all are zero
    (rules A-AV-6). NaN where no concentration is known.
    """
    c, d = _columns(conc_mg_l, volume_m3)
    both = np.isfinite(c) & np.isfinite(d) & (d >= 0.0)
    volume = np.where(both, d, 0.0)
    total = volume.sum(axis=-1)
    mass = np.where(both, water_mass(c, d), 0.0).sum(axis=-1)
    plain, _ = valid_mean(c, 1)
    weighted = mass / np.where(total > 0.0, total, np.nan) * 1e3
    return np.where(total > 0.0, weighted, plain)


def _dry_share(humidity: Floats) -> Floats:
    """Return 1 − Xsw from a percentage; NaN outside 0 <= Xsw < 100."""
    share: Floats = 1.0 - np.where((humidity >= 0.0) & (humidity < 100.0), humidity, np.nan) / 100.0
    return share


def _columns(*columns: ArrayLike) -> list[Floats]:
    """Return the columns as float64 arrays."""
    return [np.asarray(column, np.float64) for column in columns]
