"""Where a connection sends to: options, TLS with a certificate of our own, no clear text by chance."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chartgate.adapters.egress import address_rules
from chartgate.adapters.hl7v2_mllp.adapter import open_adapter
from chartgate.adapters.hl7v2_mllp.destination import Destination, destination_of
from chartgate.adapters.loader import check_connection, manifests
from chartgate.clock import utc_now
from chartgate.config import Config, ConnectionConfig
from chartgate.errors import ConfigError, OutcomeUnknown, SourceUnreachable
from chartgate.model.ports import Transmitter
from chartgate.testing.messages import adt
from tests.flows.destinations import Receiver, receiving

EGRESS = address_rules(Config(folder=Path()))


def connection(**options: Any) -> ConnectionConfig:
    return ConnectionConfig(name="lab", adapter="hl7v2_mllp", site="north", options=options)


def checked(config: ConnectionConfig, folder: Path) -> Destination | None:
    """As the loader does."""
    check_connection(config, manifests())
    return destination_of(config, folder=folder)


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key, self.name = ec.generate_private_key(ec.SECP256R1()), name
        self.certificate = self._signed(name, self.key, is_authority=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Files of a certificate for this machine, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(name, key, is_authority=False)
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files

    def _signed(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, is_authority: bool
    ) -> x509.Certificate:
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        now = datetime.now(tz=UTC)
        places: list[x509.GeneralName] = [x509.IPAddress(ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(named)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(places), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


def server_context(authority: Authority) -> ssl.SSLContext:
    """A receiver that asks for a certificate, as IHE ATNA does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("receiver"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def sent(folder: Path, **options: Any) -> bytes:
    config = connection(send_host="127.0.0.1", ack_timeout_s=2.0, **options)
    check_connection(config, manifests())
    async with open_adapter(
        config, folder=folder, clock=utc_now, verdicts={}, egress=EGRESS
    ) as adapter:
        return await adapter.send(adt("A08", "x1"), control_id="x1", lane="")


async def test_tls_with_a_certificate_of_our_own_is_taken(ours: Authority, tmp_path: Path) -> None:
    ours.issue("we")
    receiver = Receiver()
    async with receiving(receiver, ssl=server_context(ours)):
        ack = await sent(
            tmp_path,
            send_port=receiver.port,
            send_tls=True,
            send_ca_file="ours.pem",
            send_cert_file="we.crt",
            send_key_file="we.key",
        )
    assert b"MSA|AA|x1" in ack
    assert receiver.messages == [adt("A08", "x1")]


@pytest.mark.parametrize("options", [{}, {"send_ca_file": "theirs.pem"}])
async def test_certificate_that_nobody_we_trust_has_signed_gets_no_message(
    ours: Authority, tmp_path: Path, options: dict[str, str]
) -> None:
    Authority(tmp_path, "theirs")
    receiver = Receiver()
    async with receiving(receiver, ssl=server_context(ours)):
        with pytest.raises(SourceUnreachable, match=r"the certificate of .* does not hold"):
            await sent(tmp_path, send_port=receiver.port, send_tls=True, **options)
    assert receiver.messages == []


async def test_certificate_of_another_name_gets_no_message(ours: Authority, tmp_path: Path) -> None:
    receiver = Receiver()
    options = {"send_ca_file": "ours.pem", "send_server_name": "lab.example.org"}
    async with receiving(receiver, ssl=server_context(ours)):
        with pytest.raises(SourceUnreachable, match="does not hold"):
            await sent(tmp_path, send_port=receiver.port, send_tls=True, **options)
    assert receiver.messages == []


async def test_destination_that_wants_a_certificate_gets_no_message_without(
    ours: Authority, tmp_path: Path
) -> None:
    receiver = Receiver()
    async with receiving(receiver, ssl=server_context(ours)):
        with pytest.raises((SourceUnreachable, OutcomeUnknown)):
            await sent(tmp_path, send_port=receiver.port, send_tls=True, send_ca_file="ours.pem")
    assert receiver.messages == []


async def test_tls_is_never_left_out_against_a_peer_in_clear_text(tmp_path: Path) -> None:
    receiver = Receiver()
    async with receiving(receiver):
        with pytest.raises(SourceUnreachable):
            await sent(tmp_path, send_port=receiver.port, send_tls=True, connect_timeout_s=1.0)
    assert adt("A08", "x1") not in receiver.messages


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"send_port": 1}, "has send_port but needs the key send_host"),
        ({"send_host": "lab"}, "has send_host but needs the key send_port"),
        ({"send_host": "lab", "send_port": 1, "send_tls": False}, "without TLS"),
        ({"send_host": "::1", "send_port": 1, "send_cert_file": "x"}, "or neither"),
        ({"send_host": "::1", "send_port": 1, "ack_timeout_s": 0}, "above 0"),
        ({"send_host": "lab", "send_port": 1, "send_ca_file": "none"}, "cannot be used"),
        ({"send_host": "lab", "send_port": 1, "send_ca_file": "text"}, "in PEM"),
        ({"send_host": "lab", "send_prot": 1}, "did you mean send_port"),
        ({"send_host": "lab", "send_port": 70_000}, "send_port must be from 1 to 65535"),
    ],
)
def test_option_when_wrong_is_a_sentence(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "text").write_text("not PEM")
    with pytest.raises(ConfigError, match=sentence):
        checked(connection(**options), tmp_path)


def test_key_with_a_password_is_a_sentence_and_no_question(ours: Authority, tmp_path: Path) -> None:
    ours.issue("we")
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "we.key").write_bytes(key)
    files = {"send_cert_file": "we.crt", "send_key_file": "we.key"}
    with pytest.raises(ConfigError, match="without a password"):
        destination_of(connection(send_host="lab", send_port=1, **files), folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "tls"),
    [
        ({"send_host": "lab.example.org"}, True),
        ({"send_host": "127.0.0.1"}, False),
        ({"send_host": "127.0.0.1", "send_tls": True}, True),
        ({"send_host": "lab", "send_tls": False, "send_allow_cleartext": True}, False),
    ],
)
def test_tls_is_left_out_only_on_this_machine_or_by_a_word(
    tmp_path: Path, options: dict[str, Any], tls: bool
) -> None:
    found = destination_of(connection(send_port=1, **options), folder=tmp_path)
    assert found is not None
    context = found.tls_context()
    assert (context is not None) == tls
    if context is not None:
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.check_hostname


async def test_connection_without_a_destination_is_a_transmitter_that_says_what_it_lacks(
    tmp_path: Path,
) -> None:
    async with open_adapter(
        connection(), folder=tmp_path, clock=utc_now, verdicts={}, egress=EGRESS
    ) as adapter:
        assert isinstance(adapter, Transmitter)
        assert "needs the keys send_host and send_port" in adapter.missing
        with pytest.raises(ConfigError, match="send_host"):
            await adapter.send(b"", control_id="1", lane="")
