"""Load and check a plan: TOML in, frozen dataclasses out, every fault listed at once with its path."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streams.plan.check import LEAD, RULE, checked, is_number, table, tables

MINUTE = 60_000
HOUR = 60 * MINUTE
DEFAULT = Path(__file__).with_name("plan.toml")


class PlanFaults(Exception):
    """The plan can't be used; `faults` lists every problem as `path: what is wrong`."""

    def __init__(self, source: str, faults: list[str]) -> None:
        super().__init__(f"{source}: " + "; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: which detector, and how its scores become an episode (enter, hold, exit, delays; ISA-18.2 terms).

    `levels` and `lasting` are rising (threshold, level) pairs over score and over hours in a row; level 1 is Ⅰ red.
    """

    id: str
    detector: str
    family: str
    cadence: str
    zh: str
    en: str
    clause: str
    basis: str = ""
    scope: str = "series"
    enter: float = 1.0
    exit: float = 1.0
    hold: int = 1
    on_delay_min: float = 0.0
    off_delay_min: float = 0.0
    window_min: float = 60.0
    window_of: Mapping[str, float] = field(default_factory=dict)
    weight: float = 0.5
    levels: tuple[tuple[float, int], ...] = ((0.0, 4),)
    lasting: tuple[tuple[float, int], ...] = ()
    only: frozenset[str] = frozenset()
    exempt: frozenset[str] = frozenset()

    def window(self, factor: str) -> float:
        """Return the window in minutes for `factor`: that of the longest prefix in `window_of`, else `window_min`."""
        fitting = [prefix for prefix in self.window_of if factor.startswith(prefix)]
        return self.window_of[max(fitting, key=len)] if fitting else self.window_min

    def serves(self, factor: str) -> bool:
        """Say whether this rule looks at `factor`; `only` and `exempt` name factors or their prefixes."""
        if any(factor.startswith(prefix) for prefix in self.exempt):
            return False
        return not self.only or any(factor.startswith(prefix) for prefix in self.only)


@dataclass(frozen=True, slots=True)
class LeadRule:
    """How alerts of one point become a lead: so many of the counted families within the window (rules C.2)."""

    type: str
    families: int
    counts: frozenset[str]
    clause: str
    zh: str
    en: str
    window_h: float = 24.0
    auto_case_level: int = 0
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Times:
    """Waits of the pipeline, in minutes of log time."""

    hour_close_min: int = 30
    day_close_min: int = 90
    ahead_max_min: int = 10
    grace_min: int = 10
    pause_min: int = 5


@dataclass(frozen=True, slots=True)
class Validity:
    """Counts that make a window valid (HJ 212-2017 appendix D)."""

    samples_per_minute: int = 12
    share_of_minute: float = 0.75
    minutes_per_hour: int = 45
    hours_per_day: int = 20


@dataclass(frozen=True, slots=True)
class CrossSite:
    """When silence is a common cause: this share of one operator's outlets, and at least so many."""

    share: float = 0.30
    points: int = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides and is not code. `hash` is pinned on every alert."""

    version: str
    hash: str
    time: Times
    validity: Validity
    cross_site: CrossSite
    rules: tuple[Rule, ...]
    leads: tuple[LeadRule, ...]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    replay_limits: Mapping[str, float] = field(default_factory=dict)

    def rule(self, rule_id: str) -> Rule:
        """Return the rule of that id; KeyError if the plan has none."""
        return next(r for r in self.rules if r.id == rule_id)


def load_plan(path: Path | None = None) -> Plan:
    """Load the packaged plan, or the one at `path`. Raises PlanFaults naming every problem."""
    source = path or DEFAULT
    try:
        raw = source.read_bytes()
        data = tomllib.loads(raw.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise PlanFaults(str(source), [str(fault)]) from fault
    faults: list[str] = []
    replay = table(data.get("replay", {}), "replay", faults)
    plan = Plan(
        version=str(data.get("version", "")),
        hash=hashlib.sha256(raw).hexdigest()[:16],
        time=_section(Times, data.get("time", {}), "time", faults),
        validity=_section(Validity, data.get("validity", {}), "validity", faults),
        cross_site=_section(CrossSite, data.get("cross_site", {}), "cross_site", faults),
        rules=tuple(_rule(one, path, faults) for path, one in tables(data.get("rules", []), "rules", faults)),
        leads=tuple(_lead(one, path, faults) for path, one in tables(data.get("leads", []), "leads", faults)),
        ranges=_ranges(data.get("ranges", {}), faults),
        replay_limits=_numbers(replay.get("limits", {}), "replay.limits", faults),
    )
    ids = [r.id for r in plan.rules if r.id]
    faults += [f"rules: id '{i}' is used twice; give each rule its own" for i in sorted({i for i in ids if ids.count(i) > 1})]
    if "rules" not in data or data["rules"] == []:
        faults.append("rules: there is none; write at least one as [[rules]]")
    if faults:
        raise PlanFaults(str(source), faults)
    return plan


def _section(kind: Any, data: Any, path: str, faults: list[str]) -> Any:
    """Build a flat dataclass of numbers from a TOML table."""
    known = {name: type(getattr(kind(), name)) for name in kind.__dataclass_fields__}
    good: dict[str, Any] = {}
    for name, value in table(data, path, faults).items():
        if name not in known:
            faults.append(f"{path}.{name}: unknown; known are {', '.join(known)}")
        elif not is_number(value) or value < 0:
            faults.append(f"{path}.{name}: must be a number that is not negative, not {value!r}")
        elif known[name] is int and value != int(value):
            faults.append(f"{path}.{name}: must be a whole number, not {value!r}")
        else:
            good[name] = known[name](value)
    return kind(**good)


def _rule(data: Mapping[str, Any], path: str, faults: list[str]) -> Rule:
    values = checked(Rule, RULE, data, path, faults)
    for name in {"levels", "lasting"} & values.keys():
        values[name] = tuple((float(least), int(level)) for least, level in values[name])
    values["window_of"] = _numbers(values.get("window_of", {}), f"{path}.window_of", faults)
    for name in ("only", "exempt"):
        values[name] = frozenset(values.get(name, ()))
    return Rule(**values)


def _lead(data: Mapping[str, Any], path: str, faults: list[str]) -> LeadRule:
    values = checked(LeadRule, LEAD, data, path, faults)
    values["counts"] = frozenset(values["counts"])
    values["missing"] = tuple(values.get("missing", ()))
    return LeadRule(**values)


def _ranges(data: Any, faults: list[str]) -> dict[str, tuple[float, float]]:
    good: dict[str, tuple[float, float]] = {}
    for factor, pair in table(data, "ranges", faults).items():
        if isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair)) and pair[0] < pair[1]:
            good[factor] = (float(pair[0]), float(pair[1]))
        else:
            faults.append(f"ranges.{factor}: must be [low, high] with low below high, not {pair!r}")
    return good


def _numbers(data: Any, path: str, faults: list[str]) -> dict[str, float]:
    found = table(data, path, faults)
    good = {k: float(v) for k, v in found.items() if is_number(v) and v > 0}
    faults += [f"{path}.{k}: must be a number above 0, not {v!r}" for k, v in found.items() if k not in good]
    return good
