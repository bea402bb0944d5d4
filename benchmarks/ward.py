"""What the campaigns about writing share: the sample hospital on a socket, a gate on it with the sample
charters, people who approve, and a front that can hold one request back and let it go later.

Chartgate's side is the real one: flows, store and adapter. Only the processes are missing, so that
every step of a campaign can be put in an order.
"""

import argparse
import asyncio
import base64
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

import chartgate
from benchmarks.own import own_folder, tell
from chartgate.adapters.egress import address_rules
from chartgate.adapters.fhir_r4.adapter import open_adapter
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.clock import Clock
from chartgate.config import Config, ConnectionConfig, ReviewConfig, WorkerConfig
from chartgate.demo.hospital import Hospital, running_hospital, sample_patients
from chartgate.flows import commits, halts, reads, reviews, rollbacks
from chartgate.flows.proposals import Submission, submit
from chartgate.gate import Gate, Running
from chartgate.model.charter import Charter
from chartgate.model.principal import Client, Person, Process
from chartgate.model.proposal import Proposal, Status
from chartgate.policy.charters import compile_book, parse_charter
from chartgate.store.audit import AuditWriter
from chartgate.store.database import Database, open_database
from chartgate.store.embedded import start_embedded
from chartgate.store.migrate import migrate
from chartgate.store.proposals import ProposalStore
from chartgate.store.vault_keys import new_masters

SITE, EHR = "north-clinic", "north-ehr"
CHARTERS = ("clinic-booking", "visit-note", "prior-authorisation")
PROPOSED = ("booking", "task", "note")  # create and patch; patch; create
PICKER = Client(
    id="slot-picker",
    charter="clinic-booking",
    scopes=("system/Patient.r", "system/Slot.rs", "system/Schedule.r", "system/Appointment.rs"),
)
SCRIBE = Client(id="scribe", charter="visit-note", scopes=("system/Encounter.r",))
CLERK = Client(id="auth-clerk", charter="prior-authorisation", scopes=("system/Task.rs",))
STAFF = Person(id="ward", roles=("scheduler", "clinician", "utilisation"), sites=(SITE,))
OPERATOR = Process(id="cli/campaign")
PERIOD = {"start": "2026-03-02T09:00:00Z", "end": "2026-03-16T09:00:00Z"}
AT_ONCE = ReviewConfig(dwell_s=0.0, word_s=0.0, field_s=0.0)  # programs need no time to read
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HOP = frozenset({"host", "connection", "content-length", "transfer-encoding", "content-encoding"})
UNDER_WAY = (Status.APPROVED, Status.COMMITTING, Status.COMMITTED, Status.ROLLING_BACK)


class Cut(Exception):
    """The hospital cut the connection."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """A request that has not reached the hospital."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Front:
    """Stands before the hospital and passes everything on, except what it is told to hold."""

    behind: str
    http: aiohttp.ClientSession
    url: str = ""
    holding: bool = False  # the next request that writes
    held: list[Held] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request from Chartgate."""
        body = await request.read()
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP}
        sent = Held(method=request.method, path=request.path_qs, headers=headers, body=body)
        searching = request.path.endswith("/_search")
        if self.holding and request.method in WRITES and not searching:
            self.holding = False
            self.held.append(sent)
            return self._cut(request)
        try:
            status, given, answered = await self._pass_on(sent)
        except Cut:
            return self._cut(request)
        return web.Response(status=status, headers=given, body=answered)

    def _cut(self, request: web.Request) -> web.Response:
        """Chartgate sees its connection cut."""
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def release(self) -> int:
        """The request that was held longest arrives at last; what the hospital answers."""
        status, _, _ = await self._pass_on(self.held.pop(0))
        return status

    async def _pass_on(self, sent: Held) -> tuple[int, dict[str, str], bytes]:
        async with self.http.request(
            sent.method, self.behind + sent.path, headers=sent.headers, data=sent.body
        ) as response:
            given = {k: v for k, v in response.headers.items() if k.lower() not in HOP}
            return response.status, given, await response.read()


@dataclass(kw_only=True)
class Ward:
    """A hospital, a gate on it, and what a campaign does with both."""

    hospital: Hospital
    gate: Gate
    front: Front

    def slot(self, number: int) -> str:
        """A free slot of its own time, so that bookings do not meet."""
        sample = self.hospital.resource(self.hospital.scenario.free_slots[0])
        start = datetime(2027, 1, 4, 8, tzinfo=UTC) + timedelta(minutes=30 * number)
        times = {"start": _instant(start), "end": _instant(start + timedelta(minutes=30))}
        self.hospital.edit({**sample, **times, "id": f"w{number}", "status": "free"})
        return f"Slot/w{number}"

    def task(self, number: int) -> str:
        """A prior authorisation of a patient of its own: what is about one patient is written one
        after the other."""
        sample = self.hospital.resource(self.hospital.scenario.authorisation)
        self.hospital.edit({"resourceType": "Patient", "id": f"w{number}"})
        about = {"reference": f"Patient/w{number}"}
        self.hospital.edit({**sample, "id": f"w{number}", "for": about})
        return f"Task/w{number}"

    async def propose(self, what: str, number: int) -> Proposal:
        """One of PROPOSED, on a slot or a task of its own."""
        if what == "booking":
            return await self.book(self.slot(number))
        if what == "task":
            return await self.move_task(self.task(number), "accepted")
        return await self.file_note(number)

    async def book(self, slot: str) -> Proposal:
        """slot-picker proposes to create an Appointment and to change the slot."""
        scenario = self.hospital.scenario
        patient = scenario.booking_patient
        interaction = await see(self.gate, PICKER, patient, slot, scenario.schedule)
        held = self.hospital.resource(slot)
        people = [
            {"actor": {"reference": actor}, "status": "accepted"}
            for actor in (patient, scenario.practitioner)
        ]
        appointment = {
            "resourceType": "Appointment",
            "status": "booked",
            "slot": [{"reference": slot}],
            "start": held["start"],
            "end": held["end"],
            "participant": people,
        }
        changes = [
            {"interaction": "create", "resource": appointment},
            patch_of(slot, ("replace", "/status", "busy")),
        ]
        return await send_in(self.gate, PICKER, "book", changes, interaction)

    async def move_task(self, task: str, status: str, *, day: int = 0) -> Proposal:
        """auth-clerk proposes to change one resource; `day` tells one such change from another."""
        interaction = await see(self.gate, CLERK, task)
        end = datetime(2026, 4, 1, 9, tzinfo=UTC) + timedelta(days=day)
        period = PERIOD | {"end": _instant(end)}
        patch = patch_of(task, ("replace", "/status", status), ("add", "/executionPeriod", period))
        return await send_in(self.gate, CLERK, "update-status", [patch], interaction)

    async def file_note(self, number: int) -> Proposal:
        """scribe proposes to create one resource, and nothing else."""
        visit = self.hospital.scenario.visit
        interaction = await see(self.gate, SCRIBE, visit)
        text = base64.b64encode(f"Seen in clinic; stable. {number}".encode()).decode()
        note = {
            "resourceType": "DocumentReference",
            "status": "current",
            "docStatus": "preliminary",
            "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3"}]},
            "subject": {"reference": self.hospital.scenario.visit_patient},
            "date": PERIOD["start"],
            "content": [{"attachment": {"contentType": "text/plain", "data": text}}],
            "context": {"encounter": [{"reference": visit}]},
        }
        changes = [{"interaction": "create", "resource": note}]
        return await send_in(self.gate, SCRIBE, "file-note", changes, interaction)

    async def approve(self, proposal: Proposal) -> Proposal:
        """Somebody approves what was proposed."""
        digest = proposal.content.digest
        return await reviews.review(self.gate, STAFF, proposal.id, verdict="approve", digest=digest)

    async def get(self, proposal: Proposal) -> Proposal:
        """Where it stands now."""
        return await ProposalStore(self.gate.database).get(proposal.id)

    async def work(self, proposal: Proposal, *, steps: int = 40) -> Proposal:
        """A worker, over every back-off of a clock that can be moved, until it rests."""
        for _ in range(steps):
            if (await self.get(proposal)).status not in UNDER_WAY:
                break
            for step in (commits.commit_next, commits.verify_next, rollbacks.rollback_next):
                await step(self.gate, "w1")
            advance = getattr(self.gate.clock, "advance", None)
            if advance is not None:
                advance(31)
        return await self.get(proposal)

    def version(self, reference: str) -> dict[str, Any]:
        """What the chart says of it, without what the hospital sets itself on each save."""
        meta = ("versionId", "lastUpdated")
        held = self.hospital.resource(reference)
        kept = {k: v for k, v in held.get("meta", {}).items() if k not in meta}
        return {**held, "meta": kept}


async def see(gate: Gate, client: Client, *references: str) -> str:
    """The interaction in which the client read these."""
    interaction: str | None = None
    for reference in references:
        kind, _, id_ = reference.partition("/")
        answer = await reads.read(
            gate, client, SITE, kind, id_, interaction=interaction, if_none_match=None
        )
        interaction = answer.interaction
    assert interaction is not None
    return interaction


async def send_in(
    gate: Gate, client: Client, action: str, changes: list[dict[str, Any]], interaction: str
) -> Proposal:
    """What the client proposes."""
    submission = Submission(
        site=SITE,
        action=action,
        changes=changes,
        confidence=0.93,
        rationale="By the campaign.",
        interaction=interaction,
    )
    return await submit(gate, client, submission)


@asynccontextmanager
async def own_store(folder: Path) -> AsyncIterator[Database]:
    """A PostgreSQL of the campaign's own."""
    server = await asyncio.to_thread(start_embedded, folder / "var")
    try:
        await migrate(server.url)
        database = await open_database(
            server.url, tenant="main", masters=new_masters(), connections_max=20
        )
        try:
            yield database
        finally:
            await database.close()
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def open_ward(
    database: Database, *, folder: Path, clock: Clock, worker: WorkerConfig | None = None
) -> AsyncIterator[Ward]:
    """A hospital, its front, and a gate on that, every charter at stage suggest."""
    fill = sample_patients(today=clock().date())
    async with AsyncExitStack() as stack:
        hospital = await stack.enter_async_context(running_hospital(fill=fill, clock=clock))
        front = await stack.enter_async_context(_open_front(hospital.url))
        options = {
            "url": f"{front.url}/fhir",
            "dialect": "sample-hospital",
            "retries": 0,
            "timeout_s": 5.0,
            "breaker_failures": 1_000_000,
        }
        config = Config(folder=folder, review=AT_ONCE, worker=worker or WorkerConfig())
        adapter = await stack.enter_async_context(
            open_adapter(
                ConnectionConfig(name=EHR, adapter="fhir_r4", options=options),
                folder=folder,
                clock=clock,
                verdicts={line: (True, "campaign") for line in PROBED},
                egress=address_rules(config),
            )
        )
        audit = AuditWriter(database)
        await audit.start()
        stack.push_async_callback(audit.close)
        gate = Gate(
            config=config,
            clock=clock,
            database=database,
            audit=audit,
            running=Running(charters=compile_book([charter_of(name) for name in CHARTERS])),
            sources={EHR: adapter},
            sinks={EHR: adapter},
        )
        for name in gate.charters.charters:
            await halts.set_stage(gate, OPERATOR, name, "suggest")
        yield Ward(hospital=hospital, gate=gate, front=front)


@asynccontextmanager
async def _open_front(behind: str) -> AsyncIterator[Front]:
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout, middlewares=(_no_repetition,)) as http:
        front = Front(behind=behind, http=http)
        application = web.Application(client_max_size=8 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", front.answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        front.url = f"http://{host}:{port}"
        try:
            yield front
        finally:
            await runner.cleanup()


async def _no_repetition(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Hides a broken connection from aiohttp, which would send a PUT again by itself."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise Cut from error


def charter_of(name: str) -> Charter:
    """A sample charter, without its budgets: a campaign is no day at a clinic."""
    samples = Path(chartgate.__file__).parent / "cli" / "samples"
    body = (samples / "charters" / f"{name}.yaml").read_text(encoding="utf-8")
    kept = [line for line in body.splitlines() if not line.startswith("budgets:")]
    return parse_charter(
        "\n".join(kept).encode(),
        file=f"{name}.yaml",
        read_model=lambda model: (samples / model).read_bytes(),
    )


def patch_of(reference: str, *operations: tuple[str, str, Any]) -> dict[str, Any]:
    """A change, as a client proposes it."""
    return {
        "interaction": "patch",
        "reference": reference,
        "patch": [{"op": op, "path": path, "value": value} for op, path, value in operations],
    }


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def asking(description: str | None, *, count: int) -> argparse.ArgumentParser:
    """What every campaign is asked on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path)
    return parser


def told(
    campaign: Callable[..., Awaitable[dict[str, Any]]], options: argparse.Namespace, **more: Any
) -> None:
    """Runs a campaign on a store of its own, and ends the process with what it found."""

    async def act(folder: Path) -> dict[str, Any]:
        async with own_store(folder) as database:
            return await campaign(database, folder, options.count, seed=options.seed, **more)

    with own_folder() as folder:
        result = uvloop.run(act(folder))
    tell(result, options.out)
    sys.exit(0 if result["held"] else 1)
