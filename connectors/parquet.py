"""Parquet folders: Arrow tables enter as one file each, written whole or not at all; DuckDB reads them back.

A file's name is the caller's and fixes its identity: writing it again replaces it with the same content, so a crash between
writing and forgetting costs nothing. Small files of a folder are merged now and then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.core import Lost, Retry

MANY = 24
"""Small files in one folder before they are merged."""
SMALL = 8 << 20
"""Bytes below which a file counts as small."""


class ParquetFolder:
    """Parquet files under `folder`, one sub-folder a day."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, day: str, name: str, table: pa.Table) -> Path:
        """Write `table` as `day`/`name`.parquet, durable on return. Raises Retry if the disk is full."""
        target = self.folder / day / f"{name}.parquet"
        part = target.with_suffix(".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, part, compression="zstd")
            with part.open("rb") as handle:
                os.fsync(handle.fileno())
            part.replace(target)
        except OSError as error:
            raise Retry(f"{target}: cannot be written ({error}); free some space, nothing is lost until then", 10) from error
        return target

    def merge(self, day: str, order: list[str]) -> None:
        """Merge the small files of a day into one, sorted by `order`, when there are many."""
        present = sorted((self.folder / day).glob("*.parquet"))
        current = _current(present)
        for path in set(present) - set(current):
            path.unlink(missing_ok=True)
        small = [p for p in current if p.stat().st_size < SMALL]
        if len(small) < MANY:
            return
        merged = pa.concat_tables([pq.read_table(p) for p in small], promote_options="permissive")
        first, last = _range(small[0])[0], _range(small[-1])[1]
        self.write(day, f"{first:012d}-{last:012d}-merged", merged.sort_by([(column, "ascending") for column in order]))
        for path in small:
            path.unlink(missing_ok=True)

    def query(self, sql: str, parameters: list[Any], extra: Mapping[str, pa.Table] | None = None) -> pa.Table:
        """Run `sql` over `files` (all Parquet rows) and the tables of `extra`. Raises Lost if a file is damaged.

        A file that a merge removed while it was read is no damage: the query is tried again.
        """
        for _attempt in range(3):
            files = [str(p) for day in sorted(self.folder.glob("*")) for p in _current(sorted(day.glob("*.parquet")))]
            source = "read_parquet($files, union_by_name = true)" if files else "(SELECT * FROM pending WHERE false)"
            try:
                return ask(sql.replace("{files}", source.replace("$files", repr(files))), parameters, extra or {})
            except duckdb.IOException:
                continue
            except duckdb.Error as error:
                raise Lost(f"{self.folder}: history cannot be read ({error}); restore the file it names from a backup") from error
        raise Retry(f"{self.folder}: files changed while they were read; ask again", 1)


def ask(sql: str, parameters: list[Any], tables: Mapping[str, pa.Table]) -> pa.Table:
    """Run `sql` over named tables, on one thread: reading history must not take the judge's core."""
    with duckdb.connect() as db:
        db.execute("SET threads = 1")
        for name, table in tables.items():
            db.register(name, table)
        return db.sql(sql, params=parameters).to_arrow_table()


def _range(path: Path) -> tuple[int, int]:
    """Return the first and last number of what a file holds, from its name."""
    first, last = path.stem.split("-")[:2]
    return int(first), int(last)


def _current(files: list[Path]) -> list[Path]:
    """Leave out the files that a merged one has taken in: a crash may have kept them from being removed."""
    merged = [(p, *_range(p)) for p in files if p.stem.endswith("-merged")]

    def taken(path: Path) -> bool:
        first, last = _range(path)
        return any(path != other and begin <= first and last <= end for other, begin, end in merged)

    return [p for p in files if not taken(p)]
