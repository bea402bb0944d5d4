"""The walk of `chartgate probe CONNECTION`: try the live system, store what came out, act by it."""

from collections.abc import Callable

from chartgate.errors import ChartgateError, ConfigError
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.ports import Probe
from chartgate.model.verdict import Verdict
from chartgate.store.verdicts import VerdictStore


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
