"""TLS of a feed: our own certificate, and for whom a sender's certificate stands.

A changed file counts with the next connection; those that are open go on. A certificate that has
run out is never used, and one that soon will is told of beforehand.
"""

import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from chartgate.clock import Clock
from chartgate.errors import ConfigError

WARN_DAYS = (30, 7, 1)  # before our certificate runs out
KEYS = ("cert", "key", "client_ca")
NAME_KINDS = ("CN", "DNS", "URI", "IP", "SHA256")

Senders = frozenset[tuple[str, ...]]  # (MSH-3, MSH-4) or (MSH-3, MSH-4, MSH-11)


@dataclass(frozen=True, kw_only=True)
class ServerTls:
    """The files of one feed, and who may send what with which certificate."""

    cert: Path
    key: Path
    client_ca: Path | None  # None: senders need no certificate
    clock: Clock
    senders: Mapping[str, Senders] | None = None  # by name in a certificate; None: not bound

    def load(self) -> "Loaded":
        """What the files hold now. Raises ConfigError, also for a certificate that is not valid
        at this time."""
        stamp = self.stamp()  # first: a file that changes from here on is read again
        context = self._context()
        first, last = _validity(self.cert)
        if not first <= self.clock() < last:
            raise ConfigError(
                f"{self.cert}: the certificate is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d} "
                "and not now; replace it"
            )
        return Loaded(context=context, expires_at=last, stamp=stamp)

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Changes when a file does; the empty one where a file cannot be read."""
        try:
            stats = [file.stat() for file in (self.cert, self.key, self.client_ca) if file]
        except OSError:
            return ()
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)

    def senders_of(self, connection: Any) -> Senders | None:
        """Of whom a peer may send, by the certificate that its ssl.SSLObject has checked."""
        if self.senders is None:
            return None
        found: set[tuple[str, ...]] = set()
        for name in names_in(connection):
            found |= self.senders.get(name, frozenset())
        return frozenset(found)

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.cert, self.key, password=_no_password)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:  # ssl's are OSErrors
            raise ConfigError(
                f"the files of tls cannot be used ({type(error).__name__}: "
                f"{getattr(error, 'strerror', None) or 'not PEM'}); cert and client_ca must hold "
                "certificates, and key the key of cert without a password, in PEM"
            ) from None
        return context


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a feed uses until a file changes."""

    context: ssl.SSLContext
    expires_at: datetime
    stamp: tuple[tuple[int, int], ...]


@dataclass(kw_only=True)
class ExpiryAlarm:
    """Speaks up once at each of WARN_DAYS."""

    _told: int = field(default=max(WARN_DAYS) + 1)

    def days_to_tell(self, expires_at: datetime, now: datetime) -> int | None:
        """Whole days that are left, if that is news."""
        left = (expires_at - now).total_seconds() / 86_400
        reached = [days for days in WARN_DAYS if left <= days]
        if not reached:
            self._told = max(WARN_DAYS) + 1  # it was renewed
        elif min(reached) < self._told:
            self._told = min(reached)
            return max(int(left), 0)
        return None


def names_in(connection: Any) -> set[str]:
    """What a peer's certificate says of it, e.g. "CN:adt.north.example"; all of it was vouched
    for by client_ca."""
    certificate = connection.getpeercert() or {}
    names = {
        f"CN:{value}"
        for parts in certificate.get("subject", ())
        for key, value in parts
        if key == "commonName"
    }
    for kind, value in certificate.get("subjectAltName", ()):
        names.add(_name(kind.removesuffix(" Address"), value))
    if binary := connection.getpeercert(True):
        names.add(f"SHA256:{hashlib.sha256(binary).hexdigest()}")
    return names


def tls_of(
    where: str, options: Mapping[str, Any], *, folder: Path, clock: Clock
) -> ServerTls | None:
    """The options `tls` and `senders` of a feed; None: clear text. Raises ConfigError."""
    table = options.get("tls")
    if table is None:
        if "senders" in options:
            raise ConfigError(f"{where} senders needs tls with client_ca beside it")
        return None
    for key, value in table.items():
        if key not in KEYS or not isinstance(value, str):
            raise ConfigError(f"{where} tls takes the file names {', '.join(KEYS)}, not {key!r}")
    for key in KEYS[:2]:
        if key not in table:
            raise ConfigError(f"{where} tls needs the key {key}: a file in PEM")
    if "senders" in options and "client_ca" not in table:
        raise ConfigError(f"{where} senders needs the key client_ca in tls: who signs their keys")
    return ServerTls(
        cert=folder / table["cert"],
        key=folder / table["key"],
        client_ca=folder / table["client_ca"] if "client_ca" in table else None,
        clock=clock,
        senders=_senders_of(where, options["senders"]) if "senders" in options else None,
    )


def _senders_of(where: str, table: Mapping[str, Any]) -> Mapping[str, Senders]:
    found: dict[str, Senders] = {}
    for name, pairs in table.items():
        kind, _, value = name.partition(":")
        if kind not in NAME_KINDS or not value:
            raise ConfigError(
                f'{where} senders: {name!r} must be e.g. "CN:adt.north.example"; the kinds are '
                + ", ".join(NAME_KINDS)
            )
        if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
            raise ConfigError(
                f'{where} senders: {name!r} must hold a list such as ["ADT1|NORTH"], of MSH-3 and '
                "MSH-4, and MSH-11 if it is to be bound"
            )
        key = _name(kind, value)
        found[key] = found.get(key, frozenset()) | {tuple(pair.split("|")) for pair in pairs}
    return found


def _is_pair(value: Any) -> bool:
    return isinstance(value, str) and value.count("|") in (1, 2)


def _name(kind: str, value: str) -> str:
    if kind == "SHA256":
        value = value.replace(":", "").lower()
    return f"{kind}:{value.lower() if kind == 'DNS' else value}"


def _validity(file: Path) -> tuple[datetime, datetime]:
    """From when until when the certificate and its chain hold."""
    try:
        chain = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} holds no certificate in PEM ({type(error).__name__})") from None
    first = max(one.not_valid_before_utc for one in chain)
    return first, min(one.not_valid_after_utc for one in chain)


def _no_password() -> str:
    """OpenSSL would ask the terminal; a wrong password fails instead."""
    return ""
