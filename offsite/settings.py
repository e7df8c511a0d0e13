"""Settings: defaults, then one TOML file, then environment variables, then the command line.

`OFFSITE_HJ212_PORT=9300` overrides `hj212_port`. A secret is given by reference: `env:NAME` or `file:PATH`. Every fault is
listed at once and names its key and the fix.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

PREFIX = "OFFSITE_"
RUN_FILE = "run.json"
"""The note a running product leaves in its data directory: its process and its open ports."""


class SettingsFaults(Exception):
    """The settings can't be used; `faults` lists every problem as `key: what is wrong and what to do`."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `offsite run` can be told. Port 0 takes a free one, -1 leaves the service out."""

    data: Path = Path("offsite-data")
    registry: Path | None = None
    plan: Path | None = None
    host: str = "127.0.0.1"
    hj212_port: int = 9212
    tls_port: int = -1
    tls_cert: Path | None = None
    tls_key: Path | None = None
    http_port: int = 8212
    desk_port: int = 8213
    title: str = "Offsite"
    clock: Path | None = None
    sm4_keys: Mapping[str, str] = field(default_factory=dict)
    """MN → `env:NAME` or `file:PATH` of its SM4 key (HJ 212-2025)."""
    dialects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """MN → dialect overrides: crc, encoding, ack_without_flag."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if isinstance(value, (bool, float)):
        raise TypeError
    return int(value)


_KINDS: dict[str, Any] = {"Path": Path, "Path | None": Path, "str": _text, "int": _whole}
_CALLED = {"Pat": "a path", "str": "text in quotes", "int": "a whole number", "Map": "a table"}
"""First letters of a setting's type → what its value is called."""
_TABLES = ("sm4_keys", "dialects")


def load_settings(file: Path | None, given: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """Put the sources together. Raises SettingsFaults."""
    faults: list[str] = []
    values = _read(file, faults) if file is not None else {}
    env = os.environ if environment is None else environment
    known = {f.name: str(f.type) for f in fields(Settings)}
    values |= {n: env[PREFIX + n.upper()] for n in known if n not in _TABLES and PREFIX + n.upper() in env}
    values |= {n: v for n, v in given.items() if v is not None and n in known}
    good: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            faults.append(f"{name}: unknown key; known are {', '.join(sorted(known))}")
            continue
        if value == "" and known[name] == "Path":
            faults.append(f"{name}: is empty; give the path of a directory, or leave the key out for {getattr(Settings(), name)}")
            continue
        try:
            good[name] = dict(value) if name in _TABLES else _KINDS[known[name]](value)
        except (TypeError, ValueError):
            faults.append(f"{name}: {value!r} is not {_CALLED[known[name][:3]]}; write it as one")
    settings = Settings(**good)
    faults += _check(settings)
    if faults:
        raise SettingsFaults(faults)
    return settings


def _read(file: Path, faults: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        faults.append(f"{file}: {fault}")
        return {}


def _check(settings: Settings) -> list[str]:
    """Find what can't work together."""
    faults = [
        f"{name}: {port} is no port; use 1 to 65535, 0 for a free one, -1 to leave it out"
        for name in ("hj212_port", "tls_port", "http_port", "desk_port")
        if not -1 <= (port := getattr(settings, name)) <= 65_535
    ]
    for name in ("registry", "plan", "tls_cert", "tls_key", "clock"):
        path = getattr(settings, name)
        if path is not None and not path.exists():
            faults.append(f"{name}: {path} does not exist; give the path of an existing file")
    if settings.tls_port >= 0 and (settings.tls_cert is None or settings.tls_key is None):
        faults.append("tls_port: needs tls_cert and tls_key (PEM files)")
    for mn, reference in settings.sm4_keys.items():
        try:
            secret(str(reference))
        except ValueError as fault:
            faults.append(f"sm4_keys.{mn}: {fault}")
    return faults


def secret(reference: str) -> bytes:
    """Return the secret that `env:NAME` or `file:PATH` names. Raises ValueError that says how to give one."""
    kind, _, name = reference.partition(":")
    if kind == "env" and name in os.environ:
        return os.environ[name].encode()
    if kind == "file" and Path(name).is_file():
        return Path(name).read_bytes().strip()
    raise ValueError(f"{reference!r} names no secret: write env:NAME of a set variable or file:PATH of a file")
