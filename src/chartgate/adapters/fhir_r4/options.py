"""[connections.NAME] of a FHIR R4 connection, checked."""

from dataclasses import dataclass, replace

from chartgate.config import ConnectionConfig
from chartgate.errors import ConfigError
from chartgate.formats.toml_tables import parse_section
from chartgate.formats.web_address import check_url

KEY_ALGS = ("RS384", "ES384")  # what SMART Backend Services asks servers to support


@dataclass(frozen=True, kw_only=True)
class FhirOptions:
    """The options of adapter.toml, where each is explained."""

    url: str
    dialect: str = "generic"
    client_id: str = ""
    token_url: str = ""
    key_file: str = ""
    key_alg: str = "RS384"
    key_id: str = ""
    scope: str = ""
    ca_file: str = ""
    allow_http: bool = False
    timeout_s: float = 10.0
    connect_timeout_s: float = 3.0
    retries: int = 2
    concurrency_max: int = 32
    response_bytes_max: int = 16 * 1024 * 1024
    json_depth_max: int = 64  # FHIR nests under 20 deep
    search_page_count: int = 50
    search_pages_max: int = 20
    breaker_failures: int = 5
    breaker_cool_off_s: float = 10.0
    throttle_cap_s: float = 300.0
    changes_on_save: str = ""
    probe_file: str = ""
    probe_text: str = "/description"


def parse_options(connection: ConnectionConfig) -> FhirOptions:
    """The options of one connection. Raises ConfigError."""
    where = f"connections.{connection.name}"
    options = parse_section(FhirOptions, where, connection.options)
    check_url(options.url, f"[{where}] url", allow_http=options.allow_http)
    if options.token_url:
        check_url(options.token_url, f"[{where}] token_url", allow_http=options.allow_http)
    if options.key_alg not in KEY_ALGS:
        raise ConfigError(f"[{where}] key_alg must be RS384 or ES384, not {options.key_alg!r}")
    if options.client_id and not options.key_file:
        raise ConfigError(f"[{where}] has a client_id and so needs key_file, our private key")
    if options.token_url and not options.client_id:
        raise ConfigError(f"[{where}] has a token_url and so needs client_id and key_file")
    for limit in ("concurrency_max", "search_page_count", "search_pages_max", "breaker_failures"):
        if getattr(options, limit) < 1:
            raise ConfigError(f"[{where}] {limit} must be at least 1")
    return replace(options, url=options.url.rstrip("/"))
