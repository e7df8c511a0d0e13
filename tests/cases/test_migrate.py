from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql

from cases.migrate import config, upgrade
from cases.models import APPEND_ONLY, METADATA
from cases.store import Desk
from tests.cases.made import T0


def test_the_migrations_from_nothing_make_the_models(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/desk.sqlite"
    upgrade(url)
    upgrade(url)  # again, and nothing happens
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        triggers = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").scalar()
    engine.dispose()
    assert triggers == 2 * len(APPEND_ONLY)


def test_a_desk_brings_its_tables_up_to_date_by_itself(tmp_path: Path) -> None:
    for _ in range(2):
        with Desk(f"sqlite:///{tmp_path}/desk.sqlite", clock=lambda: T0) as desk:
            assert desk.counts()["unhandled"] == 0


def test_there_is_one_head_and_no_way_back_over_the_audit(tmp_path: Path) -> None:
    assert len(ScriptDirectory.from_config(config()).get_heads()) == 1
    url = f"sqlite:///{tmp_path}/desk.sqlite"
    upgrade(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection, pytest.raises(NotImplementedError, match="backup"):
        command.downgrade(config(connection), "base")
    engine.dispose()


def test_postgresql_gets_the_same_tables_and_its_own_triggers() -> None:
    made = config()
    made.output_buffer = text = io.StringIO()
    with redirect_stdout(text):
        command.upgrade(made, "head", sql=True)
    for name in METADATA.tables:
        assert f"CREATE TABLE {name} " in text.getvalue()
    for name in APPEND_ONLY:
        assert f"BEFORE UPDATE OR DELETE OR TRUNCATE ON {name}" in text.getvalue()
    for table in METADATA.tables.values():
        assert str(sa.schema.CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
