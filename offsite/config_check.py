"""Everything a configuration can be wrong about, at once: a settings file enters, faults leave, each with its key and the fix."""

from __future__ import annotations

import ssl
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from connectors.hj212.scan import CrcMode
from connectors.hj212.sm4 import BLOCK
from offsite import inputs, reference_sources
from offsite.outputs import faults as output_faults
from offsite.settings import Settings, SettingsFaults, load_settings, secret
from streams.plan import PlanFaults, load_plan
from streams.registry import load
from streams.registry_tables import RegistryFaults

CHOICES: Mapping[str, tuple[object, ...]] = {
    "crc": get_args(CrcMode),
    "encoding": ("utf-8", "gbk"),
    "ack_without_flag": (True, False),
}
"""What a dialect may be told, and the values of each word."""


def check(file: Path | None, given: Mapping[str, Any]) -> tuple[list[str], Settings | None]:
    """Return every fault (`key: what is wrong and what to do`), and the settings if there is none."""
    faults: list[str] = []
    settings: Settings | None = None
    try:
        settings = load_settings(file, given)
    except SettingsFaults as error:
        faults += error.faults
    named = _named(file) | {name: value for name, value in given.items() if value is not None}
    if settings is not None:
        named |= {"plan": settings.plan, "registry": settings.registry}
        faults += [*_tls(settings), *_keys(settings), *inputs.check(settings.inputs, settings.data), *output_faults(settings)]
        faults += reference_sources.faults(settings)
    faults += [*_dialects(named.get("dialects")), *_plan(_path(named.get("plan"))), *_registry(_path(named.get("registry")))]
    return faults, None if faults else settings


def _named(file: Path | None) -> dict[str, Any]:
    """Return what the file says, as far as it can be read: what can't is among the settings' faults already."""
    try:
        return {} if file is None else tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _path(value: object) -> Path | None:
    """Return a path that exists; one that does not is among the settings' faults already."""
    found = Path(value) if isinstance(value, (str, Path)) else None
    return found if found is not None and found.exists() else None


def _plan(path: Path | None) -> Iterator[str]:
    try:
        load_plan(path)
    except PlanFaults as error:
        yield from (f"plan: {path}: {fault}" for fault in error.faults)


def _registry(path: Path | None) -> Iterator[str]:
    if path is None:
        return
    try:
        load(path)
    except RegistryFaults as error:
        yield from (f"registry: {fault}" for fault in error.faults)


def _tls(settings: Settings) -> Iterator[str]:
    if settings.tls_port < 0:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(str(settings.tls_cert), str(settings.tls_key))
    except (ssl.SSLError, OSError) as error:
        yield f"tls_cert: {settings.tls_cert} and {settings.tls_key} cannot be used ({error}); give a PEM certificate and its own key"


def _keys(settings: Settings) -> Iterator[str]:
    for mn, reference in settings.sm4_keys.items():
        size = len(secret(reference))
        if size != BLOCK:
            yield f"sm4_keys.{mn}: {reference} has {size} bytes; an SM4 key has {BLOCK} (HJ 212-2025, CN=1014)"


def _dialects(tables: object) -> Iterator[str]:
    if not isinstance(tables, Mapping):
        return
    for mn, own in tables.items():
        if not isinstance(own, Mapping):
            yield f"dialects.{mn}: must be a table, e.g. {{crc = 'ignore'}}"
            continue
        for name, value in own.items():
            if name not in CHOICES:
                yield f"dialects.{mn}.{name}: unknown; known are {', '.join(CHOICES)}"
            elif value not in CHOICES[name]:
                yield f"dialects.{mn}.{name}: {value!r} is not one of {', '.join(map(str, CHOICES[name]))}"
