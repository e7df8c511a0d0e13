"""HTTP Digest, the server's side: the vectors of RFC 7616, and challenges that can't be made up or used for ever."""

from __future__ import annotations

import pytest

from connectors.digest import LIFE, Digest, fields, response

RFC = (
    'username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm={0}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
    'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth'
)


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_vectors_of_rfc_7616(algorithm: str, expected: str) -> None:
    assert response(fields(RFC.format(algorithm)), "GET", "Circle of Life") == expected


def test_a_challenge_is_ours_fresh_and_for_this_realm() -> None:
    digest, now = Digest("viid", b"k" * 32), 1_000_000

    def proof(nonce: str, realm: str = "viid", password: str = "secret") -> str:
        text = f'username="u", realm="{realm}", nonce="{nonce}", uri="/VIID/System/Register", nc=00000001, cnonce="c", qop=auth'
        return f'Digest {text}, response="{response(fields(text), "POST", password)}"'

    def user(header: str, at: int = now) -> str | None:
        return digest.user(header, "POST", {"u": "secret"}.get, at)

    nonce = fields(digest.challenge(now).partition(" ")[2])["nonce"]
    stranger = fields(Digest("viid", b"x" * 32).challenge(now).partition(" ")[2])["nonce"]
    assert user(proof(nonce)) == "u"
    assert user(proof(nonce), now + LIFE) == "u"
    assert user(proof(nonce), now + LIFE + 1) is None
    assert user(proof(nonce), now - 1) is None
    assert user(proof(stranger)) is None
    assert user(proof(nonce, realm="other")) is None
    assert user(proof(nonce, password="wrong")) is None
    assert user(proof(nonce).replace("Digest", "Basic")) is None
    assert user("Digest nonsense") is None
