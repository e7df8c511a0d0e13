"""A real PostgreSQL: a throw-away cluster on a free port, with databases that are copies of a desk's in a moment."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from tests.conftest import need

HBA = """
local all all trust
hostssl all certified 127.0.0.1/32 trust clientcert=verify-ca
host all worded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""
"""User `certified` needs a client certificate, `worded` its password; everybody else is let in."""
TEMPLATE, SHARED = "desk_template", "desk_shared"


class Postgres:
    """One cluster. `stop` and `start` keep data and port; with `certs` it speaks TLS too."""

    def __init__(self, folder: Path, certs: Any = None) -> None:
        found = shutil.which("initdb") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
        need(found, "PostgreSQL")
        need(find_spec("psycopg"), "psycopg, the driver of PostgreSQL")
        self.bin, self.folder, self._made = Path(str(found)).parent, folder, 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", f"{folder}/data", "-U", "desk", "-A", "trust", "--no-sync", "-E", "UTF8")
        (folder / "data" / "pg_hba.conf").write_text(HBA)
        self._tls = "" if certs is None else self._take(certs)

    def _take(self, certs: Any) -> str:
        """Copy the certificates to where the server insists on reading them; return its options."""
        for name in ("ca", "server_cert", "server_key"):
            copy = self.folder / name
            shutil.copy(getattr(certs, name), copy)
            copy.chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(copy, "postgres")
        at = self.folder
        return f" -c ssl=on -c ssl_ca_file={at}/ca -c ssl_cert_file={at}/server_cert -c ssl_key_file={at}/server_key"

    def _run(self, program: str, *options: str) -> None:
        """Run one of PostgreSQL's programs; as root it runs as postgres, which PostgreSQL insists on."""
        user = "postgres" if os.geteuid() == 0 else None
        environment = os.environ | {"LC_ALL": "C.UTF-8"}
        subprocess.run([self.bin / program, *options], check=True, capture_output=True, user=user, cwd="/", env=environment)

    def start(self) -> None:
        """Start the server; returns once it answers."""
        at, options = self.folder, f"-p {self.port} -h 127.0.0.1 -k {self.folder} -F -c max_connections=200{self._tls}"
        self._run("pg_ctl", "-D", f"{at}/data", "-w", "-l", f"{at}/log", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `fast` as an administrator does, `immediate` as a crash does."""
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-m", mode, "-w", "stop")

    def url(self, database: str = "", *, template: str = "template0", user: str = "desk", **query: str) -> str:
        """Return the URL of a database, made now as a copy of `template` unless it is there; without a name, of a new one."""
        self._made += 1
        name = database or f"d{self._made}"
        if not self.ask(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            self.ask(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.address(name, user, **query)

    def address(self, database: str, user: str = "desk", **query: str) -> str:
        """Return a URL without looking whether the database is there."""
        more = f"?{urlencode(query)}" if query else ""
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}{more}"

    def ask(self, statement: str) -> list[Any]:
        """Run one statement as the administrator; return its rows."""
        engine = sa.create_engine(self.address("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            done = connection.exec_driver_sql(statement)
            rows = list(done) if done.returns_rows else []
        engine.dispose()
        return rows

    def emptied(self) -> str:
        """Return the URL of the one database that tests share, as it was made: a desk's tables, and people."""
        from cases.models import METADATA

        names = ", ".join(f'"{name}"' for name in METADATA.tables)
        engine = sa.create_engine(self.url(SHARED, template=self._template()))
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # the ledgers' triggers sleep
            if not connection.exec_driver_sql("SELECT 1 FROM pg_namespace WHERE nspname = 'kept'").scalar():
                connection.exec_driver_sql("CREATE SCHEMA kept")
                for name in METADATA.tables:
                    connection.exec_driver_sql(f'CREATE TABLE kept."{name}" AS TABLE "{name}"')
            else:
                connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
                for name in METADATA.tables:
                    connection.exec_driver_sql(f'INSERT INTO "{name}" SELECT * FROM kept."{name}"')
        engine.dispose()
        return self.address(SHARED)

    def desk(self) -> str:
        """Return the URL of a new database with a desk's tables and people."""
        return self.url(template=self._template())

    def _template(self) -> str:
        from cases.store import Desk
        from tests.cases.made import PEOPLE, T0

        if not self.ask(f"SELECT 1 FROM pg_database WHERE datname = '{TEMPLATE}'"):
            with Desk(self.url(TEMPLATE), clock=lambda: T0) as desk:
                desk.put_people(PEOPLE)
        return TEMPLATE


def _running(certs: Any = None) -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder), certs)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Give a running PostgreSQL. A test that stops it starts it again."""
    yield from _running()


@pytest.fixture(scope="session")
def postgres_tls(certs: Any) -> Iterator[Postgres]:
    """Give a running PostgreSQL with TLS, and the users `certified` and `worded` (password `word`)."""
    for server in _running(certs):
        server.ask("CREATE ROLE certified LOGIN SUPERUSER")
        server.ask("CREATE ROLE worded LOGIN SUPERUSER PASSWORD 'word'")
        yield server
