"""What each field of a plan may hold: a value enters, the fault in words leaves, or nothing when the value is good."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from detectors.catalog import CATALOG

FAMILIES = ("statistics", "limits", "parameters", "power", "video", "quality", "manual")
CADENCES = ("reading", "minute", "hour", "day")
SCOPES = ("series", "point", "unit", "site")
ALERT_WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("factor", "observed", "expected", "limit", "unit", "multiple", "source", "last"), "x"),
    **dict.fromkeys(("factor_zh", "factor_en", "source_zh", "source_en"), "x"),
    "minutes": 1,
}
"""The words that `streams.alerts` fills into a rule's sentences, with values of their kind."""
LEAD_WORDS: Mapping[str, Any] = {"families": 2, "n": 3}
"""The words that `streams.leads` fills into a lead's sentences."""

Check = Callable[[Any], str]


def is_number(value: object) -> bool:
    """Say whether a TOML value is a finite number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else f"must be text in quotes, not {value!r}"


def _name(value: Any) -> str:
    return _text(value) or ("" if value.strip() else "must not be empty")


def _texts(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, str) and one for one in value):
        return ""
    return f'must be a list of texts, e.g. ["a21026"], not {value!r}'


def _one_of(allowed: tuple[str, ...]) -> Check:
    return lambda value: "" if value in allowed else f"{value!r} is not one of {', '.join(allowed)}"


def _families(value: Any) -> str:
    wrong = _texts(value) or ("" if value else "must name at least one family")
    unknown = [] if wrong else sorted(set(value) - set(FAMILIES))
    return wrong or "; ".join(f"{name!r} is not one of {', '.join(FAMILIES)}" for name in unknown)


def _number(low: float, high: float = math.inf, *, whole: bool = False) -> Check:
    """Make a check of numbers from `low` to `high`."""
    kind = "a whole number" if whole else "a number"
    limits = f"from {low:g}" + (f" to {high:g}" if high < math.inf else "")

    def check(value: Any) -> str:
        good = is_number(value) and low <= value <= high and (not whole or isinstance(value, int))
        return "" if good else f"must be {kind} {limits}, not {value!r}"

    return check


def _positive(value: Any) -> str:
    return "" if is_number(value) and value > 0 else f"must be a number above 0, not {value!r}"


def _pair(value: Any) -> bool:
    """Say whether a value is a [threshold, level] pair; level 1 is the highest."""
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value)) and value[1] in (1, 2, 3, 4)


def _pairs(value: Any) -> str:
    good = isinstance(value, list) and all(_pair(one) for one in value)
    return "" if good else f"must be pairs of a threshold and a level 1 to 4, e.g. [[0.0, 4]], not {value!r}"


def _sentence(words: Mapping[str, Any]) -> Check:
    """Make a check of sentences that are filled with `words`: a trial with values of the right kind."""

    def check(value: Any) -> str:
        wrong = _text(value)
        if wrong:
            return wrong
        try:
            value.format(**words)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            return f"cannot be filled ({error!r}); its words are {', '.join(words)}, and a brace itself is written twice"
        return ""

    return check


def _numbers(value: Any) -> str:
    return "" if isinstance(value, dict) else f"must be a table of numbers, e.g. {{ w = 720 }}, not {value!r}"


RULE: Mapping[str, Check] = {
    "id": _name,
    "detector": _one_of(tuple(CATALOG)),
    "family": _one_of(FAMILIES),
    "cadence": _one_of(CADENCES),
    "zh": _sentence(ALERT_WORDS),
    "en": _sentence(ALERT_WORDS),
    "clause": _text,
    "basis": _text,
    "scope": _one_of(SCOPES),
    "enter": _number(0),
    "exit": _number(0),
    "hold": _number(1, whole=True),
    "on_delay_min": _number(0),
    "off_delay_min": _number(0),
    "window_min": _positive,
    "window_of": _numbers,
    "weight": _number(0, 1),
    "levels": _pairs,
    "lasting": _pairs,
    "only": _texts,
    "exempt": _texts,
}
"""Field of a rule → its check."""

LEAD: Mapping[str, Check] = {
    "type": _name,
    "families": _number(1, whole=True),
    "counts": _families,
    "clause": _text,
    "zh": _sentence(LEAD_WORDS),
    "en": _sentence(LEAD_WORDS),
    "window_h": _positive,
    "auto_case_level": _number(0, 4, whole=True),
    "missing": _texts,
}
"""Field of a lead rule → its check."""


def table(value: Any, path: str, faults: list[str]) -> Mapping[str, Any]:
    """Return a TOML table, or an empty one and a fault."""
    if isinstance(value, dict):
        return value
    faults.append(f"{path}: must be a table, written [{path}], not {value!r}")
    return {}


def tables(value: Any, path: str, faults: list[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the tables of a list, each with its path; a fault for each that is none."""
    if not isinstance(value, list):
        faults.append(f"{path}: must be a list of tables, each written [[{path}]], not {value!r}")
        return []
    return [(f"{path}[{i}]", table(one, f"{path}[{i}]", faults)) for i, one in enumerate(value)]


def checked(kind: Any, checks: Mapping[str, Check], data: Mapping[str, Any], path: str, faults: list[str]) -> dict[str, Any]:
    """Return the fields of `kind` that can be used, required ones empty where they can't; the rest are faults."""
    fields = kind.__dataclass_fields__
    required = [n for n, f in fields.items() if f.default is f.default_factory]
    faults += [f"{path}.{n}: unknown; known are {', '.join(fields)}" for n in data if n not in fields]
    faults += [f"{path}.{n}: is required" for n in required if n not in data]
    wrong = {n: checks[n](v) for n, v in data.items() if n in fields}
    faults += [f"{path}.{n}: {fault}" for n, fault in wrong.items() if fault]
    return dict.fromkeys(required, "") | {n: data[n] for n, fault in wrong.items() if not fault}
