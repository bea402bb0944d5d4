"""Who handles patient data for us, and under which contract: none, or one that has ended, means
that in production nothing goes there and nothing is taken from there.

Source: 45 CFR 164.504(e), for business associates; Regulation (EU) 2016/679, article 28.
"""

from dataclasses import dataclass
from datetime import date

from chartgate.config import Config, VendorConfig


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


def processors(config: Config, today: date) -> tuple[Processor, ...]:
    """Every vendor with what of ours it runs, by name."""
    return tuple(
        Processor(
            vendor=vendor,
            clients=tuple(sorted(n for n, c in config.clients.items() if c.vendor == name)),
            connections=tuple(sorted(n for n, c in config.connections.items() if c.vendor == name)),
            state=vendor.state(today),
        )
        for name, vendor in sorted(config.vendors.items())
    )


def unvouched(config: Config) -> tuple[str, ...]:
    """Clients and connections that name no vendor."""
    return (
        *sorted(f"clients.{n}" for n, c in config.clients.items() if not c.vendor),
        *sorted(f"connections.{n}" for n, c in config.connections.items() if not c.vendor),
    )
