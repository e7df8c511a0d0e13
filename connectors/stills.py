"""Still pictures, kept once each under the hash of their bytes, in a folder or on a store that fsspec reaches.

Enters: the bytes of a picture. Leaves: its SHA-256 (hex), once it is durable under `aa/aa….jpg`; the same picture twice is one
file. What is no picture or too large is Refused; it says why. Raises Retry or Lost as the store does (`connectors/archive.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from connectors.archive import ArchiveStore
from connectors.core import Refused

LARGEST = 4 << 20
"""Bytes of one still."""
KINDS: Mapping[bytes, str] = {b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n\x1a\n": ".png", b"BM": ".bmp", b"GIF8": ".gif"}
"""First bytes → suffix."""


class Stills:
    """A store of stills at `url`: a path, or an fsspec URL (`s3://bucket/prefix`) with its `options`; opened at the first still."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None, *, largest: int = LARGEST) -> None:
        self._url, self._options, self._largest = url, options, largest
        self._store: ArchiveStore | None = None

    def put(self, data: bytes) -> str:
        """Keep a still; return its hash once it is durable."""
        suffix = next((kind for head, kind in KINDS.items() if data.startswith(head)), None)
        if suffix is None:
            raise Refused("the still is no JPEG, PNG, BMP or GIF; send one of these")
        if len(data) > self._largest:
            raise Refused(f"the still has {len(data)} bytes; send at most {self._largest}")
        digest = hashlib.sha256(data).hexdigest()
        if self._store is None:
            self._store = ArchiveStore(self._url, self._options)
        self._store.write(f"{digest[:2]}/{digest}{suffix}", data)
        return digest
