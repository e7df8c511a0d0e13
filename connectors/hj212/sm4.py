"""SM4-ECB over the data area, as HJ 212-2025 Annex A.2 does it: whole 16-byte blocks only, a shorter tail stays in clear.

Bytes enter, bytes of the same length leave. There is no padding, so an encrypted frame is exactly as long as its plain form.

>>> cipher = encrypt(b"DataTime=20240520210600", b"0" * 16)
>>> cipher[16:], decrypt(cipher, b"0" * 16)
(b'0210600', b'DataTime=20240520210600')
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 16


def _cipher(key: bytes) -> Cipher[modes.ECB]:
    if len(key) != BLOCK:
        raise ValueError(f"an SM4 key has 16 bytes, not {len(key)}: give the key that was set with CN=1014")
    return Cipher(algorithms.SM4(key), modes.ECB())  # noqa: S305 - the standard prescribes ECB


def encrypt(area: bytes, key: bytes) -> bytes:
    """Encrypt a data area. Raises ValueError if the key has not 16 bytes."""
    whole = len(area) - len(area) % BLOCK
    encryptor = _cipher(key).encryptor()
    return encryptor.update(area[:whole]) + encryptor.finalize() + area[whole:]


def decrypt(area: bytes, key: bytes) -> bytes:
    """Decrypt a data area. Raises ValueError if the key has not 16 bytes; a wrong key gives noise, which the CRC shows."""
    whole = len(area) - len(area) % BLOCK
    decryptor = _cipher(key).decryptor()
    return decryptor.update(area[:whole]) + decryptor.finalize() + area[whole:]
