"""A table of the settings, read key by key with every fault named: what is wrong, where, and what to write instead.

Enters: a mapping out of TOML and its place (`inputs[0]`). Leaves: checked values, and at the end every fault at once, unknown
keys included. Secrets are given by reference and resolved by the function that is handed in; they are never written in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Secret = Callable[[str], bytes]
"""Reference (`env:NAME`, `file:PATH`) → secret; raises ValueError that says how to give one."""

REFERENCES = ("env:", "file:")


class TableFaults(Exception):
    """A table can't be used; `faults` lists every problem as `place.key: what is wrong and what to do`."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = list(faults)


class Table:
    """One table being read: ask for each key once, then call `done`."""

    def __init__(self, values: Mapping[str, Any], place: str, secret: Secret, *, outer: Table | None = None) -> None:
        self.place = place
        self.faults: list[str] = [] if outer is None else outer.faults
        self._values, self._secret = values, secret
        self._asked = {"kind", "name"} if outer is None else set[str]()
        self._inner: list[Table] = []

    def fault(self, key: str, words: str) -> None:
        """Note that the value of `key` can't be used."""
        self.faults.append(f"{self.place}.{key}: {words}")

    def done(self) -> None:
        """Raise TableFaults if anything is wrong, keys that nobody asked for included."""
        for table in (self, *self._inner):
            table.unknown_keys()
        if self.faults:
            raise TableFaults(self.faults)

    def unknown_keys(self) -> None:
        """Note the keys that nobody asked for."""
        for key in self._values:
            if key not in self._asked:
                self.fault(key, f"unknown key; known are {', '.join(sorted(self._asked))}")

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; without a default it has to be there."""
        value = self._get(key, default)
        if isinstance(value, str) and (value or default == ""):
            return value
        if value is not None:
            self.fault(key, f"{value!r} is no text; write it in quotes")
        return ""

    def choice(self, key: str, choices: Sequence[Any], default: Any) -> Any:
        """Return one of `choices`."""
        value = self._get(key, default)
        if value not in choices:
            self.fault(key, f"{value!r} is not one of {', '.join(map(repr, choices))}")
            return default
        return value

    def whole(self, key: str, default: int | None, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        value = self._get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        if value is not None:
            self.fault(key, f"{value!r} is no whole number from {low} to {high}")
        return low

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """Return a number from `low` to `high`."""
        value = self._get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        self.fault(key, f"{value!r} is no number from {low:g} to {high:g}")
        return default

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            self.fault(key, f"{value!r} is neither true nor false")
            return default
        return value

    def path(self, key: str, *, exists: bool = True) -> Path | None:
        """Return a path, None if the key is left out."""
        value = self._get(key, "")
        if not isinstance(value, str):
            self.fault(key, f"{value!r} is no path; write it in quotes")
            return None
        if value and exists and not Path(value).exists():
            self.fault(key, f"{value} does not exist; give the path of something that does")
        return Path(value) if value else None

    def texts(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """Return a list of texts; without a default at least one is needed."""
        value = self._get(key, list(default) or None)
        if isinstance(value, list) and value and all(isinstance(item, str) and item for item in value):
            return tuple(value)
        if value is not None:
            self.fault(key, f'{value!r} is no list of texts; write ["…"]')
        return tuple(default)

    def mapping(self, key: str) -> dict[str, str]:
        """Return a table of text to text, empty if the key is left out."""
        value = self._get(key, {})
        if isinstance(value, Mapping) and all(isinstance(item, str) for item in value.values()):
            return dict(value)
        self.fault(key, f"{value!r} is no table of text = text")
        return {}

    def tables(self, key: str) -> dict[str, Table]:
        """Return the sub-tables of `key` by name; their faults are counted here."""
        value = self._get(key, {})
        if not isinstance(value, Mapping) or not all(isinstance(item, Mapping) for item in value.values()):
            self.fault(key, f"{value!r} is no table of tables")
            return {}
        found = {name: Table(item, f"{self.place}.{key}.{name}", self._secret, outer=self) for name, item in value.items()}
        self._inner += found.values()
        return found

    def secret(self, key: str) -> bytes:
        """Return the secret that the key refers to, b"" if the key is left out."""
        value = self._get(key, "")
        if not value:
            return b""
        try:
            return self._secret(str(value))
        except ValueError as error:
            self.fault(key, str(error))
            return b""

    def options(self, key: str) -> dict[str, str]:
        """Return a table of text to text in which a text that is a reference stands for its secret."""
        found = self.mapping(key)
        for name, text in found.items():
            if text.startswith(REFERENCES):
                try:
                    found[name] = self._secret(text).decode("utf-8", "replace")
                except ValueError as error:
                    self.fault(f"{key}.{name}", str(error))
        return found

    def _get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        value = self._values.get(key, default)
        if value is None:
            self.fault(key, "is missing; it has to be given")
        return value
