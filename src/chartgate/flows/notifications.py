"""Telling AI clients what happened: numbered, signed, in order, until it is taken.

Each subscription (an AI client under one charter) is a queue of its own. The first undelivered
notification is sent; the next waits for it. A destination that is down is tried for ever, ever
more rarely, and delays no other. Each try is in the audit before it goes out, and names only resources
of types that the charter reads.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import aiohttp
import structlog

from chartgate.adapters.egress import open_session
from chartgate.errors import ChartgateError, ConfigError
from chartgate.flows.consents import Asked, decide_for
from chartgate.flows.tokens import contract_flaw
from chartgate.formats.canonical import canonical_bytes
from chartgate.formats.compartment import PREFIX
from chartgate.formats.webhooks import parse_secret, signed_headers
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.consent import ConsentQuestion
from chartgate.model.message import Notification
from chartgate.store.outbox import OutboxStore, Subscription

LOG = structlog.get_logger()
AGENT = "process:worker"
IDS = UUID("5d0d2f0e-8f43-5e2b-8c3a-6a0f0a4b8f11")  # the namespace of subscription ids
OWN = "Proposal/"  # begins the focus of an event that no message brought
PROFILES = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
IN_A_ROW_MAX = 50  # to one destination before the others are looked at again
DESTINATIONS_MAX = 100  # under way at once; a hospital has a handful
DRAIN_S = 5.0  # for sends under way when the worker ends
LEASE_S = 5.0  # beyond one time-out; no send begins that could outlast it


def subscribers_of(gate: Gate, *, site: str, kind: str) -> tuple[Subscription, ...]:
    """The clients that a charter wants told of this kind of event at this site."""
    found = []
    for charter in gate.charters.charters.values():
        if kind in charter.events and site in charter.sites:
            for client in charter.clients:
                config = gate.config.clients.get(client)
                if config is not None and config.notify_url:
                    found.append((client, charter.name))
    return tuple(sorted(found))


class Deliveries:
    """What this worker sends at the moment: each destination has a task of its own, so that one
    that hangs holds up no other. Opened by `open_deliveries`."""

    def __init__(self, gate: Gate, http: aiohttp.ClientSession) -> None:
        self._gate = gate
        self._http = http
        self._tasks: set[asyncio.Task[int]] = set()
        self._stopping = False

    async def start_due(self) -> int:
        """Takes up destinations for which something is due that nobody sends; how many. Raises
        Unavailable."""
        if self._stopping or len(self._tasks) >= DESTINATIONS_MAX:
            return 0
        claimed, lease_until = await _claim(self._gate)
        for some in claimed:
            task = asyncio.create_task(self._work_off(some, lease_until), name="notifications")
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        return len(claimed)

    async def close(self) -> None:
        """Lets sends under way end, but not for long: what is cut off is sent again later."""
        self._stopping = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=DRAIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _work_off(self, claimed: Sequence[Notification], lease_until: datetime) -> int:
        sent = await _deliver_in_a_row(self._gate, self._http, claimed, lease_until)
        if sent == len(claimed):
            await self.start_due()  # what was added behind them meanwhile woke nobody
        return sent

    def _ended(self, task: asyncio.Task[int]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ChartgateError):
            LOG.warning(
                "notifications.interrupted",
                error=type(error).__name__,
                detail=error.operator_detail,
            )
        elif error is not None:
            LOG.error("notifications.own_fault", error=type(error).__name__)


def open_client(gate: Gate) -> aiohttp.ClientSession:
    """What notifications are sent with: it reaches each client's notify_url, and nothing else.
    Raises ConfigError."""
    urls = (client.notify_url for client in gate.config.clients.values())
    return open_session(
        gate.config, allow=filter(None, urls), timeout_s=gate.config.worker.notify_timeout_s
    )


@asynccontextmanager
async def open_deliveries(gate: Gate, http: aiohttp.ClientSession) -> AsyncIterator[Deliveries]:
    """For one worker; what is under way when it ends has a moment to be finished."""
    deliveries = Deliveries(gate, http)
    try:
        yield deliveries
    finally:
        await deliveries.close()


async def _claim(gate: Gate) -> tuple[Sequence[Sequence[Notification]], datetime]:
    now = gate.clock()
    lease_until = now + timedelta(seconds=gate.config.worker.notify_timeout_s + LEASE_S)
    claimed = await OutboxStore(gate.database).claim(
        at=now, lease_until=lease_until, count_max=IN_A_ROW_MAX
    )
    return claimed, lease_until


async def _deliver_in_a_row(
    gate: Gate,
    http: aiohttp.ClientSession,
    claimed: Sequence[Notification],
    lease_until: datetime,
) -> int:
    """Sends the notifications of one subscription, until one fails or the lease runs out."""
    outbox = OutboxStore(gate.database)
    send_until = lease_until - timedelta(seconds=gate.config.worker.notify_timeout_s)
    for count, notification in enumerate(claimed):
        if gate.clock() > send_until:
            await outbox.release(notification, lease_until=lease_until)
            return count
        told = await _permitted(gate, notification)
        error = await _send(gate, http, notification, told)
        now = gate.clock()
        if error:
            await _put_off(gate, notification, error, now)
            await outbox.release(notification, lease_until=lease_until)
            return count
        event = _event(gate, notification, told, "notification.deliver", at=now)
        await outbox.delivered(notification, event, at=now)
    return len(claimed)


async def _put_off(gate: Gate, notification: Notification, error: str, now: datetime) -> None:
    LOG.warning(
        "notifications.failed",
        client=notification.client,
        number=notification.number,
        attempts=notification.attempts + 1,
        error=error,
    )
    retry_at = _retry_at(gate, now, attempts=notification.attempts)
    await OutboxStore(gate.database).failed(notification, next_try_at=retry_at, error=error)


async def _send(
    gate: Gate, http: aiohttp.ClientSession, notification: Notification, told: tuple[str, ...]
) -> str:
    """Empty once it is taken, else what went wrong, without anything that was sent or said.

    Raises Unavailable, and sends nothing, where the audit cannot be written.
    """
    client = gate.config.clients.get(notification.client)
    if client is None or not client.notify_url:
        return "the client has no notify_url"
    if contract_flaw(gate, client.name):
        return "the contract of the client's vendor has ended"
    body = canonical_bytes(notification_bundle(gate, notification, told))
    try:
        key = parse_secret(gate.config.path(client.notify_secret_file).read_text("utf-8"))
    except (OSError, ConfigError):
        return "notify_secret_file cannot be read or holds no secret"
    headers = signed_headers(
        key,
        message_id=f"{notification.charter}:{notification.client}:{notification.number}",
        timestamp_s=int(gate.clock().timestamp()),
        body=body,
    )
    timeout = aiohttp.ClientTimeout(total=gate.config.worker.notify_timeout_s)
    await gate.audit.record(_event(gate, notification, told, "notification.send", at=gate.clock()))
    try:
        async with http.post(
            client.notify_url,
            data=body,
            headers={**headers, "content-type": "application/fhir+json"},
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            return "" if 200 <= response.status < 300 else f"answered {response.status}"
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return type(error).__name__


async def _permitted(gate: Gate, notification: Notification) -> tuple[str, ...]:
    """What may be told now: nothing where a patient whom it names objects, or cannot be asked.
    Raises Unavailable."""
    told = told_of(gate, notification)
    patients = frozenset(r for r in notification.event.focus if r.startswith(PREFIX))
    if not told or not patients:
        return told
    now = gate.clock()
    question = ConsentQuestion(
        patient="",
        purpose=gate.charters.get(notification.charter).purpose_of_use,
        actors=frozenset(),
        at=now,
    )
    asked = Asked(patients=patients, question=question)
    (answer,) = await decide_for(
        gate, notification.event.site, notification.client, [asked], at=now
    )
    return told if answer.permitted else ()


def notification_bundle(
    gate: Gate, notification: Notification, told: Sequence[str]
) -> dict[str, Any]:
    """The FHIR R4 Subscriptions Backport notification, id-only: it names, and the client reads.

    Source: http://hl7.org/fhir/uv/subscriptions-backport
    """
    event = notification.event
    base = f"{gate.config.web.url}/fhir/{event.site}"
    subscription = subscription_id(notification.client, notification.charter)
    at = _instant(event.occurred_at)
    focus = [reference for reference in told if reference == event.focus[0]]
    context = [reference for reference in told if reference != event.focus[0]]
    part: list[dict[str, Any]] = [
        {"name": "event-number", "valueString": str(notification.number)},
        {"name": "timestamp", "valueInstant": at},
        *(
            {"name": name, "valueReference": {"reference": _url(gate, base, reference)}}
            for name, references in (("focus", focus), ("additional-context", context))
            for reference in references
        ),
    ]
    status_id = str(uuid5(IDS, f"{subscription} {notification.number}"))
    status = {
        "resourceType": "Parameters",
        "id": status_id,
        "meta": {"profile": [f"{PROFILES}/backport-subscription-status-r4"]},
        "parameter": [
            {
                "name": "subscription",
                "valueReference": {"reference": f"{base}/Subscription/{subscription}"},
            },
            {"name": "topic", "valueCanonical": topic(event.kind)},
            {"name": "status", "valueCode": "active"},
            {"name": "type", "valueCode": "event-notification"},
            {"name": "events-since-subscription-start", "valueString": str(notification.number)},
            {"name": "notification-event", "part": part},
        ],
    }
    return {
        "resourceType": "Bundle",
        "id": status_id,
        "meta": {"profile": [f"{PROFILES}/backport-subscription-notification-r4"]},
        "type": "history",
        "timestamp": at,
        "entry": [
            {
                "fullUrl": f"urn:uuid:{status_id}",
                "resource": status,
                "request": {"method": "GET", "url": f"{base}/Subscription/{subscription}/$status"},
                "response": {"status": "200"},
            }
        ],
    }


def _url(gate: Gate, base: str, reference: str) -> str:
    """Where the client reads it: what is of our own is no FHIR resource."""
    if reference.startswith(OWN):
        return f"{gate.config.web.url}/v1/proposals/{reference.removeprefix(OWN)}"
    return f"{base}/{reference}"


def told_of(gate: Gate, notification: Notification) -> tuple[str, ...]:
    """Of what the event is about, the references whose types the running charter reads. None for
    whom it tells nothing any more: the number still goes out, since numbers have no gaps."""
    charter = gate.charters.charters.get(notification.charter)
    event = notification.event
    if charter is None or notification.client not in charter.clients:
        return ()
    if event.site not in charter.sites:
        return ()
    return tuple(
        r for r in event.focus if r.startswith(OWN) or r.partition("/")[0] in charter.reads
    )


def subscription_id(client: str, charter: str) -> str:
    """The FHIR id of a subscription."""
    return str(uuid5(IDS, f"{client}|{charter}"))


def topic(kind: str) -> str:
    """The canonical URL of the topic of one kind of event."""
    return f"urn:chartgate:topic:{kind.replace('^', '-')}"


def _retry_at(gate: Gate, now: datetime, *, attempts: int) -> datetime:
    """Exponential with a cap, and jitter over the upper half, so that many do not come at once."""
    worker = gate.config.worker
    longest = min(worker.backoff_cap_s, worker.backoff_base_s * 2.0 ** min(attempts, 32))
    return now + timedelta(seconds=longest * (0.5 + random.random() / 2))


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _event(
    gate: Gate, notification: Notification, told: tuple[str, ...], action: str, *, at: datetime
) -> AuditEvent:
    charter = gate.charters.charters.get(notification.charter)
    return AuditEvent(
        recorded=at,
        action=action,
        agent=AGENT,
        entities=told,
        patient=next((r for r in told if r.startswith("Patient/")), None),
        site=notification.event.site,
        charter=notification.charter,
        charter_digest=charter.digest if charter else None,
        purpose=charter.purpose_of_use if charter else None,
        details=(("client", notification.client), ("number", str(notification.number))),
    )
