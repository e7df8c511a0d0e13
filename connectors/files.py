"""Recorded input as bodies: `.h212`, CSV, NDJSON, JSON, Parquet, Arrow, plain or packed with xz, gzip or zstd.

Enters: a path. Leaves: blocks of whole lines, or (content type, body) pairs a codec decodes. Memory stays bounded whatever the file
says: unpacked size, inflation ratio and line length have limits, and a file beyond them is Refused with its name and the remedy.
"""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from connectors.core import ARROW, CSV, HJ212, JSON, NDJSON, Refused

BLOCK = 4 << 20
CHUNK = 1 << 20
ROWS = 1 << 18
"""Rows of a table that are handed on together."""


@dataclass(frozen=True, slots=True)
class FileLimits:
    """What a file may unpack to: total bytes; times its packed size once `free` bytes are out; one line; decoder memory."""

    total: int = 1 << 40
    ratio: int = 1_000
    free: int = 64 << 20
    line: int = 8 << 20
    memory: int = 256 << 20


CONTENT_TYPES = {
    **dict.fromkeys((".h212", ".hj212", ".t212"), HJ212),
    **dict.fromkeys((".ndjson", ".jsonl"), NDJSON),
    ".json": JSON,
    ".csv": CSV,
    **dict.fromkeys((".arrow", ".arrows", ".feather", ".ipc", ".parquet", ".pq"), ARROW),
}
"""Suffix → content type of the bodies that `bodies` gives."""


class _Inflate(Protocol):
    """An incremental decompressor whose output a call is bounded."""

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, b"" at the end."""


class _Counted(io.RawIOBase):
    """The packed file, counting what has been read of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Xz:
    """xz streams one after the other; the decoder's memory is bounded, which `lzma.open` cannot do."""

    def __init__(self, source: _Counted, memory: int) -> None:
        self._source, self._memory = source, memory
        self._decoder = lzma.LZMADecompressor(memlimit=memory)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while True:
            if self._decoder.eof:
                self._rest = self._decoder.unused_data.lstrip(b"\0") or self._source.read(CHUNK).lstrip(b"\0")
                if not self._rest:
                    return b""
                self._decoder = lzma.LZMADecompressor(memlimit=self._memory)
            if self._decoder.needs_input and not self._rest:
                self._rest = self._source.read(CHUNK)
                if not self._rest:
                    raise EOFError("ends before the end of the xz stream")
            data, self._rest = self._decoder.decompress(self._rest, size), b""
            if data:
                return data


def _plain(source: _Counted, _limits: FileLimits) -> _Inflate:
    return source


def _xz(source: _Counted, limits: FileLimits) -> _Inflate:
    return _Xz(source, limits.memory)


def _gz(source: _Counted, _limits: FileLimits) -> _Inflate:
    return gzip.GzipFile(fileobj=source, mode="rb")


def _zst(source: _Counted, _limits: FileLimits) -> _Inflate:
    """Open with Arrow's reader: it tells a frame that is cut off, which the zstandard package passes over in silence.

    libzstd itself refuses windows over 128 MB.
    """
    import pyarrow as pa

    reader: _Inflate = pa.CompressedInputStream(pa.PythonFile(source, "r"), "zstd")
    return reader


_PACKINGS: dict[str, Callable[[_Counted, FileLimits], _Inflate]] = {".xz": _xz, ".gz": _gz, ".zst": _zst}
_DAMAGE = (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError)


def chunks(path: Path, limits: FileLimits | None = None) -> Iterator[bytes]:
    """Yield the file's bytes unpacked, at most 1 MB a piece; raises Refused naming the file and the remedy."""
    bounds = limits or FileLimits()
    given = 0
    try:
        with path.open("rb") as file:
            source = _Counted(file)
            unpacked = _PACKINGS.get(path.suffix.lower(), _plain)(source, bounds)
            while data := unpacked.read(CHUNK):
                given += len(data)
                if given > bounds.total or (given > bounds.free and given > bounds.ratio * source.count):
                    raise Refused(
                        f"{path}: unpacks to more than {given >> 20} MB from {source.count} bytes, which looks like a zip bomb; "
                        "if it is yours, unpack it yourself and give the plain file"
                    )
                yield data
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise Refused(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
        raise Refused(f"{path}: damaged or cut off after {given} unpacked bytes ({error}); fetch the file again") from error


def line_blocks(path: Path, limits: FileLimits | None = None, *, size: int = BLOCK) -> Iterator[bytes]:
    """Yield blocks of whole lines, about `size` bytes each, terminators kept; the last line may lack its own."""
    bounds = limits or FileLimits()
    parts: list[bytes] = []
    held = tail = 0
    for data in chunks(path, bounds):
        cut = data.rfind(b"\n") + 1
        tail = len(data) - cut if cut else tail + len(data)
        if tail > bounds.line:
            raise Refused(f"{path}: has a line longer than {bounds.line >> 20} MB; it is not a file of lines, check its format")
        parts.append(data)
        held += len(data)
        if cut and held >= size:
            joined = b"".join(parts)
            cut = joined.rfind(b"\n") + 1
            yield joined[:cut]
            parts, held = [joined[cut:]], len(joined) - cut
    if held:
        yield b"".join(parts)


def lines(path: Path, limits: FileLimits | None = None) -> Iterator[bytes]:
    """Yield the lines of a file without LF or CRLF; blank lines too."""
    for block in line_blocks(path, limits):
        pieces = block.split(b"\n")
        if not pieces[-1]:
            pieces.pop()
        yield from (piece.removesuffix(b"\r") for piece in pieces)


def content_type(path: Path) -> str:
    """Return the content type of a recorded file by its suffix, packing aside; raises Refused for one that nobody knows."""
    bare = path.with_suffix("") if path.suffix.lower() in _PACKINGS else path
    found = CONTENT_TYPES.get(bare.suffix.lower())
    if found is None:
        known = " ".join(CONTENT_TYPES)
        raise Refused(
            f"{path}: unknown kind of file {bare.suffix or bare.name!r}; known are {known}, each also with .xz .gz .zst"
        )
    return found


def bodies(path: Path, limits: FileLimits | None = None, *, size: int = BLOCK) -> Iterator[tuple[str, bytes]]:
    """Yield (content type, body) pairs that can be decoded one by one, in the order of the file.

    Lines come in blocks, each CSV block under the header of the file; Parquet and Arrow files as Arrow IPC streams of at most
    65,536 rows; a JSON document whole.
    """
    kind = content_type(path)
    if kind == ARROW:
        yield from ((ARROW, body) for body in _tables(path, limits or FileLimits()))
    elif kind == JSON:
        yield JSON, _whole(path, limits or FileLimits())
    elif kind == CSV:
        header = b""
        for block in line_blocks(path, limits, size=size):
            body = header + block
            header = header or block[: block.find(b"\n") + 1]
            yield CSV, body
    else:
        yield from ((kind, block) for block in line_blocks(path, limits, size=size))


def _whole(path: Path, limits: FileLimits) -> bytes:
    parts: list[bytes] = []
    held = 0
    for data in chunks(path, limits):
        held += len(data)
        if held > limits.memory:
            raise Refused(f"{path}: a JSON document over {limits.memory >> 20} MB; write one reading a line and name it .ndjson")
        parts.append(data)
    return b"".join(parts)


def _tables(path: Path, limits: FileLimits) -> Iterator[bytes]:
    import pyarrow as pa

    try:
        for group in _grouped(_batches(path, limits)):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, group[0].schema) as stream:
                for batch in group:
                    stream.write_batch(batch)
            yield bytes(sink.getvalue())
    except (pa.ArrowException, OSError) as error:
        raise Refused(f"{path}: damaged or not what its name says ({error}); fetch the file again") from error


def _grouped(batches: Iterator[Any]) -> Iterator[list[Any]]:
    """Put small record batches together: what they cost a codec is mostly by the batch, not by the row."""
    group: list[Any] = []
    for batch in batches:
        if group and sum(map(len, group)) + len(batch) > ROWS:
            yield group
            group = []
        group.append(batch)
    if group:
        yield group


def _batches(path: Path, limits: FileLimits) -> Iterator[Any]:
    """Yield record batches of a Parquet file, an Arrow file or an Arrow stream."""
    import pyarrow as pa
    from pyarrow import parquet

    packed = path.suffix.lower() in _PACKINGS
    source: Any = pa.BufferReader(_whole(path, limits)) if packed else pa.memory_map(str(path))
    name = path.with_suffix("").suffix if packed else path.suffix
    with source:
        if name.lower() in (".parquet", ".pq"):
            yield from parquet.ParquetFile(source).iter_batches(batch_size=ROWS)
            return
        magic = source.read(6)
        source.seek(0)
        if magic == b"ARROW1":
            file = pa.ipc.open_file(source)
            read: Iterator[Any] = (file.get_batch(i) for i in range(file.num_record_batches))
        else:
            read = iter(pa.ipc.open_stream(source))
        for batch in read:
            yield from (batch.slice(start, ROWS) for start in range(0, len(batch), ROWS))
