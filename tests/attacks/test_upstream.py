"""Attacks on the credentials with which Chartgate itself asks: nobody's go where they do not belong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from joserfc.jwk import ECKey

from chartgate.adapters.egress import address_rules
from chartgate.adapters.fhir_r4.adapter import FhirR4, open_adapter
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.config import Config, ConnectionConfig
from chartgate.demo.hospital import Hospital, RegisteredClient, running_hospital
from chartgate.demo.hospital.app import HospitalApp
from chartgate.demo.hospital.exchange import Refused
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.attacks.contract import CANARY, refused
from tests.flows.clinics import EHR
from tests.flows.ledgers import open_ledger
from tests.web.front_desk import Answer, FrontDesk

SITE = "/fhir/north-clinic"
PATIENT = {"resourceType": "Patient", "id": "guarded", "name": [{"family": "Guarded"}]}
SLOT = {
    "resourceType": "Slot",
    "id": "guarded",
    "schedule": {"reference": "Schedule/1"},
    "status": "free",
    "start": "2026-03-03T09:00:00Z",
    "end": "2026-03-03T09:30:00Z",
}


@asynccontextmanager
async def guarded(
    desk: FrontDesk, folder: Path, name: str
) -> AsyncIterator[tuple[Hospital, FhirR4]]:
    """A hospital that wants a token, and our connection to it with a key of its own."""
    key = ECKey.generate_key("P-384")
    (folder / f"{name}.pem").write_bytes(key.as_pem(private=True))
    (folder / f"{name}.pem").chmod(0o600)
    public = {**key.as_dict(private=False), "kid": key.thumbprint()}
    client = RegisteredClient(client_id=name, jwks={"keys": [public]})
    async with running_hospital(clients=[client], clock=desk.clinic.clock) as hospital:
        hospital.edit(PATIENT)
        hospital.edit(SLOT)
        options = {
            "url": hospital.fhir_url,
            "dialect": "sample-hospital",
            "client_id": name,
            "key_file": f"{name}.pem",
            "key_alg": "ES384",
            "token_url": hospital.token_url,
            "scope": "system/*.cruds",
            "retries": 0,
        }
        connection = ConnectionConfig(name=name, adapter="fhir_r4", options=options)
        verdicts = {line: (True, "test") for line in PROBED}
        async with open_adapter(
            connection,
            folder=folder,
            clock=desk.clinic.clock,
            verdicts=verdicts,
            egress=address_rules(Config(folder=folder)),
        ) as adapter:
            yield hospital, adapter


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What every hospital of the test was told in `Authorization`, with the host it was sent to."""
    found: list[tuple[str, str]] = []
    answer = HospitalApp.__call__

    async def listening(app: HospitalApp, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        sent = headers.get(b"authorization", b"").decode()
        found.append((headers.get(b"host", b"").decode(), sent))
        await answer(app, scope, receive, send)

    monkeypatch.setattr(HospitalApp, "__call__", listening)
    return found


@asynccontextmanager
async def asking(desk: FrontDesk, adapter: FhirR4) -> AsyncIterator[None]:
    """The gate's connection is this one for a while."""
    sources = cast(dict[str, Any], desk.gate.sources)
    held, sources[EHR] = sources[EHR], adapter
    try:
        yield
    finally:
        sources[EHR] = held


async def test_T_07_token_of_a_client_is_never_passed_on(
    desk: FrontDesk, bearer: dict[str, str], heard: list[tuple[str, str]], tmp_path: Path
) -> None:
    """Upstream sees a token of our own, whatever the client sends beside its own."""
    inbound = bearer["Authorization"].partition(" ")[2]
    extra = {"X-Access-Token": inbound, "X-Forwarded-Authorization": f"Bearer {inbound}"}
    async with guarded(desk, tmp_path, "ours") as (_, adapter), asking(desk, adapter):
        way = desk.ask("GET", f"{SITE}/Patient/guarded", headers=bearer | extra)
        assert (await way).status == 200
    upstream = [sent for _, sent in heard if sent]
    assert upstream
    assert all(sent.startswith("Bearer ") and inbound not in sent for sent in upstream)


async def test_T_08_token_of_ours_is_never_echoed(
    desk: FrontDesk,
    bearer: dict[str, str],
    heard: list[tuple[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not in an answer, an error, a header, a log, the metrics or the audit; also where the system
    of record quotes it in its own error."""
    answers: list[Answer] = []
    async with guarded(desk, tmp_path, "ours") as (hospital, adapter), asking(desk, adapter):
        answers.append(await desk.ask("GET", f"{SITE}/Slot/guarded", headers=bearer))
        [token] = {sent.partition(" ")[2] for _, sent in heard if sent}
        monkeypatch.setattr(hospital.app, "_perform", quoting(token))
        monkeypatch.setattr(hospital.app, "_quick_read", closed)
        for path in ("/Patient/other", "/Slot?status=free"):
            way = lambda p=path: desk.ask("GET", SITE + p, headers=bearer)
            answers.append(await refused(desk, way, status=(400, 404, 502, 503)))
    answers.append(await desk.ask("GET", "/metrics"))
    shown = "".join(a.text + repr(list(a.headers.items())) for a in answers)
    assert token not in shown
    assert token not in "".join(capfd.readouterr())
    rows = await desk.gate.database.fetch("SELECT body FROM audit_event WHERE tenant = $1")
    assert all(token.encode() not in bytes(row["body"]) for row in rows)


def quoting(token: str) -> Any:
    """A system of record that says back what it was told."""

    def perform(*_: Any) -> None:
        raise Refused(422, "processing", f"{CANARY} not with Bearer {token}")

    return perform


async def closed(*_: Any) -> bool:
    """The hospital's short way to an answer."""
    return False


async def test_E_04_credentials_of_one_system_are_not_shown_to_another(
    desk: FrontDesk, heard: list[tuple[str, str]], tmp_path: Path
) -> None:
    """Two connections asked at once, many times: each hospital hears its own token only."""
    async with (
        guarded(desk, tmp_path, "north") as (north, to_north),
        guarded(desk, tmp_path, "south") as (south, to_south),
    ):
        both = [a.read("Patient/guarded") for _ in range(10) for a in (to_north, to_south)]
        await asyncio.gather(*both)
        tokens = {
            hospital.port: {
                sent for host, sent in heard if sent and host.endswith(str(hospital.port))
            }
            for hospital in (north, south)
        }
    assert all(tokens.values())
    assert not tokens[north.port] & tokens[south.port]


EDITS = {
    "edited": "UPDATE audit_event SET body = set_byte(body, 20, 65) WHERE tenant = 'main' "
    "AND id = (SELECT min(id) FROM audit_event WHERE tenant = 'main')",
    "deleted": "DELETE FROM audit_event WHERE tenant = 'main' "
    "AND id = (SELECT min(id) FROM audit_event WHERE tenant = 'main')",
}


@pytest.mark.parametrize("how", EDITS)
async def test_E_08_ledger_that_was_changed_behind_its_back(
    database: Database, clock: FakeClock, tmp_path: Path, how: str
) -> None:
    """The next verification says so, and names nothing of what it holds. All ways of tampering,
    by the thousand, and a stranger with the witness: tests/flows/test_ledger.py and
    benchmarks/tamper.py."""
    async with open_ledger(database, clock, tmp_path) as ledger:
        await ledger.grow(20, 5)
        assert (await ledger.verify()).holds
        async with database.bookkeeping() as connection:
            await connection.execute(EDITS[how])
        verdict = await ledger.verify()
    assert not verdict.holds
    assert verdict.findings
    assert not [finding for finding in verdict.findings if "Patient/" in finding]
