"""Notifications: signed, numbered, in order, tried for ever, and no destination delays another."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from chartgate.demo.client import signature_holds
from chartgate.flows import events, intake, notifications
from chartgate.flows.consent_records import bring_in
from chartgate.gate import Gate
from chartgate.model.message import Received
from chartgate.model.principal import Process
from chartgate.policy.charters import CharterBook, compile_book
from chartgate.policy.content import check_resource
from chartgate.store.database import Database
from chartgate.store.outbox import OutboxStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.messages import adt, siu
from tests.flows.clinics import SITE
from tests.flows.feeds import CHARTER, CLIENT, FEED, SECRET, feed_gate
from tests.flows.test_consented import dissent


@dataclass(kw_only=True)
class Destination:
    """An AI client's endpoint that keeps what it was sent."""

    url: str = ""
    status: int = 204
    delay_s: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.raw.append(await request.read())
        self.bodies.append(orjson.loads(self.raw[-1]))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        await asyncio.sleep(self.delay_s)
        headers = {"location": "/elsewhere"} if self.status == 302 else {}
        return web.Response(status=self.status, headers=headers)

    @property
    def numbers(self) -> list[int]:
        return [number_of(body) for body in self.bodies]


def number_of(bundle: dict[str, Any]) -> int:
    return int(values(bundle)["events-since-subscription-start"]["valueString"])


def values(bundle: dict[str, Any]) -> dict[str, Any]:
    return {p["name"]: p for p in bundle["entry"][0]["resource"]["parameter"]}


@pytest.fixture
async def destinations() -> AsyncIterator[tuple[Destination, Destination]]:
    pair = (Destination(), Destination())
    app = web.Application()
    for number, destination in enumerate(pair):
        app.add_routes([web.post(f"/{number}", destination.take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    for number, destination in enumerate(pair):
        destination.url = f"http://127.0.0.1:{port}/{number}"
    yield pair
    await runner.cleanup()


@pytest.fixture
async def gate(
    database: Database,
    clock: FakeClock,
    tmp_path: Path,
    destinations: tuple[Destination, Destination],
) -> AsyncIterator[Gate]:
    one, other = destinations
    opened = feed_gate(
        database, clock, tmp_path,
        notify_url=one.url, more_clients={"other": other.url}, id_from="identifier",
    )  # fmt: skip
    await opened.audit.start()
    yield opened
    await opened.audit.close()


@pytest.fixture
async def http(gate: Gate) -> AsyncIterator[aiohttp.ClientSession]:
    async with notifications.open_client(gate) as session:
        yield session


def parts(bundle: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and references of what the event is about."""
    return [
        (part["name"], part["valueReference"]["reference"].rpartition(SITE + "/")[2])
        for part in values(bundle)["notification-event"]["part"]
        if "valueReference" in part
    ]


def reading(gate: Gate, *types: str) -> CharterBook:
    """The running charter with nothing but these resource types under `reads`."""
    charter = gate.charters.charters[CHARTER]
    reads = {name: charter.reads[name] for name in types}
    return compile_book([replace(charter, reads=reads)])


async def happen(gate: Gate, *raws: bytes) -> None:
    await intake.accept(gate, [Received(connection=FEED, raw=raw) for raw in raws])
    while await events.process_next(gate):
        pass


async def deliver_next(gate: Gate, http: aiohttp.ClientSession) -> int:
    """A worker that takes up what is due, and ends; how many were delivered meanwhile."""
    before = await delivered(gate)
    async with notifications.open_deliveries(gate, http) as deliveries:
        await deliveries.start_due()
    return await delivered(gate) - before


async def delivered(gate: Gate) -> int:
    rows = await gate.database.fetch(
        "SELECT FROM notification WHERE tenant = $1 AND delivered_at IS NOT NULL"
    )
    return len(rows)


async def test_event_when_subscribed_to_is_told_signed_and_by_reference_only(
    gate: Gate, http: aiohttp.ClientSession, destinations: tuple[Destination, Destination]
) -> None:
    await happen(gate, siu("S12", appointment="A1", mrn="p1"))
    assert await deliver_next(gate, http) == 2
    one, _ = destinations
    now_s = gate.clock().timestamp()
    assert signature_holds(SECRET, one.headers[0], one.raw[0], now_s=now_s)
    assert one.headers[0]["webhook-id"] == f"{CHARTER}:{CLIENT}:1"
    event = {p["name"]: p for p in values(one.bodies[0])["notification-event"]["part"]}
    base = f"http://127.0.0.1:8480/fhir/{SITE}"
    assert event["focus"]["valueReference"]["reference"] == f"{base}/Appointment/A1"
    assert event["additional-context"]["valueReference"]["reference"] == f"{base}/Patient/p1"
    assert values(one.bodies[0])["topic"]["valueCanonical"] == "urn:chartgate:topic:SIU-S12"
    check_resource(one.bodies[0])
    assert b"Example" not in one.raw[0]
    assert await deliver_next(gate, http) == 0


@pytest.mark.parametrize(
    ("types", "told"),
    [
        (["Appointment"], [("focus", "Appointment/A1")]),
        (["Patient"], [("additional-context", "Patient/p1")]),
        (["Slot"], []),
    ],
)
async def test_event_names_only_types_that_the_running_charter_reads(
    gate: Gate,
    http: aiohttp.ClientSession,
    destinations: tuple[Destination, Destination],
    types: list[str],
    told: list[tuple[str, str]],
) -> None:
    await happen(gate, siu("S12", appointment="A1", mrn="p1"))
    gate.running.charters = reading(gate, *types)
    assert await deliver_next(gate, http) == 2
    one, _ = destinations
    assert parts(one.bodies[0]) == told
    check_resource(one.bodies[0])
    for action in ("notification.send", "notification.deliver"):
        rows = await gate.database.fetch(
            "SELECT body FROM audit_event WHERE tenant = $1 AND action = $2", action
        )
        found = [orjson.loads(row["body"]).get("entities", []) for row in rows]
        assert found == [[reference for _, reference in told]] * 2


async def test_event_about_a_patient_who_objects_names_nothing(
    gate: Gate, http: aiohttp.ClientSession, destinations: tuple[Destination, Destination]
) -> None:
    await happen(gate, siu("S12", appointment="A1", mrn="p1"))
    await bring_in(gate, Process(id="cli"), SITE, [dissent("Patient/p1")])
    assert await deliver_next(gate, http) == 2
    one, _ = destinations
    assert parts(one.bodies[0]) == []
    assert one.numbers == [1], "numbers have no gaps"
    assert b"p1" not in one.raw[0]


async def test_event_when_the_audit_cannot_be_written_is_not_sent(
    gate: Gate, http: aiohttp.ClientSession, destinations: tuple[Destination, Destination]
) -> None:
    await happen(gate, siu("S12"))
    await gate.audit.close()
    with capture_logs() as logs:
        assert await deliver_next(gate, http) == 0
    assert {one["error"] for one in logs} == {"Unavailable"}
    assert [d.bodies for d in destinations] == [[], []]


async def test_event_when_no_charter_asks_for_it_is_told_to_nobody(
    gate: Gate, http: aiohttp.ClientSession
) -> None:
    await happen(gate, adt("A03"))
    assert await deliver_next(gate, http) == 0


async def test_numbers_have_no_gaps_and_arrive_in_order(
    gate: Gate, http: aiohttp.ClientSession, destinations: tuple[Destination, Destination]
) -> None:
    for first in range(0, 60, 20):
        raws = (adt("A08", f"{n}", mrn=f"p{n}") for n in range(first, first + 20))
        await happen(gate, *raws)
    delivered = 1
    while delivered:
        results = await asyncio.gather(*(deliver_next(gate, http) for _ in range(3)))
        delivered = sum(results)
    for destination in destinations:
        assert destination.numbers == list(range(1, 61))


@pytest.mark.parametrize("status", [500, 404, 302, 410])
async def test_destination_when_it_refuses_is_tried_again_later_and_later(
    gate: Gate,
    clock: FakeClock,
    http: aiohttp.ClientSession,
    destinations: tuple[Destination, Destination],
    status: int,
) -> None:
    one, other = destinations
    one.status = status
    await happen(gate, siu("S12", "1"), siu("S12", "2", appointment="A2"))
    assert await deliver_next(gate, http) == 2
    assert (one.numbers, other.numbers) == ([1], [1, 2])
    assert await deliver_next(gate, http) == 0
    for attempt in range(12):
        clock.advance(gate.config.worker.backoff_cap_s if attempt else 1.01)
        await deliver_next(gate, http)
    [stuck] = await OutboxStore(gate.database).stuck()
    assert (stuck.client, stuck.waiting, stuck.number, stuck.attempts, stuck.last_error) == (
        CLIENT, 2, 1, 13, f"answered {status}",
    )  # fmt: skip
    one.status = 204
    clock.advance(gate.config.worker.backoff_cap_s)
    assert await deliver_next(gate, http) == 2
    assert one.numbers[-2:] == [1, 2]
    assert await OutboxStore(gate.database).stuck() == ()
    assert len({h["webhook-id"] for h in one.headers}) == 2


async def test_destination_when_slow_delays_no_other(
    gate: Gate,
    clock: FakeClock,
    http: aiohttp.ClientSession,
    destinations: tuple[Destination, Destination],
) -> None:
    one, other = destinations
    one.delay_s = 5
    await happen(gate, siu("S12", "1"))
    slow = asyncio.create_task(deliver_next(gate, http))
    async with asyncio.timeout(5):
        while not (one.bodies and other.bodies):
            await asyncio.sleep(0.01)
        await happen(gate, siu("S12", "2", appointment="A2"))
        while len(other.bodies) < 2:
            await deliver_next(gate, http)
    assert not slow.done()
    assert await slow == 2, "those of the other"
    [stuck] = await OutboxStore(gate.database).stuck()
    assert (stuck.client, stuck.last_error) == (CLIENT, "TimeoutError")
    assert one.numbers == [1]


async def test_worker_when_one_destination_hangs_goes_on_with_the_others(
    gate: Gate, http: aiohttp.ClientSession, destinations: tuple[Destination, Destination]
) -> None:
    """One worker, one loop: it may not wait for the one that hangs."""
    one, other = destinations
    one.delay_s = 5
    async with notifications.open_deliveries(gate, http) as deliveries:
        for number in range(1, 6):
            await happen(gate, siu("S12", f"{number}", appointment=f"A{number}"))
            await deliveries.start_due()
            async with asyncio.timeout(gate.config.worker.notify_timeout_s / 2):
                while len(other.bodies) < number:
                    await asyncio.sleep(0.005)
    assert other.numbers == [1, 2, 3, 4, 5]
    assert set(one.numbers) == {1}


async def test_worker_takes_up_by_itself_what_came_while_it_was_sending(
    gate: Gate,
    http: aiohttp.ClientSession,
    destinations: tuple[Destination, Destination],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever woke it meanwhile found the destinations taken."""
    go_on, send = asyncio.Event(), notifications._send

    async def held_up(*arguments: Any) -> str:
        await go_on.wait()
        return await send(*arguments)

    monkeypatch.setattr(notifications, "_send", held_up)
    async with notifications.open_deliveries(gate, http) as deliveries:
        await happen(gate, siu("S12", "1"))
        assert await deliveries.start_due() == 2
        await happen(gate, siu("S12", "2", appointment="A2"))
        assert await deliveries.start_due() == 0
        go_on.set()
        async with asyncio.timeout(5):
            while any(destination.numbers != [1, 2] for destination in destinations):
                await asyncio.sleep(0.005)


async def test_lease_when_its_holder_died_runs_out(
    gate: Gate,
    clock: FakeClock,
    http: aiohttp.ClientSession,
    destinations: tuple[Destination, Destination],
) -> None:
    await happen(gate, siu("S12"))
    until = clock.advance(1)
    await OutboxStore(gate.database).claim(at=clock(), lease_until=until, count_max=1)
    clock.advance(-1)
    assert await deliver_next(gate, http) == 0
    clock.advance(2)
    assert await deliver_next(gate, http) == 2


async def test_secret_when_it_cannot_be_read_is_told_and_nothing_is_sent(
    gate: Gate, http: aiohttp.ClientSession, destinations: tuple[Destination, Destination]
) -> None:
    (gate.config.folder / "client.whsec").unlink()
    await happen(gate, siu("S12"))
    assert await deliver_next(gate, http) == 0
    assert [bool(d.bodies) for d in destinations] == [False, False]
    assert "notify_secret_file" in (await OutboxStore(gate.database).stuck())[0].last_error
