"""Settings: defaults, then one TOML file, then environment variables, then the command line.

`OFFSITE_HJ212_PORT=9300` overrides `hj212_port`, `OFFSITE_KAFKA_BOOTSTRAP` the `bootstrap` of `[kafka]`. A secret is given by
reference: `env:NAME` or `file:PATH`. Every fault is listed at once and names its key and the fix.
"""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from connectors.kafka import Cluster
from offsite.settings_tables import PREFIX, Influx, Kafka, read_table, read_value, resolved, secret, secret_faults

__all__ = ["RUN_FILE", "Influx", "Kafka", "Settings", "SettingsFaults", "load_settings", "secret"]

RUN_FILE = "run.json"
"""The note a running product leaves in its data directory: its process and its open ports."""


class SettingsFaults(Exception):
    """The settings can't be used; `faults` lists every problem as `key: what is wrong and what to do`."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the processes of the product can be told. Port 0 takes a free one, -1 leaves the service out."""

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
    metrics_port: int = -1
    """Prometheus metrics and health."""
    metrics_host: str = "127.0.0.1"
    """Address of that port. There is no sign-in on it: another one is for networks that Prometheus alone can reach."""
    title: str = "Offsite"
    clock: Path | None = None
    instance: str = ""
    """Name of this process among its kind, kept across restarts; by default the host's name."""
    spool: Path = Path()
    """Where the gateway keeps what the broker has not yet taken; by default `spool` in the data directory."""
    desk_url: str = ""
    """SQLAlchemy URL of the desk's database, without a password; by default SQLite in the data directory."""
    desk_password: str = ""
    """A secret, by reference."""
    archive: str = ""
    """A path or an fsspec URL (`s3://bucket/prefix`); by default `archive` in the data directory."""
    archive_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of fsspec's file system; a text `env:NAME` or `file:PATH` is a secret."""
    kafka: Kafka = field(default_factory=Kafka)
    influx: Influx = field(default_factory=Influx)
    inputs: tuple[Mapping[str, Any], ...] = ()
    outputs: tuple[Mapping[str, Any], ...] = ()
    reference: tuple[Mapping[str, Any], ...] = ()
    """Further inputs, outputs and sources of reference data, each with its `kind`; what makes one of a table checks the rest."""
    sm4_keys: Mapping[str, str] = field(default_factory=dict)
    """MN → `env:NAME` or `file:PATH` of its SM4 key (HJ 212-2025)."""
    dialects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """MN → dialect overrides: crc, encoding, ack_without_flag."""

    def __post_init__(self) -> None:
        """Fill in what depends on the other settings or on the machine."""
        for name, value in (
            ("spool", self.data / "spool"),
            ("archive", str(self.data / "archive")),
            ("instance", socket.gethostname()),
        ):
            if getattr(self, name) in {"", Path()}:
                object.__setattr__(self, name, value)

    def cluster(self) -> Cluster:
        """Return the Kafka cluster, its password resolved. Raises SettingsFaults if none is named."""
        if not self.kafka.bootstrap:
            raise SettingsFaults(["kafka.bootstrap: is empty; name some brokers as host:port, separated by commas"])
        try:
            return self.kafka.cluster()
        except ValueError as fault:
            raise SettingsFaults([f"kafka.password: {fault}"]) from fault

    def desk_database(self) -> str:
        """Return the SQLAlchemy URL of the desk's database with its password. Raises SettingsFaults if that names no secret."""
        if not self.desk_url:
            return f"sqlite:///{(self.data / 'desk.sqlite').resolve()}"
        if not self.desk_password:
            return self.desk_url
        try:
            password = quote(secret(self.desk_password).decode(), safe="")
        except ValueError as fault:
            raise SettingsFaults([f"desk_password: {fault}"]) from fault
        scheme, _, rest = self.desk_url.partition("://")
        user, _, place = rest.partition("@")
        return f"{scheme}://{user}:{password}@{place}"

    def archive_storage(self) -> dict[str, Any]:
        """Return the options of the archive's file system, their secrets resolved. Raises SettingsFaults."""
        try:
            return dict(resolved(self.archive_options))
        except ValueError as fault:
            raise SettingsFaults([f"archive_options: {fault}"]) from fault


_CLASSES: dict[str, type[Kafka | Influx]] = {"kafka": Kafka, "influx": Influx}
"""Tables with keys of their own, each of which the environment may give."""


def load_settings(file: Path | None, given: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """Put the sources together. Raises SettingsFaults."""
    faults: list[str] = []
    values = _read(file, faults) if file is not None else {}
    env = os.environ if environment is None else environment
    known = {f.name: str(f.type) for f in fields(Settings)}
    tables = {name for name, kind in known.items() if name in _CLASSES or kind.startswith(("Mapping", "tuple"))}
    values |= {n: env[PREFIX + n.upper()] for n in known if n not in tables and PREFIX + n.upper() in env}
    values |= {n: v for n, v in given.items() if v is not None and n in known}
    good: dict[str, Any] = {name: read_table(table, name, values.pop(name, {}), env, faults) for name, table in _CLASSES.items()}
    for name, value in values.items():
        if name not in known:
            faults.append(f"{name}: unknown key; known are {', '.join(sorted(known))}")
        elif value == "" and known[name] == "Path":
            faults.append(f"{name}: is empty; give the path of a directory, or leave the key out for {getattr(Settings(), name)}")
        else:
            good |= read_value(name, known[name], value, faults)
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
        for name in ("hj212_port", "tls_port", "http_port", "desk_port", "metrics_port")
        if not -1 <= (port := getattr(settings, name)) <= 65_535
    ]
    for name in ("registry", "plan", "tls_cert", "tls_key", "clock"):
        path = getattr(settings, name)
        if path is not None and not path.exists():
            faults.append(f"{name}: {path} does not exist; give the path of an existing file")
    if settings.tls_port >= 0 and (settings.tls_cert is None or settings.tls_key is None):
        faults.append("tls_port: needs tls_cert and tls_key (PEM files)")
    for mn, reference in settings.sm4_keys.items():
        faults += secret_faults(f"sm4_keys.{mn}", str(reference))
    return [*faults, *settings.kafka.faults(), *settings.influx.faults(), *_desk(settings), *_kinds(settings)]


def _desk(settings: Settings) -> Iterator[str]:
    """Find what is wrong with the stores of the distributed runtime."""
    url = settings.desk_url
    parts = urlsplit(url)
    if url and not (parts.scheme and "://" in url):
        yield f"desk_url: {url!r} is no address; write postgresql+psycopg://USER@HOST/DATABASE"
    elif parts.password is not None:
        yield "desk_url: holds a password; leave it out of the address and refer to it by desk_password"
    if settings.desk_password:
        yield from secret_faults("desk_password", settings.desk_password)
        if parts.username is None:
            yield "desk_password: has no user to go with; write desk_url as postgresql+psycopg://USER@HOST/DATABASE"
    try:
        resolved(settings.archive_options)
    except ValueError as fault:
        yield f"archive_options: {fault}"


def _kinds(settings: Settings) -> Iterator[str]:
    for name in ("inputs", "outputs", "reference"):
        for at, table in enumerate(getattr(settings, name)):
            if not isinstance(table.get("kind"), str) or not table["kind"]:
                yield f'{name}[{at}].kind: is missing; say what it is, as kind = "…"'
