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

from cases.migrate import config, upgrade, version
from cases.models import APPEND_ONLY, METADATA
from cases.store import Desk
from connectors.core import Refused
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


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/x.sqlite" if request.param == "sqlite" else str(request.getfixturevalue("postgres").url())


def test_messages_that_wait_are_carried_over(url: str) -> None:
    upgrade(url, "0001")
    assert version(url).state == "older"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO outbox VALUES (7, 0, 'S1', 'verdict', '{}')")
        connection.exec_driver_sql("INSERT INTO heads VALUES ('outbox', 7, NULL)")
    engine.dispose()
    with pytest.raises(Refused, match=r"older.*offsite db upgrade"):
        version(url).check()
    with Desk(url, clock=lambda: T0) as desk:
        assert [(one["seq"], one["kind"]) for one in desk.outgoing("context")] == [(7, "verdict")]
        assert desk.outgoing("case-events") == []
    version(url).check()


def test_tables_of_a_newer_program_are_refused_and_left_alone(url: str) -> None:
    upgrade(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    for open_it in (lambda: upgrade(url), lambda: Desk(url, clock=lambda: T0), version(url).check):
        with pytest.raises(Refused, match=r"9999, newer than this program's .*: upgrade the program"):
            open_it()
    assert version(url).tables == "9999"
