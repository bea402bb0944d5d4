"""What production asks of the config, all at once: a start that is refused says everything that is
wrong with it. While production is false the same findings are advice.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from datetime import date
from typing import Any
from urllib.parse import parse_qs, urlsplit

from chartgate.config import Config, ConnectionConfig, ReviewConfig
from chartgate.errors import ConfigError
from chartgate.formats.web_address import is_loopback_name, origin_of, parse_networks
from chartgate.model.charter import Charter

WEAKENED = ("allow_http", "allow_cleartext", "send_allow_cleartext")  # options of connections
VERIFIED = ("verify-full", "verify-ca")  # sslmode, for a database across the network


def production_findings(
    config: Config, charters: Collection[Charter], today: date
) -> tuple[str, ...]:
    """What must be mended before this may be production; empty: nothing."""
    return (
        *_web(config),
        *_store(config),
        *_review(config),
        *_parties(config, today),
        *_addresses(config),
        *_sites(config, charters),
    )


def check_production(config: Config, charters: Collection[Charter], today: date) -> None:
    """Raises ConfigError with every finding, if this is production and there are any."""
    findings = production_findings(config, charters, today) if config.production else ()
    if findings:
        listed = "".join(f"\n  - {finding}" for finding in findings)
        raise ConfigError(
            "production = true, but chartgate.toml is not fit for it; `chartgate config check`"
            f" lists this at any time:{listed}"
        )


def _web(config: Config) -> Iterator[str]:
    if not config.web.public_url.startswith("https://"):
        yield "[web] public_url must be the https address that clients and browsers use"
    if config.web.session_idle_s > 900:
        yield "[web] session_idle_s must be at most 900: who walks away is signed out"


def _store(config: Config) -> Iterator[str]:
    url = config.store.database_url
    parts = urlsplit(url)
    if url and parts.hostname and not is_loopback_name(parts.hostname):
        modes = parse_qs(parts.query).get("sslmode", [""])
        if modes[-1] not in VERIFIED:
            yield "[store] database_url crosses the network and needs sslmode=verify-full"


def _review(config: Config) -> Iterator[str]:
    for key, least in asdict(ReviewConfig()).items():
        if getattr(config.review, key) < least:
            yield f"[review] {key} must be {least:g} at least: who approves has looked"


def _parties(config: Config, today: date) -> Iterator[str]:
    for name, client in sorted(config.clients.items()):
        if flaw := config.vendor_flaw(client.vendor, today):
            yield f"[clients.{name}] {flaw}"
    for name, connection in sorted(config.connections.items()):
        if flaw := config.vendor_flaw(connection.vendor, today):
            yield f"[connections.{name}] {flaw}"


def _addresses(config: Config) -> Iterator[str]:
    try:
        parse_networks(config.egress.private, "[egress] private")
    except ConfigError as error:
        yield str(error)
    for name, client in sorted(config.clients.items()):
        for key in ("jwks_url", "notify_url"):
            if (url := getattr(client, key)) and not url.startswith("https://"):
                yield f"[clients.{name}] {key} must be https"
    for name, service in sorted(config.services.items()):
        if service.jwks_url and not service.jwks_url.startswith("https://"):
            yield f"[services.{name}] jwks_url must be https"
    for connection in sorted(config.connections.values(), key=lambda one: one.name):
        yield from _connection(connection)


def _connection(connection: ConnectionConfig) -> Iterator[str]:
    where = f"[connections.{connection.name}]"
    for key in WEAKENED:
        if connection.options.get(key):
            yield f"{where} {key} lets patient data travel in clear text; leave it out"
    for key, value in sorted(_urls(connection.options).items()):
        try:
            origin = origin_of(value)
        except ConfigError as error:
            yield f"{where} {key}: {error}"
            continue
        # A TLS proxy beside us keeps what is plain on this machine.
        if origin.scheme != "https" and not is_loopback_name(origin.host):
            yield f"{where} {key} must be https"


def _urls(options: Mapping[str, Any]) -> Mapping[str, str]:
    return {
        key: value
        for key, value in options.items()
        if isinstance(value, str) and (key == "url" or key.endswith("_url"))
    }


def _sites(config: Config, charters: Collection[Charter]) -> Iterator[str]:
    for site in sorted({site for charter in charters for site in charter.sites}):
        if site not in config.sites:
            yield f"[sites.{site}] must say how that site stands to consent: a charter names it"
    for charter in sorted(charters, key=lambda one: one.name):
        for client in charter.clients:
            if client not in config.clients:
                yield f"charter {charter.name} names the client {client}, which is not registered"
