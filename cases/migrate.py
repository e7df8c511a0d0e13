"""Bring a database's tables up to date: a connection in, the newest schema out. Safe to call at every start."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from cases.db import engine

_FOLDER = Path(__file__).parent / "migrations"


def config(connection: sa.Connection | None = None) -> Config:
    """Return Alembic's configuration for the migrations of this package, run on `connection`."""
    made = Config(attributes={"connection": connection})
    made.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    return made


def upgrade(target: str | sa.Connection, revision: str = "head") -> None:
    """Upgrade the database behind a URL (in one transaction) or an open connection (in the transaction it is in)."""
    if isinstance(target, sa.Connection):
        command.upgrade(config(target), revision)
        return
    made = engine(target)
    try:
        with made.begin() as connection:
            command.upgrade(config(connection), revision)
    finally:
        made.dispose()
