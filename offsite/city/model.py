"""The city: inventory, time span and scenario from one seed, and its values at any instant.

`City` is immutable and cheap; everything a device, a meter or a camera says is computed from it when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from offsite.city.emissions import Block, averaged, block, joined, power
from offsite.city.faults import Fault, overlay, overlay_power, place, scenario
from offsite.city.noise import Float, Int
from offsite.city.plants import Inventory, Outlet, Site, build
from offsite.city.tables import DAY_MS, HOUR_MS, MINUTE_MS, PROFILES

START_MS = int(datetime(2026, 11, 16, 1, 0, tzinfo=UTC).timestamp() * 1000)
"""2026-11-16 09:00 China Standard Time: with seven days of history, live operation begins on a Monday morning."""
TEN_MINUTES_MS = 10 * MINUTE_MS
POURED = 3
"""Past days are sent at MinInterval = 30 min (three of the city's ten-minute values in one), so that seven of them pour within a
minute; live loggers send every ten minutes."""


@dataclass(frozen=True)
class City:
    """A simulated city, fixed by its arguments.

    `start_ms` whole hours UTC, `days` of history before live operation begins at `live_ms`.
    """

    seed: int = 1
    enterprises: int = 210
    start_ms: int = START_MS
    days: int = 7
    inventory: Inventory = field(init=False, repr=False)
    sites: dict[str, Site] = field(init=False, repr=False)
    faults: tuple[Fault, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.start_ms % HOUR_MS:
            raise ValueError(f"start_ms: {self.start_ms} must be a whole hour")
        if self.enterprises < 1 or self.days < 0:
            raise ValueError("enterprises must be at least 1 and days not below 0")
        inventory = build(self.seed, self.enterprises)
        object.__setattr__(self, "inventory", inventory)
        object.__setattr__(self, "sites", inventory.by_site())
        object.__setattr__(self, "faults", place(scenario(), inventory, self.live_ms))

    @property
    def live_ms(self) -> int:
        """When the poured days end and live operation begins, ms UTC."""
        return self.start_ms + self.days * DAY_MS

    def truth(self) -> list[dict[str, Any]]:
        """Return what is wrong in this city from `start_ms` on: id, kind, site, point, factor, start, end, rules."""
        return [f.truth() for f in self.faults if f.end > self.start_ms]

    def registry(self, folder: Path) -> None:
        """Write the registry folder (CSV files of design §3)."""
        from offsite.city.registry import write

        write(self, folder)

    def groups(self, *, hourly: bool) -> Iterator[tuple[Outlet, ...]]:
        """Yield the outlets of each profile that reports hourly only, or of each of the others."""
        for profile in PROFILES.values():
            if profile.hourly_only == hourly:
                members = tuple(o for o in self.inventory.outlets if o.profile is profile)
                if members:
                    yield members

    def block(self, outlets: tuple[Outlet, ...], start_ms: int, step_ms: int, steps: int) -> Block:
        """Return readings of outlets of one profile at start, start + step …, faults included."""
        time = np.arange(steps, dtype=np.int64) * step_ms + start_ms
        return overlay(block(outlets[0].profile, outlets, self.sites, time, step_ms, self.seed), self.faults)

    def realtime(self, start_ms: int, step_ms: int, steps: int) -> list[Block]:
        """Return the real-time blocks of all outlets that have real-time data."""
        return [self.block(members, start_ms, step_ms, steps) for members in self.groups(hourly=False)]

    def ten_minutes(self, outlets: tuple[Outlet, ...], start_ms: int, count: int) -> Block:
        """Return 10-minute means of outlets of one profile, `count` (at least 1) from `start_ms` on.

        In live operation they are means of the real-time data that were sent; in the past there were none to walk through.
        """
        past = min(count, max(0, -(-(self.live_ms - start_ms) // TEN_MINUTES_MS)))
        live = start_ms + past * TEN_MINUTES_MS
        parts = [self.block(outlets, start_ms, TEN_MINUTES_MS, past)] if past else []
        parts += [averaged(self.block(outlets, live, MINUTE_MS, (count - past) * 10), 10)] if count > past else []
        return reduce(joined, parts)

    def minutes(self, start_ms: int, hours: int) -> list[Block]:
        """Return the 10-minute means of whole hours of all outlets that have them."""
        return [self.ten_minutes(members, start_ms, hours * 6) for members in self.groups(hourly=False)]

    def minute_data(self, outlets: tuple[Outlet, ...], start_ms: int, hours: int) -> list[Block]:
        """Return what loggers send as minute data (CN 2051) of whole hours: 30-minute means of the past, 10-minute means live."""
        past = min(hours, max(0, (self.live_ms - start_ms) // HOUR_MS))
        spans = ((start_ms, past, POURED), (start_ms + past * HOUR_MS, hours - past, 1))
        return [averaged(self.ten_minutes(outlets, begin, count * 6), columns) for begin, count, columns in spans if count]

    def hours(self, start_ms: int, hours: int, minutes: Sequence[Block]) -> list[Block]:
        """Return hour means: of the 10-minute (or real-time) blocks given, and of the stations that report hourly only."""
        own = [averaged(b, HOUR_MS // b.step_ms) for b in minutes]
        return own + [self.block(members, start_ms, HOUR_MS, hours) for members in self.groups(hourly=True)]

    def power(self, time: Int) -> Float:
        """Return (meters, k) active power in kW, rounded to 0.01, faults included."""
        meters = self.inventory.meters
        healthy = power(meters, self.sites, time, self.seed)
        return np.round(overlay_power(healthy, meters, time, self.faults), 2)
