"""Database errors in, connector errors out: SQLSTATE (ISO/IEC 9075, PostgreSQL appendix A) or SQLite's name decides, in one table.

A server that is away, starting, stopping, overloaded or handing over to a standby is Retry: it comes back. Lost is what only a
person can mend: a wrong address, password or certificate, tables of another version, a row that breaks a rule of the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from connectors.core import ConnectorError, Lost, Retry


class Conflict(Retry):
    """Another writer was in the way and won; the same transaction, started anew, will pass."""


class Reaction(NamedTuple):
    """An error's kind, what has happened, and the remedy."""

    kind: type[ConnectorError]
    happened: str
    remedy: str
    after: float = 1.0


_AWAY = Reaction(
    Retry, "is not reachable or is restarting", "start it, or wait until it is back; nothing that was confirmed is lost"
)
_FASTER = Reaction(Conflict, "let another writer go first", "read again and repeat", 0.05)
_ROW = Reaction(Lost, "refused a row", "nothing was changed, report this as a fault")
_BUSY = Reaction(Retry, "is busy or its disk is full", "free it and repeat")
_STATEMENT = Reaction(
    Lost,
    "refused a statement",
    "if its tables are of another version, see `offsite db check`, restore a backup with `offsite restore` or start with a new data directory",
)
_LOGIN = Reaction(
    Lost, "does not let the desk in", "check user, password and database name in desk_url, and the server's pg_hba.conf"
)
_TLS = Reaction(
    Lost, "could not be verified", "check sslmode, sslrootcert, sslcert and sslkey in desk_url against the server's certificate"
)
_UNUSABLE = Reaction(Lost, "cannot be used", "check the file or server, and its address in the settings")

BY_STATE: dict[str, Reaction] = {
    "40": _FASTER,  # serialisation failure, deadlock
    "23505": Reaction(Conflict, "says that another writer was faster", "read again and repeat", 0.05),
    "23": _ROW,
    "P0001": _ROW,  # raised by a trigger: the ledgers are append-only
    "08": _AWAY,
    "57P": _AWAY,  # shut down by an administrator, crashed, not yet ready
    "57014": Reaction(Retry, "took too long over a statement", "repeat; if it happens often, look for what loads the server"),
    "53": _BUSY,  # out of disk, memory or connections
    "55P03": Reaction(Retry, "kept a lock for too long", "repeat; if it happens often, look for a transaction that hangs"),
    "25006": Reaction(
        Retry, "is a standby now", "let desk_url name the new primary, or all servers with target_session_attrs=read-write"
    ),
    "25P03": _AWAY,
    "28": _LOGIN,
    "3D000": _LOGIN,
    "42501": _LOGIN,
}
"""SQLSTATE, its class, or the beginning of one → what it means; the longest that fits."""

BY_NAME: dict[str, Reaction] = {
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
    "SQLITE_FULL": _BUSY,
    "SQLITE_CONSTRAINT_UNIQUE": BY_STATE["23505"],
    "SQLITE_CONSTRAINT_PRIMARYKEY": BY_STATE["23505"],
    "SQLITE_CONSTRAINT": _ROW,
    "SQLITE_ERROR": _STATEMENT,
}
"""SQLite's name of an error, or its beginning → what it means; the longest that fits."""

BY_WORDS: tuple[tuple[str, Reaction], ...] = (
    ("certificate", _TLS),
    ("server does not support ssl", _TLS),
    ("ssl error", _TLS),
    ("does not match host name", _TLS),
    ("authentication failed", _LOGIN),
    ("no password supplied", _LOGIN),
    ("pg_hba.conf", _LOGIN),
    ("does not exist", _LOGIN),
    ("invalid connection option", _UNUSABLE),
    ("invalid sslmode", _UNUSABLE),
)
"""Words of libpq when a connection fails, which carries no SQLSTATE → what they mean; without any of them the server is away."""


@contextmanager
def translated() -> Iterator[None]:
    """Name database errors by the reaction they demand."""
    try:
        yield
    except DBAPIError as error:
        raise _told(reaction(error.orig), error.orig) from error
    except PoolTimeout as error:
        raise Retry("all connections of the desk to its database are in use; repeat, or start another desk") from error
    except SQLAlchemyError as error:
        raise _told(_UNUSABLE, error) from error


def _told(found: Reaction, error: object) -> ConnectorError:
    text = f"the desk's database {found.happened}: {str(error).strip()}; {found.remedy}"
    return found.kind(text, found.after) if issubclass(found.kind, Retry) else found.kind(text)


def reaction(error: Any) -> Reaction:
    """Return what a driver's error (sqlite3 or psycopg) demands."""
    if (name := getattr(error, "sqlite_errorname", None)) is not None:
        return _longest(BY_NAME, name) or _UNUSABLE
    if (state := getattr(error, "sqlstate", None)) is not None:
        return _longest(BY_STATE, state) or _STATEMENT
    if type(error).__name__ == "ProgrammingError":  # the driver's own word for a statement or an address it cannot take
        return _UNUSABLE
    said = str(error).lower()
    return next((found for words, found in BY_WORDS if words in said), _AWAY)


def _longest(table: dict[str, Reaction], code: str) -> Reaction | None:
    fitting = [prefix for prefix in table if code.startswith(prefix)]
    return table[max(fitting, key=len)] if fitting else None
