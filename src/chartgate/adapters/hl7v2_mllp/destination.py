"""Where a connection sends to: its options, checked, and TLS with a certificate of our own."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from chartgate.config import ConnectionConfig
from chartgate.errors import ConfigError
from chartgate.formats.web_address import host_flaw

ACK_TIMEOUT_S = 30.0  # for an acknowledgement; engines answer within a second, busy ones later
APPLICATION_TIMEOUT_S = 20.0  # for what the application says, in enhanced mode
CONNECT_TIMEOUT_S = 10.0  # for the connection, TLS included


@dataclass(frozen=True, kw_only=True)
class Destination:
    """One place to send to. TLS unless `tls` is False; certificates are files in PEM."""

    host: str
    port: int
    ack_timeout_s: float = ACK_TIMEOUT_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    application_timeout_s: float = APPLICATION_TIMEOUT_S
    tls: bool = True
    server_name: str = ""  # that the certificate must hold; empty: the host
    ca_file: Path | None = None  # who must have signed it; None: whom this machine trusts
    cert_file: Path | None = None  # ours, with the chain
    key_file: Path | None = None

    def tls_context(self) -> ssl.SSLContext | None:
        """Read from the files each time, so that a renewed certificate counts with the next
        connection. None: clear text. Raises ConfigError."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
        except (OSError, ValueError) as error:  # ssl's are OSErrors
            raise ConfigError(
                "the files of send_ca_file, send_cert_file and send_key_file cannot be used "
                f"({type(error).__name__}: {getattr(error, 'strerror', None) or 'not PEM'}); they "
                "must hold certificates and a key without a password, in PEM"
            ) from None
        return context


def destination_of(connection: ConnectionConfig, *, folder: Path) -> Destination | None:
    """The destination of a connection; None where it has none. Raises ConfigError."""
    options, where = connection.options, f"[connections.{connection.name}]"
    if "send_host" not in options:
        others = sorted(key for key in options if key.startswith("send_"))
        if others:
            raise ConfigError(f"{where} has {others[0]} but needs the key send_host beside it")
        return None
    if "send_port" not in options:
        raise ConfigError(f"{where} has send_host but needs the key send_port beside it")
    if not 1 <= options["send_port"] <= 65_535:
        raise ConfigError(f"{where} send_port must be from 1 to 65535, not {options['send_port']}")
    host = options["send_host"]
    if flaw := host_flaw(host):
        raise ConfigError(f"{where} send_host: {flaw}")
    tls = options.get("send_tls", not is_loopback(host))
    if not tls and not is_loopback(host) and not options.get("send_allow_cleartext", False):
        raise ConfigError(
            f"{where} would send to {host} without TLS; leave send_tls out, or set "
            "send_allow_cleartext = true where nobody else can listen in"
        )
    if ("send_cert_file" in options) != ("send_key_file" in options):
        raise ConfigError(f"{where} needs send_cert_file and send_key_file, or neither")
    timeouts = {key: _seconds(where, options, key) for key in DEFAULTS_S}
    found = Destination(
        host=host,
        port=options["send_port"],
        tls=tls,
        server_name=options.get("send_server_name", ""),
        ca_file=_file(options, "send_ca_file", folder),
        cert_file=_file(options, "send_cert_file", folder),
        key_file=_file(options, "send_key_file", folder),
        **timeouts,
    )
    found.tls_context()  # a mistake stops here, not at each message
    return found


DEFAULTS_S: Mapping[str, float] = {
    "ack_timeout_s": ACK_TIMEOUT_S,
    "connect_timeout_s": CONNECT_TIMEOUT_S,
    "application_timeout_s": APPLICATION_TIMEOUT_S,
}


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _seconds(where: str, options: Mapping[str, Any], key: str) -> float:
    value = float(options.get(key, DEFAULTS_S[key]))
    if not 0 < value <= 3600:
        raise ConfigError(f"{where} {key} must be above 0 and at most 3600, not {value:g}")
    return value


def _file(options: Mapping[str, Any], key: str, folder: Path) -> Path | None:
    return folder / options[key] if key in options else None


def _no_password() -> str:
    """OpenSSL would ask the terminal; a wrong password fails instead."""
    return ""
