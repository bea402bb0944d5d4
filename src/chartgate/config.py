"""chartgate.toml as frozen dataclasses, read once at start.

Nothing else reads the environment. Unknown keys are errors that name the near one. Paths are
relative to the file's own folder. Secrets are named by file, never written here.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chartgate.config_named import (
    AtnaConfig,
    ClientConfig,
    ConnectionConfig,
    LaunchConfig,
    ServiceConfig,
    SiteConfig,
    VendorConfig,
)
from chartgate.errors import ConfigError
from chartgate.formats.toml_tables import (
    check_keys,
    parse_named,
    parse_section,
    switch_of,
    table_of,
    tables_of,
    text_of,
)
from chartgate.formats.web_address import Origin, check_url, origin_of

BOUNDS: Mapping[str, tuple[float, float]] = {  # least and most; else from 0 on
    "store.connections_max": (4, 10_000),  # the audit and the wake-ups keep one each
    "store.acquire_timeout_s": (0.1, 3600),
    "web.port": (0, 65_535),
    "mllp.port": (0, 65_535),
    "mllp.batch_max": (1, 100_000),
    "mllp.connections_per_peer_max": (1, 1_000_000),
    "mllp.in_flight_max": (1, 1_000_000),
    "worker.poll_interval_s": (0.01, 3600),  # 0 would never rest
    "worker.lanes_max": (1, 1_000),
    "worker.writes_at_once": (1, 1_000),
    "worker.worklist_every_s": (1, 3600),
    "ledger.unsigned_max_s": (1, 3600),  # proof cannot be turned off
    "retention.audit_days": (2192, 36_525),  # six years, whatever somebody would like
    "retention.accounting_days": (2192, 36_525),
    "retention.disclosure_days": (184, 36_525),  # six months
    "retention.proposals_days": (184, 36_525),
    "retention.every_s": (1, 604_800),
    "retention.batch": (1, 100_000),
    "review.dwell_s": (0, 600),  # longer, and nobody would look at all
    "review.word_s": (0, 10),
    "review.field_s": (0, 60),
    "people.break_glass_per_day": (1, 1_000),
    "people.break_glass_minutes_max": (1, 60),
    "people.break_glass_review_within_h": (1, 72),
}
__all__ = [  # with the named tables, which lie beside this file
    "AtnaConfig",
    "ClientConfig",
    "ConnectionConfig",
    "LaunchConfig",
    "ServiceConfig",
    "SiteConfig",
    "VendorConfig",
]
POWERS = ("audit", "introspect", "revoke")  # that a service may have
CONSENT_MODES = ("opt-in", "opt-out", "opt-in-with-exceptions", "not-needed")
SESSION_IDLE_MAX_S = 900.0  # in production: a screen that nobody sits at closes itself
CONFIG_VARIABLE = "CHARTGATE_CONFIG"
CONFIG_DEFAULT = "chartgate.toml"


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """[store]"""

    database_url: str = ""  # empty: PostgreSQL of our own, in data_dir
    postgres_bin: str = ""  # folder of PostgreSQL's binaries; empty: the wheel's
    connections_max: int = 10  # a process; PostgreSQL's default allows 100 in all
    acquire_timeout_s: float = 5.0  # for a free connection; then 503


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """[web]"""

    host: str = "127.0.0.1"  # address to listen on; TLS ends in front of it
    port: int = 8480  # of the gateway
    public_url: str = ""  # what clients call it by; empty: http://host:port
    body_bytes_max: int = 2_000_000  # a proposal with a long note is some 100 kB
    json_depth_max: int = 64  # FHIR nests under 20 deep
    json_parts_max: int = 50_000  # keys and items of a body; a long proposal has some hundred
    search_count_max: int = 200  # matches a search may return
    token_lifetime_s: float = 300.0  # SMART Backend Services: 300 s is the recommended limit
    session_idle_s: float = 900.0  # signed out after so long without a request
    session_lifetime_s: float = 28_800.0  # a shift
    sign_in_failures_max: int = 10  # wrong passwords in a row, then the account is locked
    sign_in_lock_s: float = 900.0  # how long it stays locked
    in_flight_max: int = 256  # requests at once; more are told to come back
    body_timeout_s: float = 10.0  # for a request's body to arrive whole
    trusted_proxies: tuple[str, ...] = ()  # addresses whose X-Forwarded-For is believed

    @property
    def url(self) -> str:
        """What clients call this gateway by, without a slash at its end."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"

    @property
    def token_url(self) -> str:
        """The token endpoint, which is also the audience of client assertions."""
        return f"{self.url}/oauth/token"


@dataclass(frozen=True, kw_only=True)
class MllpConfig:
    """[mllp]"""

    host: str = "127.0.0.1"  # address to listen on, where a feed has none of its own
    port: int = 2575  # where a feed has none of its own
    message_bytes_max: int = 16 * 1024 * 1024  # a longer one is refused; its beginning is kept
    connections_max: int = 256  # at once, of one feed; further ones are closed and counted
    connections_per_peer_max: int = 128  # of one address: none can take them all
    in_flight_max: int = 256  # unanswered messages of one connection; then it is not read on
    idle_timeout_s: float = 30.0  # for the rest of a frame that has begun
    batch_max: int = 500  # messages in one commit


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """[worker]"""

    poll_interval_s: float = 0.5  # between looks; a NOTIFY wakes it at once
    lease_s: float = 30.0  # longer than the longest write takes
    attempts_max: int = 5  # for errors of content; a dead link is retried for ever
    backoff_base_s: float = 1.0  # after the first failure; doubled with each
    backoff_cap_s: float = 300.0  # at most so long between tries
    notify_timeout_s: float = 10.0  # for a client to take a notification
    resolve_within_s: float = 60.0  # an unknown outcome goes to a person after that
    writes_at_once: int = 16  # proposals of one kind of work, by one worker
    lanes_max: int = 4  # of one destination sent to at once; each has a connection there
    worklist_every_s: float = 30.0  # between looks at a handoff's Task in the EHR
    lane_idle_s: float = 30.0  # a lane's connection is closed after so long with nothing to send


@dataclass(frozen=True, kw_only=True)
class DriftConfig:
    """[drift]"""

    learning_messages: int = 200  # of a sender and type, before anything is found in them
    window_messages: int = 100  # in which something new must come again to be a finding
    profiles_max: int = 200  # senders and types watched by one worker; each takes some 100 kB
    settle_s: float = 2.0  # between writes of findings
    write_s: float = 30.0  # between writes of what was learned; a kill forgets so much


@dataclass(frozen=True, kw_only=True)
class LedgerConfig:
    """[ledger]"""

    origin: str = "chartgate.local/ledger"  # names this log in its signed heads
    interval_s: float = 0.25  # merge delay at most, and between signed heads
    signing_key_file: str = "keys/ledger.pem"  # Ed25519, made by `chartgate init`
    witness_file: str = "ledger-witness.txt"  # outside the database; better on another disk
    unsigned_max_s: float = 60.0  # without a signed head for so long, nothing is answered


@dataclass(frozen=True, kw_only=True)
class VaultConfig:
    """[vault]"""

    master_key_file: str = "keys/vault.key"  # each tenant's own; back it up, apart from the store
    scrub_every_h: float = 24.0  # between looks at everything stored; 0: never


@dataclass(frozen=True, kw_only=True)
class RetentionConfig:
    """[retention]: days after which each class is deleted. A legal hold beats all of them; a
    charter's own `retention` may keep its audit longer, and what it showed for another time."""

    audit_days: float = 2192.0  # 45 CFR 164.316(b)(2): six years; 3653 where ten are asked for
    accounting_days: float = 2192.0  # 45 CFR 164.528: six years, which covers 42 CFR 2.25's three
    disclosure_days: float = 184.0  # what AI clients saw; EU AI Act art. 19: six months
    record_days: float = 365.0  # versions that are not current, and copies nobody asks for
    inbox_days: float = 365.0  # bytes of messages that were processed
    quarantine_days: float = 365.0  # after it was closed
    outgoing_days: float = 365.0  # after it was taken or given up
    proposals_days: float = 2192.0  # after they came to an end
    events_days: float = 90.0  # of feeds, and notifications that were delivered
    expired_days: float = 1.0  # tokens, sessions and assertions that have run out
    every_s: float = 3600.0  # between looks
    batch: int = 1_000  # rows in one transaction


@dataclass(frozen=True, kw_only=True)
class EgressConfig:
    """[egress]: which addresses Chartgate may connect to."""

    private: tuple[str, ...] = ()  # networks beside public ones; empty: none, but own when testing
    crl_file: str = ""  # revoked certificates, in PEM; with it each chain is looked up there


@dataclass(frozen=True, kw_only=True)
class PeopleConfig:
    """[people]: what staff must show, and who may break the glass."""

    mfa: str = "off"  # "required": no decision without a second factor; in production always
    two_people: str = "off"  # "required": to weaken any rule; in production always
    change_within_h: int = 72  # what waits for two people lapses after that
    identities: Mapping[str, str] = field(default_factory=dict)  # e.g. sofia = "Practitioner/12"
    break_glass_roles: tuple[str, ...] = ()  # that may, beside the role break-glass itself
    break_glass_minutes_max: int = 60  # how long one lasts at most
    break_glass_per_day: int = 5  # of one person; one more is refused, and an alarm
    break_glass_review_within_h: int = 72  # until a privacy officer has looked at it


@dataclass(frozen=True, kw_only=True)
class ReviewConfig:
    """[review]: how long a person has looked at a proposal, at least, before they approve it. In
    production no part of it is less than what stands here; a charter's `dwell` may ask for more."""

    dwell_s: float = 3.0  # whatever it says
    word_s: float = 0.12  # for each word of its differences: 500 words a minute
    field_s: float = 2.0  # for each field that would change


@dataclass(frozen=True, kw_only=True)
class OidcConfig:
    """[oidc]: where staff sign in. Without an issuer they have passwords here."""

    issuer: str = ""  # exactly as its tokens say it
    client_id: str = ""  # under which Chartgate is registered there
    client_secret_file: str = ""  # the secret it was given, or
    private_key_file: str = ""  # a key in PEM, to sign for itself with; its public half is there
    scopes: tuple[str, ...] = ("openid", "profile")  # that are asked for
    origins: tuple[str, ...] = ()  # beside the issuer's own, that hold its token and key endpoints
    name_claim: str = "sub"  # what people are called here and in the audit; never reused there
    roles_claim: str = "groups"  # a text or list; dots lead inwards, e.g. "realm_access.roles"
    sites_claim: str = "groups"  # the same
    roles: Mapping[str, str] = field(default_factory=dict)  # from a claim's value to a role
    sites: Mapping[str, str] = field(default_factory=dict)  # from a claim's value to a site
    mfa_amr: tuple[str, ...] = ("mfa",)  # values of amr that mean a second factor (RFC 8176)
    mfa_acr: tuple[str, ...] = ()  # values of acr that do
    step_up_acr: str = ""  # acr_values to ask for when a second factor is needed
    keep_passwords: bool = False  # true: people of `chartgate person add` may still sign in


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole file."""

    folder: Path  # of chartgate.toml
    production: bool = False  # true: the strict rules bind; `chartgate config check` lists them
    tenant: str = "main"  # whose data this is; one database may hold several
    data_dir: Path = Path("var")  # our own PostgreSQL keeps its files here
    charters_dir: Path = Path("charters")  # one YAML file for each AI use
    store: StoreConfig = StoreConfig()
    web: WebConfig = WebConfig()
    mllp: MllpConfig = MllpConfig()
    worker: WorkerConfig = WorkerConfig()
    drift: DriftConfig = DriftConfig()
    ledger: LedgerConfig = LedgerConfig()
    vault: VaultConfig = VaultConfig()
    retention: RetentionConfig = RetentionConfig()
    egress: EgressConfig = EgressConfig()
    people: PeopleConfig = PeopleConfig()
    review: ReviewConfig = ReviewConfig()
    oidc: OidcConfig = OidcConfig()
    connections: Mapping[str, ConnectionConfig] = field(default_factory=dict)
    clients: Mapping[str, ClientConfig] = field(default_factory=dict)
    atna: Mapping[str, AtnaConfig] = field(default_factory=dict)
    services: Mapping[str, ServiceConfig] = field(default_factory=dict)
    vendors: Mapping[str, VendorConfig] = field(default_factory=dict)
    launch: Mapping[str, LaunchConfig] = field(default_factory=dict)
    sites: Mapping[str, SiteConfig] = field(default_factory=dict)

    def site(self, name: str) -> SiteConfig:
        """The site's own table, or what holds without one. Raises ConfigError in production."""
        known = self.sites.get(name)
        if known is None and self.production:
            modes = ", ".join(CONSENT_MODES)
            raise ConfigError(f"in production [sites.{name}] must say consent = one of {modes}")
        return known or SiteConfig(name=name)

    def vendor_flaw(self, name: str, today: date) -> str:
        """Why what this vendor runs may not be used in production; empty: it may."""
        if not name:
            return "it names no vendor, and so no contract; set vendor to one under [vendors.NAME]"
        vendor = self.vendors.get(name)
        if vendor is None or vendor.state(today) == "no contract":
            return f"the vendor {name} has no contract; name one under [vendors.{name}]"
        if vendor.state(today) == "ended":
            return f"the contract {vendor.contract} with the vendor {name} ended on {vendor.until}"
        return ""

    @property
    def mfa_required(self) -> bool:
        """Whether people decide only with a second factor."""
        return self.production or self.people.mfa == "required"

    @property
    def two_people_required(self) -> bool:
        """Whether what weakens a rule waits until two people approved it."""
        return self.production or self.people.two_people == "required"

    def path(self, name: str | Path) -> Path:
        """A path of the file, made absolute by the file's folder."""
        return (self.folder / name).resolve()


SECTIONS: Mapping[str, type[Any]] = {
    "store": StoreConfig,
    "web": WebConfig,
    "mllp": MllpConfig,
    "worker": WorkerConfig,
    "drift": DriftConfig,
    "ledger": LedgerConfig,
    "vault": VaultConfig,
    "retention": RetentionConfig,
    "egress": EgressConfig,
    "people": PeopleConfig,
    "review": ReviewConfig,
    "oidc": OidcConfig,
}


NAMED: Mapping[str, type[Any]] = {
    "clients": ClientConfig,
    "services": ServiceConfig,
    "vendors": VendorConfig,
    "launch": LaunchConfig,
    "sites": SiteConfig,
    "atna": AtnaConfig,
}
PLAIN = frozenset({"production", "tenant", "data_dir", "charters_dir"})


def config_file(path: Path | None = None) -> Path:
    """`path`, else $CHARTGATE_CONFIG, else ./chartgate.toml."""
    return path or Path(os.environ.get(CONFIG_VARIABLE, CONFIG_DEFAULT))


def load_config(path: Path | None = None) -> Config:
    """Reads the file that `config_file` names. Raises ConfigError."""
    file = config_file(path)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no {file}; `chartgate init` writes one") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    return parse_config(table, folder=file.resolve().parent)


def parse_config(table: Mapping[str, Any], *, folder: Path) -> Config:
    """The records of a parsed chartgate.toml. Raises ConfigError."""
    check_keys(table, {*PLAIN, *SECTIONS, *NAMED, "connections"}, "chartgate.toml")
    sections: dict[str, Any] = {
        **{n: parse_section(s, n, table_of(table, n), bounds=BOUNDS) for n, s in SECTIONS.items()},
        **{n: parse_named(s, n, table, bounds=BOUNDS) for n, s in NAMED.items()},
    }
    config = Config(
        folder=folder,
        production=switch_of(table, "production"),
        tenant=text_of(table, "tenant", "main"),
        data_dir=folder / text_of(table, "data_dir", "var"),
        charters_dir=folder / text_of(table, "charters_dir", "charters"),
        connections={n: _connection(n, t) for n, t in tables_of(table, "connections").items()},
        **sections,
    )
    _check_parties(config)
    _check_people(config)
    for site in config.sites.values():
        _check_site(config, site)
    return config


def _check_parties(config: Config) -> None:
    """What could not be meant of clients, services and vendors. Raises ConfigError."""
    for name, service in config.services.items():
        _check_keys_of(f"[services.{name}]", service)
        for power in service.may:
            check_keys({power: None}, set(POWERS), f"[services.{name}] may: chartgate")
    for name, client in config.clients.items():
        where = f"[clients.{name}]"
        _check_keys_of(where, client)
        if client.notify_url:
            _origin(f"{where} notify_url", client.notify_url)
        if name in config.services:
            raise ConfigError(f"{name} is a client and a service; one credential is one kind")
        _check_vendor_of(config, where, client)
    for name, connection in config.connections.items():
        _check_vendor_of(config, f"[connections.{name}]", connection)


def _check_keys_of(where: str, party: ClientConfig | ServiceConfig) -> None:
    if bool(party.jwks_file) == bool(party.jwks_url):
        raise ConfigError(f"{where} needs one of jwks_file and jwks_url: its public keys")
    if party.jwks_url:
        check_url(party.jwks_url, f"{where} jwks_url", allow_http=False)


def _check_vendor_of(config: Config, where: str, party: ClientConfig | ConnectionConfig) -> None:
    if party.vendor and party.vendor not in config.vendors:
        raise ConfigError(f"{where} vendor: there is no [vendors.{party.vendor}]")


def _check_people(config: Config) -> None:
    """What of people's sign-in could not hold. Raises ConfigError."""
    if config.people.mfa not in ("off", "required"):
        raise ConfigError('[people] mfa must be "off" or "required"')
    if config.people.two_people not in ("off", "required"):
        raise ConfigError('[people] two_people must be "off" or "required"')
    if config.production and config.web.session_idle_s > SESSION_IDLE_MAX_S:
        raise ConfigError(
            f"[web] session_idle_s must be at most {SESSION_IDLE_MAX_S:g} in production"
        )
    oidc = config.oidc
    if oidc.issuer:
        _check_provider(config, "[oidc]", "issuer", oidc.issuer, oidc)
        if not oidc.roles or not oidc.sites:
            raise ConfigError("[oidc] needs [oidc.roles] and [oidc.sites]: from claims to ours")
    for name, launch in config.launch.items():
        _check_provider(config, f"[launch.{name}]", "iss", launch.iss, launch)
        if not launch.roles or not launch.site:
            raise ConfigError(f"[launch.{name}] needs at least one of roles, and a site")
    if len({launch.iss for launch in config.launch.values()}) < len(config.launch):
        raise ConfigError("two tables under [launch] have the same iss")


def _check_site(config: Config, site: SiteConfig) -> None:
    """What could not be meant of a site. Raises ConfigError."""
    modes, excepting = ", ".join(CONSENT_MODES), site.consent == "opt-in-with-exceptions"
    clients = {"*", *config.clients}
    for right, sentence in (
        (site.consent in CONSENT_MODES, f"consent must be one of {modes}"),
        (site.consent_from in {"", *config.connections}, "consent_from names no connection"),
        (
            bool(site.consent_exceptions) == excepting,
            "consent_exceptions and the consent opt-in-with-exceptions need each other",
        ),
        (site.consent_fresh_s <= 3600, "consent_fresh_s must be at most 3600"),
        (0.1 <= site.consent_timeout_s <= 60, "consent_timeout_s must be from 0.1 to 60"),
        (_is_zone(site.time_zone), 'time_zone must be one that is known, e.g. "Europe/Berlin"'),
        (clients.issuperset(site.recipients), "recipients names a client that there is not"),
    ):
        if not right:
            raise ConfigError(f"[sites.{site.name}] {sentence}")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _check_provider(
    config: Config, where: str, key: str, url: str, provider: OidcConfig | LaunchConfig
) -> None:
    for each in (url, *provider.origins):
        origin = _origin(f"{where} {key}", each)
        if origin.scheme != "https" and config.production:
            raise ConfigError(f"{where} {key} must be https in production")
    if not provider.client_id or "openid" not in provider.scopes:
        raise ConfigError(f"{where} needs a client_id, and openid among its scopes")
    if provider.client_secret_file and provider.private_key_file:
        raise ConfigError(f"{where} has a client_secret_file and a private_key_file; keep one")


def _origin(where: str, url: str) -> Origin:
    try:
        return origin_of(url)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _connection(name: str, table: Mapping[str, Any]) -> ConnectionConfig:
    options = {k: v for k, v in table.items() if k not in ("adapter", "site", "vendor")}
    if not isinstance(table.get("adapter"), str):
        raise ConfigError(f'[connections.{name}] needs the key adapter, e.g. "fhir_r4"')
    return ConnectionConfig(
        name=name,
        adapter=table["adapter"],
        site=text_of(table, "site", ""),
        vendor=text_of(table, "vendor", ""),
        options=options,
    )
