"""A throw-away certificate authority with a server's and a client's certificate, and one that nobody trusts."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True, slots=True)
class Certs:
    """Paths of PEM files. The server's certificate is valid for localhost, 127.0.0.1 and ::1; the client's name is `offsite`."""

    folder: Path
    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path
    other_ca: Path
    """An authority that signed nothing here: who trusts only this one must refuse the server."""
    server_pem: Path
    """Key and certificate of the server in one file, as Java wants them."""


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return key


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


class Authority:
    """A certificate authority in a folder; `issue` makes a certificate and its key there."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.path = folder, _name(f"Offsite test {name}"), folder / f"{name}.pem"
        self.key = _key(folder / f"{name}.key")
        signs = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        cert = (
            _builder(self.name, self.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(signs, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.path.write_bytes(cert.public_bytes(Encoding.PEM))

    def issue(self, name: str, usage: x509.ObjectIdentifier, also: Sequence[x509.GeneralName] = ()) -> tuple[Path, Path]:
        """Return the paths of a new certificate and its key."""
        path, key_path = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        key = _key(key_path)
        builder = (
            _builder(_name(name), self.name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if also:
            builder = builder.add_extension(x509.SubjectAlternativeName(also), critical=False)
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return path, key_path


def make(folder: Path) -> Certs:
    """Make everything in a folder."""
    authority = Authority(folder, "ca")
    here = [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(a)) for a in ("127.0.0.1", "::1"))]
    cert, key = authority.issue("localhost", ExtendedKeyUsageOID.SERVER_AUTH, here)
    both = folder / "server-both.pem"
    both.touch(0o600)
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    client = authority.issue("offsite", ExtendedKeyUsageOID.CLIENT_AUTH)
    return Certs(folder, authority.path, cert, key, *client, Authority(folder, "other-ca").path, both)


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certs:
    """Give certificates for the whole session."""
    return make(tmp_path_factory.mktemp("certs"))
