"""No audit, no answer: with the sink blocked in whatever way, nothing leaves and nothing changes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from chartgate.flows import people
from tests.flows.clinics import SITE
from tests.web.api.test_proposals import booking
from tests.web.front_desk import PASSWORD, Answer, FrontDesk, Session

Blocked = Callable[[], AbstractAsyncContextManager[None]]
TABLES = ("access_token", "person_session", "proposal", "proposal_content", "handoff", "halt",
          "interaction", "read_set", "audit_event")  # fmt: skip


@pytest.fixture(params=["refused", pytest.param("locked", marks=pytest.mark.slow), "gone"])
def blocked(request: pytest.FixtureRequest, database_url: str, postgres_admin: Any) -> Blocked:
    """Three ways: events are refused (as on a full disk), nobody gets at them, or there is no
    store at all."""

    @asynccontextmanager
    async def refused() -> AsyncIterator[None]:
        connection = await asyncpg.connect(database_url)
        await connection.execute(
            "ALTER TABLE audit_event ADD CONSTRAINT sink_is_full CHECK (false) NOT VALID"
        )
        try:
            yield
        finally:
            await connection.execute("ALTER TABLE audit_event DROP CONSTRAINT sink_is_full")
            await connection.close()

    @asynccontextmanager
    async def locked() -> AsyncIterator[None]:
        connection = await asyncpg.connect(database_url)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE")
        try:
            yield
        finally:
            await transaction.rollback()
            await connection.close()

    @asynccontextmanager
    async def gone() -> AsyncIterator[None]:
        name = urlsplit(database_url).path.removeprefix("/")
        await postgres_admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await postgres_admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        try:
            yield
        finally:
            await postgres_admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    ways = {"refused": refused, "locked": locked, "gone": gone}
    chosen: Blocked = ways[request.param]
    return chosen


async def stored(database_url: str) -> dict[str, int]:
    """How many rows there are of everything that a request could leave."""
    connection = await asyncpg.connect(database_url, server_settings={"chartgate.tenant": "main"})
    counts = {t: await connection.fetchval(f"SELECT count(*) FROM {t}") for t in TABLES}  # noqa: S608
    await connection.close()
    return counts


async def knocks(desk: FrontDesk) -> list[tuple[str, str, dict[str, Any]]]:
    """One request of each kind, with sound credentials and what it needs."""
    agent = await desk.bearer()
    proposal = await desk.clinic.booked()
    sofia = await desk.sign_in()
    await people.add_person(desk.gate, "pia", PASSWORD, ["privacy-officer"], [SITE])
    signed_in = await people.sign_in(desk.gate, "pia", PASSWORD)
    pia = Session(name="pia", cookie=signed_in.cookie, csrf=signed_in.csrf)
    body = await booking(desk, agent)
    patient = next(reference for reference in _references(body) if reference.startswith("Patient/"))
    verdict = {"verdict": "approve", "digest": proposal.content.digest}
    form = desk.served.opened.token_form(desk.served.opened.assertion("scribe"))
    place = f"/v1/proposals/{proposal.id}"
    wrong = {"name": "sofia", "password": "wrong password"}
    return [
        ("GET", f"/fhir/{SITE}/{patient}", {"headers": agent}),
        ("GET", f"/fhir/{SITE}/Slot?status=free", {"headers": agent}),
        ("GET", f"/fhir/{SITE}/Condition/1", {"headers": agent}),
        ("POST", f"/fhir/{SITE}/Slot", {"headers": agent, "json": {"resourceType": "Slot"}}),
        ("POST", "/v1/proposals", {"headers": agent, "json": body}),
        ("GET", "/v1/proposals", {"headers": sofia.headers}),
        ("GET", place, {"headers": sofia.headers}),
        ("GET", f"/proposals/{proposal.id}", {"headers": sofia.headers}),
        ("GET", "/", {"headers": sofia.headers}),
        ("POST", f"{place}/review", {"headers": sofia.changing, "json": verdict}),
        ("POST", "/oauth/token", {"form": form}),
        ("POST", "/v1/session", {"json": {"name": "sofia", "password": PASSWORD}}),
        ("POST", "/v1/session", {"json": wrong}),
        ("GET", "/v1/handoffs", {"headers": sofia.headers}),
        ("GET", f"/v1/audit?patient={patient}", {"headers": pia.headers}),
        ("GET", f"/fhir/{SITE}/{patient}", {}),
    ]


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [r for v in value.values() for r in _references(v)]
    return [r for v in value for r in _references(v)] if isinstance(value, list) else []


def canaries(desk: FrontDesk) -> list[str]:
    """What would give the patient of the booking away."""
    resource = desk.clinic.hospital.resource(desk.clinic.hospital.scenario.booking_patient)
    found = [name["family"] for name in resource["name"]]
    found += [resource["birthDate"], *(i["value"] for i in resource.get("identifier", ()))]
    return [text for text in found if len(text) > 3]


async def test_with_the_sink_blocked_every_walk_answers_nothing_and_changes_nothing(
    desk: FrontDesk, blocked: Blocked, database_url: str
) -> None:
    asked = await knocks(desk)
    secrets = canaries(desk)
    assert len(secrets) > 1
    before = await stored(database_url)
    async with blocked():
        answers: list[Answer] = await asyncio.gather(
            *(desk.ask(method, path, **more) for method, path, more in asked)
        )
    for (method, path, _), answer in zip(asked, answers, strict=True):
        assert answer.status == 503, (method, path, answer.status, answer.text[:200])
        assert not [text for text in secrets if text in answer.text], path
        assert "set-cookie" not in {name.lower() for name in answer.headers}, path
        assert "access_token" not in answer.text, path
    after = await stored(database_url)
    # An event that got in when its caller had gone says that we were about to answer: no more. The
    # read set and the interaction of a read come with its event, in one statement.
    events = after.pop("audit_event") - before.pop("audit_event")
    for table in ("read_set", "interaction"):
        assert 0 <= after.pop(table) - before.pop(table) <= events
    assert after == before
    for method, path, more in asked[:2]:  # and it goes on by itself
        assert (await desk.ask(method, path, **more)).status == 200
