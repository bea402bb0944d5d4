"""Whether this process lives, whether it can serve, and what it counts. No patient data."""

import asyncio

import orjson
from starlette.responses import Response

from chartgate.errors import ChartgateError
from chartgate.flows import atna, handoffs
from chartgate.flows.feed_status import quarantine_figures
from chartgate.flows.ledger import unsigned_s
from chartgate.gate import Gate
from chartgate.web.routes import Call, Guard, Route

QUARANTINE_EVERY_S = 5.0  # the route is public: asking it often must not load the store
STORE_TIMEOUT_S = 1.5  # an orchestrator asks every few seconds and wants an answer


async def live(call: Call) -> Response:
    """200 while the event loop turns."""
    return _json({"status": "live"})


async def ready(call: Call) -> Response:
    """200 if a read could be served now; else 503, with what is missing."""
    problems = [problem for problem in await _problems(call.gate) if problem]
    if problems:
        return _json({"status": "not ready", "problems": problems}, status=503)
    return _json({"status": "ready"})


async def metrics(call: Call) -> Response:
    """The counters of this process, for Prometheus."""
    gate = call.gate
    connections = gate.connections
    gate.metrics.show_breakers(
        {name: breaker.state for name, breaker in connections.breakers.items()}
        if connections
        else {}
    )
    gate.metrics.show_refusals(gate.database.refusals.counts)
    gate.metrics.audit_queued.set(gate.audit.queued)
    gate.metrics.kept_bytes.set(gate.caches.minimised.size)
    await _show_quarantine(gate)
    return Response(gate.metrics.render(), media_type=gate.metrics.content_type)


async def _show_quarantine(gate: Gate) -> None:
    """Looks it up anew now and then. Without a store nothing of it is shown, rather than what
    was so once."""
    now, shown_at = gate.clock(), gate.metrics.quarantine_shown_at
    if shown_at and (now - shown_at).total_seconds() < QUARANTINE_EVERY_S:
        return
    gate.metrics.quarantine_shown_at = now
    try:
        gate.metrics.show_quarantine(await quarantine_figures(gate))
        lags = {each.destination: each.lag for each in await atna.standing(gate)}
        gate.metrics.show_audit(lags, await unsigned_s(gate))
        gate.metrics.handoffs.show(*await handoffs.figures(gate))
    except ChartgateError:
        gate.metrics.show_quarantine(())
        gate.metrics.handoffs.show((), {})


async def _problems(gate: Gate) -> list[str | None]:
    return [
        await _store_problem(gate),
        None if gate.charters.charters else "no charter is loaded",
        None if gate.audit.is_open else "the audit writer is closed",
        await _proof_problem(gate),
    ]


async def _store_problem(gate: Gate) -> str | None:
    try:
        async with asyncio.timeout(STORE_TIMEOUT_S):
            await gate.database.fetch_value("SELECT $1")
    except (ChartgateError, TimeoutError):
        return "the store cannot be reached"
    return None


async def _proof_problem(gate: Gate) -> str | None:
    """The store itself is asked about apart."""
    if gate.database.proven is None:
        return None
    try:
        await gate.database.proven()
    except ChartgateError:
        return "the audit has had no signed head for too long"
    return None


def _json(value: dict[str, object], *, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")


ROUTES = (
    Route(method="GET", path="/health/live", endpoint=live, guard=Guard.PUBLIC, name="health-live"),
    Route(
        method="GET", path="/health/ready", endpoint=ready, guard=Guard.PUBLIC, name="health-ready"
    ),
    Route(method="GET", path="/metrics", endpoint=metrics, guard=Guard.PUBLIC, name="metrics"),
)
