from __future__ import annotations

import sqlite3

import pytest

from cases.errors import BY_NAME, BY_STATE, BY_WORDS, Conflict, reaction
from connectors.core import Lost, Retry


class Failure(Exception):
    """An error as psycopg raises it: words, and a SQLSTATE if the server said one."""

    def __init__(self, words: str, sqlstate: str | None = None) -> None:
        super().__init__(words)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("40001", Conflict), ("40P01", Conflict), ("23505", Conflict), ("23503", Lost), ("23502", Lost), ("P0001", Lost),
        ("08006", Retry), ("57P01", Retry), ("57P02", Retry), ("57P03", Retry), ("57014", Retry), ("53300", Retry), ("53100", Retry),
        ("55P03", Retry), ("25006", Retry), ("25P03", Retry), ("28P01", Lost), ("28000", Lost), ("3D000", Lost), ("42501", Lost),
        ("42P01", Lost), ("0A000", Lost), ("XX000", Lost),
    ],
)  # fmt: skip
def test_a_state_is_named_by_the_reaction_it_demands(sqlstate: str, kind: type[Exception]) -> None:
    assert reaction(Failure("of no matter", sqlstate)).kind is kind


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ('connection to server at "db", port 5432 failed: Connection refused', Retry),
        ("server closed the connection unexpectedly", Retry),
        ("FATAL:  the database system is starting up", Retry),
        ("FATAL:  the database system is shutting down", Retry),
        ("connection timeout expired", Retry),
        ("[Errno -2] Name or service not known", Retry),
        ('FATAL:  password authentication failed for user "desk"', Lost),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', Lost),
        ('FATAL:  database "desk" does not exist', Lost),
        ("SSL error: certificate verify failed", Lost),
        ('root certificate file "/x" does not exist', Lost),
        ('server certificate for "a" does not match host name "b"', Lost),
        ("server does not support SSL, but SSL was required", Lost),
    ],
)
def test_a_connection_that_fails_is_away_unless_its_words_say_more(words: str, kind: type[Exception]) -> None:
    assert reaction(Failure(words)).kind is kind


def test_sqlite_names_its_own() -> None:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorname = "SQLITE_CANTOPEN"
    assert reaction(error).kind is Lost
    error.sqlite_errorname = "SQLITE_BUSY_SNAPSHOT"
    assert reaction(error).kind is Retry


def test_every_reaction_has_a_remedy() -> None:
    for found in [*BY_STATE.values(), *BY_NAME.values(), *(one for _, one in BY_WORDS)]:
        assert found.happened
        assert found.remedy
