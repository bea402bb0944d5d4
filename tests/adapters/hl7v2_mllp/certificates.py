"""Certificates made on the spot: an authority, and what it signs."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate and its key, as files and as objects."""

    file: Path
    key_file: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def make_certificate(
    folder: Path,
    name: str,
    *,
    by: Certificate | None = None,
    days: float = 365.0,
    dns: tuple[str, ...] = ("localhost",),
) -> Certificate:
    """Signed by `by`; by itself, as an authority, where there is none. `days` may be past."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    until = datetime.now(UTC) + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=800))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if by is not None:
        names = x509.SubjectAlternativeName([x509.DNSName(one) for one in dns])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(by.key if by else key, hashes.SHA256())
    made = Certificate(
        file=folder / f"{name}.pem",
        key_file=folder / f"{name}.key",
        certificate=certificate,
        key=key,
    )
    write_certificate(made, made.file, made.key_file)
    return made


def write_certificate(made: Certificate, file: Path, key_file: Path) -> None:
    """The same under other names, e.g. in the place of one that is renewed."""
    key_file.write_bytes(
        made.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    file.write_bytes(made.certificate.public_bytes(serialization.Encoding.PEM))
