"""The version of a database's tables: an address in, the newest schema out, and a word on which is which. Safe to repeat.

Two programs that start together upgrade one after the other. Tables newer than the program are refused, never touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from cases.database import engine
from cases.errors import translated
from connectors.core import Refused

_FOLDER = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Version:
    """The version of the tables (empty: there are none) and the newest that this program knows."""

    tables: str
    program: str

    @property
    def state(self) -> str:
        """Return `empty`, `current`, `older` (an upgrade brings them up to date) or `newer` (than this program)."""
        if not self.tables:
            return "empty"
        if self.tables == self.program:
            return "current"
        return "older" if self.tables in known() else "newer"

    def check(self) -> None:
        """Raise Refused, with the remedy, unless the tables are of this program's version."""
        if self.state == "newer":
            raise Refused(
                f"the desk's tables are of version {self.tables}, newer than this program's {self.program}: "
                "upgrade the program, or restore a backup made before the upgrade"
            )
        if self.state != "current":
            had = "missing" if self.state == "empty" else f"of version {self.tables}, older than this program's {self.program}"
            raise Refused(f"the desk's tables are {had}: run `offsite db upgrade`")


def config(connection: sa.Connection | None = None) -> Config:
    """Return Alembic's configuration for the migrations of this package, run on `connection`."""
    made = Config(attributes={"connection": connection})
    made.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    return made


def known() -> list[str]:
    """Return the versions that this program knows, newest first."""
    return [script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()]


def version(target: str | sa.Connection) -> Version:
    """Return the version of the tables behind a URL or an open connection."""
    with _connected(target) as connection:
        return Version(MigrationContext.configure(connection).get_current_revision() or "", known()[0])


def upgrade(target: str | sa.Connection, revision: str = "head") -> None:
    """Upgrade the database behind a URL (in one transaction) or an open connection (in the transaction it is in).

    Raises Refused if its tables are newer than this program.
    """
    with _connected(target) as connection:
        found = version(connection)
        if found.state == "newer":
            found.check()
        command.upgrade(config(connection), revision)


@contextmanager
def _connected(target: str | sa.Connection) -> Iterator[sa.Connection]:
    if isinstance(target, sa.Connection):
        yield target
        return
    with translated():
        made = engine(target)
        try:
            with made.begin() as connection:
                yield connection
        finally:
            made.dispose()
