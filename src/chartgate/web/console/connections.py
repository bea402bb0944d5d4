"""Connections: what the last probe of each found, and which writes are on because of it."""

from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from chartgate.flows import probes
from chartgate.flows.probes import Probed
from chartgate.model.verdict import DatedVerdict, WriteRight
from chartgate.web.console.pages import page
from chartgate.web.routes import Call

STALE_DAYS = 90  # systems are upgraded about four times a year


@dataclass(frozen=True, kw_only=True)
class Connection:
    """One system."""

    name: str
    probed_at: datetime | None
    days_ago: int
    stale: bool
    holding: int
    rights: tuple[WriteRight, ...]
    verdicts: tuple[DatedVerdict, ...]  # what does not hold comes first

    @property
    def all_off(self) -> bool:
        """Whether nothing can be written there."""
        return not any(right.on for right in self.rights)


@dataclass(frozen=True, kw_only=True)
class ConnectionsPage:
    """The page."""

    connections: tuple[Connection, ...]


async def connections(call: Call) -> Response:
    """GET /connections"""
    now = call.gate.clock()
    found = await probes.last(call.gate)
    context = ConnectionsPage(connections=tuple(_connection(probed, now) for probed in found))
    return page(call, "connections.html", context)


def _connection(probed: Probed, now: datetime) -> Connection:
    days_ago = (now - probed.probed_at).days if probed.probed_at else 0
    return Connection(
        name=probed.connection,
        probed_at=probed.probed_at,
        days_ago=days_ago,
        stale=days_ago >= STALE_DAYS,
        holding=sum(verdict.holds for verdict in probed.verdicts),
        rights=probed.rights,
        verdicts=tuple(sorted(probed.verdicts, key=lambda v: (v.holds, v.line))),
    )
