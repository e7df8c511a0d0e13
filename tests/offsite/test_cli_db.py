from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from offsite.cli import db
from tests.real.postgres import Postgres


class Db:
    """`offsite db` on one database."""

    def __init__(self, url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.url, self._config, self._capsys = url, folder / "offsite.toml", capsys
        self._config.write_text(f'desk_url = "{url}"\n')

    def __call__(self, doing: str, *more: str) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        db.add(parser)
        code = db.run(parser.parse_args([doing, "--config", str(self._config), *more]))
        told = self._capsys.readouterr()
        return code, told.out + told.err


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def offsite_db(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Db:
    if request.param == "sqlite":
        return Db(f"sqlite:///{tmp_path}/desk.sqlite", tmp_path, capsys)
    server: Postgres = request.getfixturevalue("postgres")
    return Db(server.url(), tmp_path, capsys)


def test_from_nothing_to_the_newest_tables(offsite_db: Db) -> None:
    code, told = offsite_db("check")
    assert (code, told) == (1, "offsite db check: the desk's tables are missing: run `offsite db upgrade`\n")
    assert offsite_db("version")[1].startswith("tables none, program ")
    for _ in range(2):
        code, told = offsite_db("upgrade", "--json")
        assert (code, json.loads(told)["state"]) == (0, "current")
    assert offsite_db("check")[0] == 0


def test_newer_tables_are_refused_with_the_remedy(offsite_db: Db) -> None:
    offsite_db("upgrade")
    engine = sa.create_engine(offsite_db.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    for doing in ("upgrade", "check"):
        code, told = offsite_db(doing)
        assert code == 1
        assert "newer than this program's" in told
        assert "upgrade the program, or restore a backup" in told
    assert json.loads(offsite_db("version", "--json")[1])["state"] == "newer"


def test_a_database_that_cannot_be_had_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = Db("sqlite:////nowhere/desk.sqlite", tmp_path, capsys)("version")
    assert (code, told.count("\n")) == (1, 1)
    assert "cannot be used" in told
