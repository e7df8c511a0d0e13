"""Archive store: Parquet files on a path or an S3-compatible store, each written whole or not at all, and never changed after.

Tables and small marks enter under names that the caller fixes; name listings and filtered rows leave. A file is visible only
once it is complete and durable: on a path it is written beside its name, synced, renamed, and its folder synced; an S3 put is
atomic by itself. Raises Retry (store away, disk full), or Lost (no rights, no bucket, damaged file), naming file and remedy.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from connectors.core import Lost, Retry

ROWS = 20_000
"""Rows a row group: what a chart of one site reads at least."""
S3_OPTIONS = {
    "use_listings_cache": False,
    "skip_instance_cache": True,
    "default_cache_type": "none",
    "config_kwargs": {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 2}},
}
"""What the S3 client is told unless the settings say otherwise: to ask the store each time, and to say soon that it is away."""
SCAN = ds.ParquetFragmentScanOptions(pre_buffer=True, page_checksum_verification=True)
"""Neighbouring parts of a file are fetched at once; a page that does not fit its checksum is damage, never data."""
PART = ".part"
PARQUET = ".parquet"


class Vanished(Exception):
    """A file was removed between its listing and its reading: a merge took it in; list again."""


class _Remote(pafs.FSSpecHandler):  # type: ignore[misc] # pyarrow ships no types
    """An fsspec store as Arrow reads it: opened at once, so that a store that is away is not taken for a missing file."""

    def open_input_file(self, path: str) -> pa.PythonFile:
        """Open a file to read parts of it."""
        return pa.PythonFile(self.fs.open(path, "rb"), mode="r")


class ArchiveStore:
    """Files under `url`, a path or an fsspec URL such as s3://bucket/prefix; `options` are fsspec's for that protocol."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.url = url.rstrip("/")
        self._local = "://" not in url or url.startswith("file://")
        if self._local:
            self._root = url.removeprefix("file://").rstrip("/")
            self._arrow = pafs.LocalFileSystem()
            return
        import fsspec

        known = S3_OPTIONS if url.startswith("s3://") else {}
        with self._translated(url):
            self._remote, self._root = fsspec.core.url_to_fs(self.url, **(known | dict(options or {})))
        self._arrow = pafs.PyFileSystem(_Remote(self._remote))

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted, without unfinished files; nothing if there is no such folder."""
        return [name for name in self._listed(folder) if not name.endswith(PART)]

    def parts(self, folder: str) -> list[str]:
        """Return the names of unfinished files in a folder: writes under way, or cut off by a crash."""
        return [name for name in self._listed(folder) if name.endswith(PART)]

    def _listed(self, folder: str) -> list[str]:
        path = f"{self._root}/{folder}"
        with self._translated(folder):
            try:
                if self._local:
                    return sorted(os.listdir(path))  # noqa: PTH208 - names, as the other store gives them
                return sorted(p.rstrip("/").rpartition("/")[2] for p in self._remote.ls(path, detail=False) if p != path)
            except FileNotFoundError:
                self._reachable()
                return []

    def _reachable(self) -> None:
        """Raise FileNotFoundError if the bucket itself is missing: an empty answer would hide it."""
        if not self._local and not self._remote.exists(self._root.partition("/")[0]):
            raise FileNotFoundError(self._root.partition("/")[0])

    def write(self, name: str, body: bytes) -> None:
        """Make a file durable under its name; the same name always holds the same content."""
        with self._translated(name):
            if self._local:
                _write_durably(Path(self._root, name), body)
            else:
                self._remote.pipe_file(f"{self._root}/{name}", body)

    def write_table(self, name: str, table: pa.Table) -> int:
        """Write a table as one Parquet file; return its bytes."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", row_group_size=ROWS, write_page_checksum=True)
        body = bytes(sink.getvalue())
        self.write(name, body)
        return len(body)

    def read(self, name: str) -> bytes:
        """Return a file whole. Raises Vanished if it is gone."""
        with self._translated(name, vanishes=True):
            return Path(self._root, name).read_bytes() if self._local else bytes(self._remote.cat_file(f"{self._root}/{name}"))

    def size(self, name: str) -> int:
        """Return the bytes of a file. Raises Vanished if it is gone."""
        with self._translated(name, vanishes=True):
            return Path(self._root, name).stat().st_size if self._local else int(self._remote.size(f"{self._root}/{name}"))

    def remove(self, name: str) -> None:
        """Remove a file; it may be gone already."""
        with self._translated(name), suppress(FileNotFoundError):
            if self._local:
                Path(self._root, name).unlink()
            else:
                self._remote.rm_file(f"{self._root}/{name}")

    def table(self, names: Sequence[str], schema: pa.Schema, wanted: ds.Expression | None) -> pa.Table:
        """Return the rows of Parquet files that meet `wanted`, in the columns of `schema`; row groups that cannot, are not read.

        Raises Vanished if one of the files is gone, Lost with its name if one is damaged.
        """
        if not names:
            return schema.empty_table()
        form = ds.ParquetFileFormat(default_fragment_scan_options=SCAN)
        try:
            with self._translated(names[0], vanishes=True):
                paths = [f"{self._root}/{name}" for name in names]
                return ds.dataset(paths, schema=schema, format=form, filesystem=self._arrow).to_table(filter=wanted)
        except Lost:
            for name in names if len(names) > 1 else ():
                self.table([name], schema, wanted)
            raise

    @contextmanager
    def _translated(self, name: str, *, vanishes: bool = False) -> Iterator[None]:
        """Turn what the stores raise into connector errors; a missing file is Vanished where that can happen."""
        where = name if name.startswith(self.url) else f"{self.url}/{name}"
        try:
            yield
        except FileNotFoundError as error:
            if vanishes:
                raise Vanished(name) from error
            raise Lost(
                f"{where}: the archive's place does not exist ({error}); make the bucket or folder, or correct `archive`"
            ) from error
        except PermissionError as error:
            raise Lost(
                f"{where}: no right to use the archive ({error}); check the key, its secret and the bucket's policy"
            ) from error
        except pa.ArrowInvalid as error:
            raise _damaged(where, error) from error
        except _away() as error:
            if type(error) is OSError and error.errno is None:  # Arrow's own word for a page that does not fit its checksum
                raise _damaged(where, error) from error
            raise Retry(f"{where}: the archive is not reachable ({error}); nothing is lost, it is tried again", 5) from error


def _damaged(where: str, error: Exception) -> Lost:
    return Lost(f"{where}: the archive cannot be read ({' '.join(str(error).split())}); restore the file from a copy")


def _write_durably(path: Path, body: bytes) -> None:
    """Write beside the name, sync, rename, sync the folder."""
    made = [p for p in path.parents if not p.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PART}")
    with part.open("xb") as out:
        out.write(body)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)
    for folder in (path.parent, *(p.parent for p in made)):
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@lru_cache
def _away() -> tuple[type[Exception], ...]:
    """Return what the stores raise while they are away; the S3 client has a tree of its own."""
    found: list[type[Exception]] = [OSError]
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return tuple(found)
    return (*found, BotoCoreError, ClientError)
