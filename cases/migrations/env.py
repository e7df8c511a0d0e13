"""Alembic's entry: run the migrations in the transaction of the connection that was handed in, or print them as SQL."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from cases.models import METADATA


def run() -> None:
    """Run or print the migrations that Alembic was asked for."""
    if context.is_offline_mode():
        context.configure(url="postgresql://", target_metadata=METADATA, literal_binds=True)
        context.run_migrations()
        return
    connection = context.config.attributes["connection"]
    assert isinstance(connection, Connection)
    if connection.dialect.name == "postgresql":  # two desks that start together upgrade one after the other
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(212)")
    context.configure(connection=connection, target_metadata=METADATA)
    context.run_migrations()


if __name__ == "env_py":  # the name that Alembic runs this file under; importing it does nothing
    run()
