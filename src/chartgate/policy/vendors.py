"""Who handles patient data for us, and under which contract: none, or one that has ended, means
that in production nothing goes there and nothing is taken from there.

Source: 45 CFR 164.504(e), for business associates; Regulation (EU) 2016/679, article 28.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from chartgate.config import Config, VendorConfig

NOTICE = timedelta(days=30)  # before the end: enough to renew a contract


@dataclass(frozen=True, kw_only=True)
class Processor:
    """A row of the list of processors."""

    vendor: VendorConfig
    clients: tuple[str, ...]
    connections: tuple[str, ...]
    state: str  # "good", "ends soon", "ended", "no contract"

    @property
    def is_good(self) -> bool:
        """Whether the contract holds today."""
        return self.state in ("good", "ends soon")


def vendor_flaw(config: Config, name: str, today: date) -> str:
    """Why a client or connection of this vendor may not be used in production; empty: it may."""
    if not name:
        return "it names no vendor, and so no contract; set vendor to one under [vendors.NAME]"
    vendor = config.vendors.get(name)
    if vendor is None:
        return f"there is no [vendors.{name}]"
    state = _state(vendor, today)
    if state == "no contract":
        return f"the vendor {name} has no contract; name it under [vendors.{name}]"
    if state == "ended":
        return f"the contract {vendor.contract} with the vendor {name} ended on {vendor.until}"
    return ""


def processors(config: Config, today: date) -> tuple[Processor, ...]:
    """Every vendor with what of ours it runs, by name."""
    return tuple(
        Processor(
            vendor=vendor,
            clients=tuple(sorted(n for n, c in config.clients.items() if c.vendor == name)),
            connections=tuple(sorted(n for n, c in config.connections.items() if c.vendor == name)),
            state=_state(vendor, today),
        )
        for name, vendor in sorted(config.vendors.items())
    )


def unvouched(config: Config) -> tuple[str, ...]:
    """Clients and connections that name no vendor."""
    return (
        *sorted(f"clients.{n}" for n, c in config.clients.items() if not c.vendor),
        *sorted(f"connections.{n}" for n, c in config.connections.items() if not c.vendor),
    )


def _state(vendor: VendorConfig, today: date) -> str:
    if not vendor.contract.strip():
        return "no contract"
    if vendor.until < today:  # the last day still counts
        return "ended"
    return "ends soon" if vendor.until - today <= NOTICE else "good"
