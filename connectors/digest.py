"""HTTP Digest authentication, the server's side (RFC 7616; MD5 as GA/T 1400 devices speak it, SHA-256 too).

Enters: an Authorization header and what the caller should know. Leaves: whether it proves that, or a challenge. A challenge is
signed, not stored: it holds its own time, so that nothing grows and a restart costs a device one more round.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_FIELD = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
LIFE = 300_000
"""How long a challenge may be answered, ms."""
ALGORITHMS: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}


def fields(text: str) -> dict[str, str]:
    """Return the fields of an Authorization header behind its scheme, names in lower case."""
    return {name.lower(): quoted or plain for name, quoted, plain in _FIELD.findall(text)}


def response(given: Mapping[str, str], method: str, password: str) -> str | None:
    """Return the response that proves `password` (RFC 7616 §3.4.1), None for an algorithm that is unknown."""
    md = ALGORITHMS.get(given.get("algorithm", "MD5").upper())
    if md is None:
        return None
    first = md(f"{given.get('username', '')}:{given.get('realm', '')}:{password}".encode())
    second = md(f"{method}:{given.get('uri', '')}".encode())
    more = [given.get("nc", ""), given.get("cnonce", ""), given["qop"]] if given.get("qop") else []
    return md(":".join((first, given.get("nonce", ""), *more, second)).encode())


@dataclass(frozen=True, slots=True)
class Digest:
    """The challenges of one realm, signed with `key`."""

    realm: str
    key: bytes

    def challenge(self, now: int, *, stale: bool = False) -> str:
        """Return the value of WWW-Authenticate at `now` (ms UTC)."""
        old = ", stale=true" if stale else ""
        return f'Digest realm="{self.realm}", nonce="{self._nonce(now)}", qop="auth", algorithm=MD5{old}'

    def user(self, header: str, method: str, password: Callable[[str], str | None], now: int) -> str | None:
        """Return the user whose password the header proves, None if it proves nothing (wrong, too old, or no Digest).

        `password` gives that of a user, None for one that is unknown.
        """
        scheme, _, rest = header.partition(" ")
        given = fields(rest)
        if scheme.lower() != "digest" or given.get("realm") != self.realm or not self._fresh(given, now):
            return None
        user = given.get("username", "")
        known = password(user)
        right = None if known is None else response(given, method, known)
        return user if right is not None and hmac.compare_digest(right, given.get("response", "").lower()) else None

    def _fresh(self, given: dict[str, str], now: int) -> bool:
        nonce = given.get("nonce", "")
        stamp = nonce.partition(".")[0]
        if not re.fullmatch(r"[0-9a-f]{1,16}", stamp) or not hmac.compare_digest(nonce, self._nonce(int(stamp, 16))):
            return False
        return 0 <= now - int(stamp, 16) <= LIFE

    def _nonce(self, at: int) -> str:
        stamp = f"{at:x}"
        return f"{stamp}.{hmac.new(self.key, stamp.encode(), hashlib.sha256).hexdigest()[:32]}"
