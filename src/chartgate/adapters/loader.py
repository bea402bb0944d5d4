"""Finds adapters, checks their options before their code runs, and opens what the config names.

An adapter is a folder: `adapter.toml` says what it is, `adapter.py` has `open_adapter`. Ours lie
beside this file; an outside package brings one by an entry point of the group
`chartgate.adapters`, whose name is the adapter's and whose value is the folder as a module.
"""

import tomllib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from chartgate.adapters.egress import address_rules
from chartgate.clock import Clock
from chartgate.config import Config, ConnectionConfig
from chartgate.errors import ConfigError
from chartgate.formats.toml_tables import TYPES, check_keys, is_of_type
from chartgate.model.ports import Feed, Probe, Sink, Source, Transmitter
from chartgate.model.verdict import Verdicts

GROUP = "chartgate.adapters"
OURS = Path(__file__).parent
PORTS: Mapping[str, type] = {
    "source": Source,
    "sink": Sink,
    "probe": Probe,
    "feed": Feed,
    "transmitter": Transmitter,
}
OPENED = frozenset({"source", "sink", "transmitter"})
MANIFEST_KEYS = {"title", "standard", "versions", "ports", "resource_types"}
OPTION_KEYS = {"type", "required", "secret", "note"}


class BreakerState(Protocol):
    """What `status` shows of a connection."""

    @property
    def state(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class OptionSpec:
    """One key that [connections.NAME] may have."""

    type: str  # of config.TYPES
    required: bool = False
    secret: bool = False  # names a file that holds a secret
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """adapter.toml."""

    name: str
    module: str
    title: str
    standard: str
    versions: tuple[str, ...]
    ports: tuple[str, ...]
    resource_types: tuple[str, ...]
    options: Mapping[str, OptionSpec]


@dataclass(frozen=True, kw_only=True)
class Connections:
    """What is open, by connection."""

    sources: Mapping[str, Source]
    sinks: Mapping[str, Sink]
    transmitters: Mapping[str, Transmitter]
    breakers: Mapping[str, BreakerState]


@asynccontextmanager
async def load_connections(
    config: Config, *, clock: Clock, verdicts: Mapping[str, Verdicts]
) -> AsyncIterator[Connections]:
    """Opens every connection that can be read, written or sent to; closes them at the end.

    All options of all connections are checked first, feeds too. Raises ConfigError.
    """
    async with _opened(config, OPENED, clock=clock, verdicts=verdicts) as adapters:
        sources = {name: one for name, one in adapters.items() if isinstance(one, Source)}
        sinks = {n: one for n, one in adapters.items() if isinstance(one, Sink) and _writes(one)}
        transmitters = {n: one for n, one in adapters.items() if isinstance(one, Transmitter)}
        breakers = {n: one.breaker for n, one in adapters.items() if hasattr(one, "breaker")}
        yield Connections(
            sources=sources, sinks=sinks, transmitters=transmitters, breakers=breakers
        )


@asynccontextmanager
async def load_feeds(config: Config, *, clock: Clock) -> AsyncIterator[Mapping[str, Feed]]:
    """Opens every connection that is a feed, for the listener. Raises ConfigError."""
    async with _opened(config, frozenset({"feed"}), clock=clock, verdicts={}) as adapters:
        yield {name: one for name, one in adapters.items() if isinstance(one, Feed)}


@asynccontextmanager
async def _opened(
    config: Config, ports: frozenset[str], *, clock: Clock, verdicts: Mapping[str, Verdicts]
) -> AsyncIterator[Mapping[str, Any]]:
    known, egress = manifests(), address_rules(config)
    chosen = {name: check_connection(c, known) for name, c in config.connections.items()}
    adapters: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        for name, manifest in chosen.items():
            if ports.isdisjoint(manifest.ports):
                continue
            module = import_module(f"{manifest.module}.adapter")
            adapters[name] = await stack.enter_async_context(
                module.open_adapter(
                    config.connections[name],
                    folder=config.folder,
                    clock=clock,
                    verdicts=verdicts.get(name, {}),
                    egress=replace(egress, closed=_contract_flaw(config, name, clock)),
                )
            )
            _check_ports(adapters[name], manifest)
        yield adapters


def _writes(adapter: object) -> bool:
    """A feed that has no destination is no sink, whatever its adapter can do."""
    return not (isinstance(adapter, Transmitter) and adapter.missing)


def _contract_flaw(config: Config, name: str, clock: Clock) -> Callable[[], str]:
    """What closes a connection while it is used: in production, that its contract has ended."""

    def flaw() -> str:
        vendor = config.connections[name].vendor
        return config.vendor_flaw(vendor, clock().date()) if config.production else ""

    return flaw


def manifests() -> Mapping[str, Manifest]:
    """All adapters that are installed, by name; none of their code has run. Raises ConfigError."""
    found = {
        file.parent.name: _read_manifest(file, f"chartgate.adapters.{file.parent.name}")
        for file in sorted(OURS.glob("*/adapter.toml"))
    }
    for point in entry_points(group=GROUP):
        if point.name in found:
            raise ConfigError(f"two adapters are called {point.name}; uninstall {point.module}")
        found[point.name] = _read_manifest(_outside_file(point.module), point.module)
    return found


def check_connection(connection: ConnectionConfig, known: Mapping[str, Manifest]) -> Manifest:
    """The adapter of a connection, whose options fit its manifest. Raises ConfigError."""
    where = f"[connections.{connection.name}]"
    check_keys({connection.adapter: None}, set(known), f"{where} adapter: chartgate")
    manifest = known[connection.adapter]
    check_keys(connection.options, set(manifest.options), where)
    for key, spec in manifest.options.items():
        if key not in connection.options:
            if spec.required:
                raise ConfigError(f"{where} needs the key {key}: {spec.note}")
            continue
        if not is_of_type(connection.options[key], spec.type):
            raise ConfigError(f"{where} {key} must be of type {spec.type}: {spec.note}")
    return manifest


def parse_manifest(table: Mapping[str, Any], *, name: str, module: str, where: str) -> Manifest:
    """A parsed adapter.toml. Raises ConfigError."""
    check_keys(table, {"adapter", "options"}, where)
    head = table.get("adapter", {})
    check_keys(head, MANIFEST_KEYS, f"{where} [adapter]")
    for key in sorted(MANIFEST_KEYS):
        if key not in head:
            raise ConfigError(f"{where} [adapter] needs the key {key}")
    for port in head["ports"]:
        check_keys({port: None}, set(PORTS), f"{where} [adapter] ports: chartgate")
    options = {}
    for key, spec in table.get("options", {}).items():
        check_keys(spec, OPTION_KEYS, f"{where} [options.{key}]")
        check_keys({spec.get("type", ""): None}, set(TYPES), f"{where} [options.{key}] type:")
        options[key] = OptionSpec(**spec)
    return Manifest(
        name=name,
        module=module,
        title=head["title"],
        standard=head["standard"],
        versions=tuple(head["versions"]),
        ports=tuple(head["ports"]),
        resource_types=tuple(head["resource_types"]),
        options=options,
    )


def _read_manifest(file: Path, module: str) -> Manifest:
    name = module.rpartition(".")[2]
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"adapter {name}: {file.name} cannot be read: {error}") from None
    return parse_manifest(table, name=name, module=module, where=f"adapter {name}: adapter.toml")


def _outside_file(module: str) -> Path:
    """Where the folder lies. The module itself is not run; of a dotted name its parents are."""
    try:
        spec = find_spec(module)
    except ImportError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"adapter package {module} is named by an entry point but not there")
    return Path(next(iter(spec.submodule_search_locations))) / "adapter.toml"


def _check_ports(adapter: object, manifest: Manifest) -> None:
    """What adapter.toml says of ports is enforced, both ways."""
    for port, protocol in PORTS.items():
        if (port in manifest.ports) != isinstance(adapter, protocol):
            says = "says" if port in manifest.ports else "does not say"
            raise ConfigError(
                f"adapter {manifest.name}: adapter.toml {says} that it is a {port}, its code"
                f" {'does not agree' if says == 'says' else 'is one'}"
            )
