"""The walk of `chartgate probe CONNECTION`: try the live system, store what came out, act by it.

Also what the last probe of each connection left: verdicts with their date, and write rights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chartgate.errors import ChartgateError, ConfigError
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.ports import Probe, Rights
from chartgate.model.verdict import DatedVerdict, Verdict, WriteRight
from chartgate.store.verdicts import VerdictStore


@dataclass(frozen=True, kw_only=True)
class Probed:
    """A connection that can be written, and what is known of it. Never probed: no verdicts."""

    connection: str
    verdicts: tuple[DatedVerdict, ...]
    rights: tuple[WriteRight, ...]  # empty where its adapter does not tell

    @property
    def probed_at(self) -> datetime | None:
        """When it was last probed; None if never."""
        return max((verdict.probed_at for verdict in self.verdicts), default=None)


async def last(gate: Gate) -> tuple[Probed, ...]:
    """Each connection that can be written, as its last probe left it. Raises Unavailable."""
    kept = await VerdictStore(gate.database).kept()
    return tuple(
        Probed(
            connection=name,
            verdicts=tuple(verdict for verdict in kept if verdict.connection == name),
            rights=sink.write_rights() if isinstance(sink, Rights) else (),
        )
        for name, sink in sorted(gate.sinks.items())
        if isinstance(sink, Probe)
    )


async def last_of(gate: Gate, connection: str) -> Probed:
    """One connection as its last probe left it. Raises ConfigError, Unavailable."""
    gate.sink(connection)
    for probed in await last(gate):
        if probed.connection == connection:
            return probed
    raise ConfigError(f"the adapter of {connection} has no probe")


def _quiet(verdict: Verdict) -> None:
    """Nobody watches."""


async def probe(
    gate: Gate,
    connection: str,
    *,
    agent: str = "process:probe",
    report: Callable[[Verdict], None] = _quiet,
) -> tuple[Verdict, ...]:
    """Tries each line of the connection's dialect and stores the verdicts; `report` sees each as
    it falls. A probe that could not be finished changes no verdict.

    Raises ConfigError, SourceUnreachable, Throttled, Unavailable.
    """
    adapter = gate.sink(connection)
    if not isinstance(adapter, Probe):
        raise ConfigError(f"the adapter of {connection} has no probe")
    try:
        verdicts = await adapter.probe(report)
    except ChartgateError as error:
        reason = f"not finished: {error.issue}"
        failed = _event(gate, connection, agent=agent, outcome=Outcome.FAILED, reason=reason)
        async with gate.database.change(failed):
            pass
        raise
    holding = [verdict.line for verdict in verdicts if verdict.holds]
    reason = f"{len(holding)} of {len(verdicts)} lines hold"
    event = _event(gate, connection, agent=agent, outcome=Outcome.SUCCESS, reason=reason)
    store = VerdictStore(gate.database)
    await store.put(connection, verdicts, probed_at=gate.clock(), audit=event)
    adapter.adopt(await store.of(connection))
    return verdicts


def _event(gate: Gate, connection: str, *, agent: str, outcome: Outcome, reason: str) -> AuditEvent:
    return AuditEvent(
        recorded=gate.clock(),
        action="connection.probe",
        agent=agent,
        outcome=outcome,
        entities=(f"Connection/{connection}",),
        reason=reason,
    )
