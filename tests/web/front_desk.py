"""The sample hospital with the whole gateway on a socket: AI clients with keys, staff who sign in."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from joserfc.jwk import ECKey
from yarl import URL

from chartgate.config import ClientConfig, WebConfig
from chartgate.flows import commits, people, rollbacks
from chartgate.flows.proposals import submit
from chartgate.gate import Gate
from chartgate.model.proposal import Proposal
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import MemorySource, TestGate
from tests.flows.clinics import CLERK, SCRIBE, SITE, Clinic, open_clinic
from tests.web.serving import Served, serve

PASSWORD = "correct horse battery"
ROLES = {"sofia": "scheduler", "dr-osei": "clinician", "nora": "utilisation", "olu": "operator"}
CLIENTS = ("slot-picker", "scribe", "auth-clerk")
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def diagnostics(self) -> str:
        """The sentence of an OperationOutcome."""
        outcome = self.json
        assert outcome["resourceType"] == "OperationOutcome"
        return str(outcome["issue"][0]["diagnostics"])


@dataclass(frozen=True, kw_only=True)
class Session:
    """A person who is signed in."""

    name: str
    cookie: str
    csrf: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": f"chartgate_session={self.cookie}"}

    @property
    def changing(self) -> dict[str, str]:
        """Headers of a request over JSON that changes something."""
        return self.headers | {"X-CSRF-Token": self.csrf}


@dataclass(frozen=True, kw_only=True)
class FrontDesk:
    """What a test of the API or the pages plays with."""

    clinic: Clinic
    served: Served
    added: set[str] = field(default_factory=set)

    @property
    def gate(self) -> Gate:
        return self.served.gate

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Answer:
        """One request, with a JSON body, a form, or bytes as they are."""
        sent = dict(headers or {})
        if json is not None:
            data, kind = orjson.dumps(json), "application/json"
            sent = {"Content-Type": kind} | sent
        url = URL(self.served.url + path, encoded=True)
        async with self.served.http.request(
            method, url, headers=sent, data=form or data, allow_redirects=False
        ) as response:
            return Answer(
                status=response.status, headers=response.headers, body=await response.read()
            )

    async def sign_in(self, name: str = "sofia") -> Session:
        """A session, opened without the API."""
        await self.add(name)
        signed_in = await people.sign_in(self.gate, name, PASSWORD)
        return Session(name=name, cookie=signed_in.cookie, csrf=signed_in.csrf)

    async def add(self, name: str) -> None:
        """An account with the name's role."""
        if name not in self.added:
            await people.add_person(self.gate, name, PASSWORD, [ROLES[name]], [SITE])
            self.added.add(name)

    async def bearer(self, client: str = "slot-picker", *, scope: str = "") -> dict[str, str]:
        """Headers with a token that came from the token endpoint."""
        form = self.served.opened.token_form(self.served.opened.assertion(client), scope=scope)
        answer = await self.ask("POST", "/oauth/token", form=form)
        assert answer.status == 200, answer.text
        return {"Authorization": f"Bearer {answer.json['access_token']}"}

    async def work(self) -> None:
        """What the workers would do, until there is nothing left."""
        for step in (commits.commit_next, commits.verify_next, rollbacks.rollback_next):
            while await step(self.gate, "w1"):
                pass

    async def note(self, text: str = "Seen in clinic; stable.", **changes: Any) -> Proposal:
        """A visit note that the scribe proposed."""
        visit = self.clinic.hospital.scenario.visit
        interaction = await self.clinic.see(SCRIBE, visit)
        patient = self.clinic.hospital.resource(visit)["subject"]["reference"]
        booking = await self.clinic.booking()
        submission = replace(
            booking,
            action="file-note",
            interaction=interaction,
            changes=[
                {"interaction": "create", "resource": note_resource(visit, patient, text=text)}
            ],
            rationale="Drafted from the encounter.",
        )
        return await submit(self.gate, SCRIBE, replace(submission, **changes))

    async def authorisation(self, **changes: Any) -> Proposal:
        """A prior authorisation that the clerk would move on."""
        task = self.clinic.hospital.scenario.authorisation
        interaction = await self.clinic.see(CLERK, task)
        booking = await self.clinic.booking()
        patch = [
            {"op": "replace", "path": "/status", "value": "accepted"},
            {
                "op": "add",
                "path": "/executionPeriod",
                "value": {"start": "2026-03-02T09:00:00Z", "end": "2026-03-16T09:00:00Z"},
            },
        ]
        submission = replace(
            booking,
            action="update-status",
            interaction=interaction,
            changes=[{"interaction": "patch", "reference": task, "patch": patch}],
            confidence=0.91,
            rationale="The payer acknowledged the request.",
        )
        return await submit(self.gate, CLERK, replace(submission, **changes))

    def lengthen_slot(self, proposal: Proposal) -> None:
        """Somebody in the hospital changes the end of the slot that a booking wants."""
        reference = next(c.reference for c in proposal.content.changes if c.reference)
        slot = self.clinic.hospital.resource(reference)
        self.clinic.hospital.edit(slot | {"end": "2026-03-03T23:45:00Z"})

    def take_slot(self, proposal: Proposal) -> None:
        """Somebody in the hospital takes the slot that a booking wants."""
        reference = next(c.reference for c in proposal.content.changes if c.reference)
        slot = self.clinic.hospital.resource(reference)
        self.clinic.hospital.edit(slot | {"status": "busy"})


def note_resource(visit: str, patient: str, *, text: str) -> dict[str, Any]:
    """A DocumentReference with a plain text."""
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "docStatus": "preliminary",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3"}]},
        "subject": {"reference": patient},
        "date": "2026-03-02T09:00:00Z",
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain",
                    "data": base64.b64encode(text.encode()).decode(),
                }
            }
        ],
        "context": {"encounter": [{"reference": visit}]},
    }


@asynccontextmanager
async def open_front_desk(
    database: Database,
    clock: FakeClock,
    folder: Path,
    *,
    web: WebConfig | None = None,
    **settings: Any,
) -> AsyncIterator[FrontDesk]:
    """A hospital, a gate on it, and the gateway on a free port. `settings` are of the config."""
    keys = {name: ECKey.generate_key("P-384") for name in CLIENTS}
    for name, key in keys.items():
        jwks = {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint()}]}
        (folder / f"{name}.jwks.json").write_bytes(orjson.dumps(jwks))
    async with open_clinic(database, clock, folder) as clinic:
        config = replace(
            clinic.gate.config,
            web=web or WebConfig(),
            clients={n: ClientConfig(name=n, jwks_file=f"{n}.jwks.json") for n in CLIENTS},
            **settings,
        )
        clinic.gate = replace(clinic.gate, config=config)
        opened = TestGate(gate=clinic.gate, source=MemorySource(clock), keys=dict(keys))
        async with serve(opened) as served:
            yield FrontDesk(clinic=clinic, served=served)
