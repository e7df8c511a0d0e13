"""Tables of the settings and how a value is read: what a TOML file or the environment says enters, checked values leave.

A fault names its key and the fix and is listed, never raised. A secret is given by reference, `env:NAME` or `file:PATH`, and is
resolved only when a connection is made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from connectors.kafka import PLAINTEXT, Cluster

PREFIX = "OFFSITE_"
SECURITY = (PLAINTEXT, "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
REFERENCE = re.compile(r"(env|file):.+", re.DOTALL)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kafka:
    """The cluster of the distributed runtime; without `bootstrap` there is none. Words as in `connectors.kafka.Cluster`."""

    bootstrap: str = ""
    """host:port of some brokers, separated by commas."""
    prefix: str = ""
    """Stands before every topic, group and transactional id."""
    security: str = PLAINTEXT
    ca: str = ""
    cert: str = ""
    key: str = ""
    """Paths of PEM files: who signed the brokers; the client's own certificate and its key."""
    mechanism: str = MECHANISMS[0]
    username: str = ""
    password: str = ""
    """A secret, by reference."""

    def faults(self) -> Iterator[str]:
        """Yield what can't work."""
        if self.bootstrap and not all(re.fullmatch(r".+:\d{1,5}", one.strip()) for one in self.bootstrap.split(",")):
            yield f"kafka.bootstrap: {self.bootstrap!r} is no list of brokers; write host:port, more of them separated by commas"
        if not re.fullmatch(r"[A-Za-z0-9._-]*", self.prefix):
            yield f"kafka.prefix: {self.prefix!r} can't begin a topic's name; use letters, digits, '.', '_' and '-'"
        if self.security not in SECURITY:
            yield f"kafka.security: {self.security!r} is unknown; use {', '.join(SECURITY)}"
        for name in ("ca", "cert", "key"):
            if (path := getattr(self, name)) and not Path(path).is_file():
                yield f"kafka.{name}: {path} does not exist; give the path of a PEM file"
        if bool(self.cert) != bool(self.key):
            yield "kafka.cert: a client certificate needs both cert and key (PEM files)"
        if "SASL" in self.security:
            yield from self._sasl()
        if "SASL" in self.security or self.password:
            yield from secret_faults("kafka.password", self.password)

    def _sasl(self) -> Iterator[str]:
        if self.mechanism not in MECHANISMS:
            yield f"kafka.mechanism: {self.mechanism!r} is unknown; use {', '.join(MECHANISMS)}"
        if not self.username:
            yield f"kafka.username: is empty; {self.security} needs a username and a password"

    def cluster(self) -> Cluster:
        """Return the cluster, its password resolved. Raises ValueError if the password names no secret any more."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        bootstrap = ",".join(one.strip() for one in self.bootstrap.split(","))
        return Cluster(**values | {"bootstrap": bootstrap, "password": secret(self.password).decode() if self.password else ""})


@dataclass(frozen=True, slots=True)
class Influx:
    """The InfluxDB 2 of chart history; without `url` there is none."""

    url: str = ""
    org: str = "offsite"
    bucket: str = "offsite"
    """First part of the names of the buckets, one for each retention."""
    token: str = ""
    """A secret, by reference."""
    ca: str = ""
    realtime_days: int = 90
    minute_days: int = 730
    hour_days: int = 0
    """Days that readings are kept, by period; 0 keeps them for ever."""

    def faults(self) -> Iterator[str]:
        """Yield what can't work."""
        for name in ("realtime_days", "minute_days", "hour_days"):
            if (days := getattr(self, name)) < 0:
                yield f"influx.{name}: {days} is no retention; use a number of days, or 0 to keep for ever"
        if not self.url:
            return
        if not re.match(r"https?://[^/]", self.url):
            yield f"influx.url: {self.url!r} is no address; write http://HOST:8086 or https://HOST:8086"
        for name in ("org", "bucket"):
            if not getattr(self, name):
                yield f"influx.{name}: is empty; name the {name} of InfluxDB"
        if self.ca and not Path(self.ca).is_file():
            yield f"influx.ca: {self.ca} does not exist; give the path of a PEM file"
        yield from secret_faults("influx.token", self.token)

    def secret_token(self) -> str:
        """Return the token itself. Raises ValueError if it names no secret any more."""
        return secret(self.token).decode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if isinstance(value, (bool, float)):
        raise TypeError
    return int(value)


def _list(value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, Mapping) for one in value):
        raise TypeError
    return tuple(dict(one) for one in value)


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return dict(value)


KINDS: dict[str, Any] = {"Path": Path, "Path | None": Path, "str": _text, "int": _whole}
"""A setting's type → how its value is read."""
_CALLED = {"Pat": "a path", "str": "text in quotes", "int": "a whole number", "Map": "a table", "tup": "a list of tables"}
"""First letters of a setting's type → what its value is called."""


def read_value(key: str, kind: str, value: object, faults: list[str]) -> dict[str, Any]:
    """Return {last part of `key`: the value}, or nothing and a fault more if it is not of its kind."""
    reader = KINDS.get(kind) or (_list if kind.startswith("tuple") else _table)
    try:
        return {key.rpartition(".")[2]: reader(value)}
    except (TypeError, ValueError):
        faults.append(f"{key}: {value!r} is not {_CALLED[kind[:3]]}; write it as one")
        return {}


def read_table(table: type[T], name: str, value: object, env: Mapping[str, str], faults: list[str]) -> T:
    """Return the table `[name]` of a class of this module; `OFFSITE_NAME_KEY` in the environment is stronger than the file."""
    kinds = {f.name: str(f.type) for f in fields(table)}  # type: ignore[arg-type]
    given = read_value(name, "Mapping", value, faults).get(name, {})
    given |= {key: env[variable] for key in kinds if (variable := f"{PREFIX}{name}_{key}".upper()) in env}
    good: dict[str, Any] = {}
    for key, one in given.items():
        if key in kinds:
            good |= read_value(f"{name}.{key}", kinds[key], one, faults)
        else:
            faults.append(f"{name}.{key}: unknown key; known are {', '.join(sorted(kinds))}")
    return table(**good)


def secret(reference: str) -> bytes:
    """Return the secret that `env:NAME` or `file:PATH` names. Raises ValueError that says how to give one."""
    kind, _, name = reference.partition(":")
    if kind == "env" and name in os.environ:
        return os.environ[name].encode()
    if kind == "file" and Path(name).is_file():
        return Path(name).read_bytes().strip()
    raise ValueError(f"{reference!r} names no secret: write env:NAME of a set variable or file:PATH of a file")


def secret_faults(key: str, reference: str) -> Iterator[str]:
    """Yield the fault of a reference that names no secret."""
    try:
        secret(reference)
    except ValueError as fault:
        yield f"{key}: {fault}"


def resolved(options: Any) -> Any:
    """Return options with each text that is a reference replaced by its secret, in tables within tables too. Raises ValueError."""
    if isinstance(options, Mapping):
        return {name: resolved(value) for name, value in options.items()}
    return secret(options).decode() if isinstance(options, str) and REFERENCE.fullmatch(options) else options
