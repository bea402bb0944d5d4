"""One process of a crash drill: it walks a booking to its end, and a fault waits at one place.

It opens a gate on the real store and, over a real socket, on the sample hospital; it submits,
approves, commits, verifies and takes back, again and again until the proposal rests, as AI client,
person and worker would together. Started once with a fault, and again by whoever finds it dead.
"""

import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop

from chartgate.adapters.egress import address_rules
from chartgate.adapters.fhir_r4.adapter import open_adapter
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.clock import utc_now
from chartgate.config import Config, ConnectionConfig, WorkerConfig
from chartgate.errors import ChartgateError
from chartgate.failpoints import arm
from chartgate.flows import commits, deadlines, events, halts, reads, reviews, rollbacks
from chartgate.flows.proposals import Submission, submit
from chartgate.gate import Gate, Running
from chartgate.model.proposal import Proposal, Status
from chartgate.store.audit import AuditWriter
from chartgate.store.database import open_database
from chartgate.store.migrate import migrate
from chartgate.store.proposals import ProposalStore
from tests.flows.clinics import AT_ONCE, EHR, OPERATOR, PICKER, SITE, SOFIA, booking_changes
from tests.simulation.store import MASTERS
from tests.simulation.world import book

LEASE_S = 1.5  # a process that stands still loses its work so soon
TIMEOUT_S = 1.0  # of one request
PAUSE_S = 0.02
KEY = "the one of this run"
CHARTER = "clinic-booking"
ENDS = frozenset({Status.HANDED_OFF, Status.REJECTED, Status.WITHDRAWN, Status.ROLLED_BACK})

book()  # compiled once, before the processes of a campaign are forked off


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one process is to do, and what befalls it."""

    url: str  # of the store
    tenant: str
    hospital: str  # base URL of its FHIR, by way of the proxy
    scenario: Any
    slot: dict[str, Any]
    folder: Path
    rolls_back: bool
    migrates: bool = False
    point: str = ""  # where the fault waits; empty: nowhere
    after: int = 0
    fault: str = ""
    control: int = 0  # port at which the proxy is told to cut
    postmaster: int = 0
    hit: Path | None = None  # touched when the fault happens


def run(job: Job) -> None:
    """The process. Ends with 0 when the proposal rests."""
    log = os.open(job.folder / "child.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    if job.point:
        arm(job.point, _fault(job), after=job.after)
    uvloop.run(_walk(job))


def _fault(job: Job) -> Callable[[], None]:
    acts: dict[str, Callable[[Job], None]] = {
        "kill-app": lambda _: os.kill(os.getpid(), signal.SIGKILL),
        "kill-postgres": _kill_postgres,
        "stop": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
        "network": _cut_network,
        "disk": _break_disk,
    }

    def act() -> None:
        assert job.hit is not None
        job.hit.touch()
        acts[job.fault](job)

    return act


def _kill_postgres(job: Job) -> None:
    """kill -9 of the postmaster and of every backend."""
    with suppress(psutil.NoSuchProcess):
        postmaster = psutil.Process(job.postmaster)
        for process in (postmaster, *postmaster.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _cut_network(job: Job) -> None:
    """Tells the proxy, and goes on once it is cut."""
    with socket.create_connection(("127.0.0.1", job.control), timeout=5) as wire:
        wire.recv(2)


def _break_disk(job: Job) -> None:
    """From now on PostgreSQL can write to no file: each write is refused, as by a full disk."""
    limit_files(job.postmaster, 0)


def limit_files(postmaster: int, size_bytes: int) -> None:
    """The largest file that the backends of this server may write to. Done under their own user,
    whom alone the kernel lets do it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(postmaster)
        pids = [p.pid for p in process.children(recursive=True)]
        owner, group = process.uids().real, process.gids().real
        helper = os.fork()
        if helper == 0:
            with suppress(BaseException):
                if os.geteuid() != owner:
                    os.setgid(group)
                    os.setuid(owner)
                for pid in pids:
                    with suppress(ProcessLookupError):
                        limits = (size_bytes, resource.RLIM_INFINITY)
                        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
                os._exit(0)
            os._exit(1)
        if os.waitpid(helper, 0)[1]:
            raise PermissionError("the limits of PostgreSQL's processes could not be set")


async def _walk(job: Job) -> None:
    while True:
        try:
            if job.migrates:
                await migrate(job.url)
            async with open_drill_gate(job) as gate:
                await events.forget_workers(gate, f"drill/{os.getpid()}")
                await halts.set_stage(gate, OPERATOR, CHARTER, "suggest")
                await _until_rest(job, gate)
                return
        except ChartgateError as error:
            _log(error)
            await asyncio.sleep(PAUSE_S)


def _log(error: Exception) -> None:
    """People here are made up: their names may stand in a log."""
    print(type(error).__name__, error, getattr(error, "operator_detail", ""), flush=True)


async def _until_rest(job: Job, gate: Gate) -> None:
    id_ = ""
    while True:
        did = False
        try:
            if not id_:
                id_ = (await _submit(job, gate)).id
            proposal = await ProposalStore(gate.database).get(id_)
            if _rests(proposal, rolls_back=job.rolls_back):
                return
            if proposal.status is Status.PENDING_REVIEW:
                await reviews.review(
                    gate, SOFIA, id_, verdict="approve", digest=proposal.content.digest
                )
            elif proposal.status is Status.VERIFIED:
                await rollbacks.request_rollback(gate, SOFIA, id_, reason="drill")
            for turn in (commits.commit_next, commits.verify_next, rollbacks.rollback_next,
                         deadlines.expire_next):  # fmt: skip
                did = await turn(gate, f"drill/{os.getpid()}") or did
        except Exception as error:  # noqa: BLE001 - as at the top of a worker's loop
            _log(error)
            await asyncio.sleep(PAUSE_S)
        if not did:
            await asyncio.sleep(PAUSE_S)


def _rests(proposal: Proposal, *, rolls_back: bool) -> bool:
    if proposal.status is Status.VERIFIED:
        return not rolls_back or "not rolled back" in (proposal.reason or "")
    return proposal.status in ENDS


async def _submit(job: Job, gate: Gate) -> Proposal:
    story = job.scenario
    interaction: str | None = None
    kept = job.folder / "interaction"  # a client that sends again sends the same
    if kept.exists():
        return await submit(gate, PICKER, _booking(job, kept.read_text()))
    for reference in (story.booking_patient, f"Slot/{job.slot['id']}", story.schedule):
        kind, _, id_ = reference.partition("/")
        answer = await reads.read(
            gate, PICKER, SITE, kind, id_, interaction=interaction, if_none_match=None
        )
        interaction = answer.interaction
    assert interaction is not None
    mine = kept.with_suffix(f".{os.getpid()}")
    mine.write_text(interaction)
    with suppress(FileExistsError):  # two processes are still one client: the first one's holds
        os.link(mine, kept)
    return await submit(gate, PICKER, _booking(job, kept.read_text()))


def _booking(job: Job, interaction: str) -> Submission:
    story = job.scenario
    return Submission(
        site=SITE,
        action="book",
        changes=booking_changes(job.slot, story.booking_patient, story.practitioner),
        confidence=0.93,
        rationale="First free slot.",
        interaction=interaction,
        idempotency_key=KEY,
    )


@asynccontextmanager
async def open_drill_gate(job: Job) -> AsyncIterator[Gate]:
    """A gate on the real store and, over sockets, the sample hospital; short leases."""
    options = {"url": job.hospital, "dialect": "sample-hospital", "retries": 0,
               "timeout_s": TIMEOUT_S, "breaker_failures": 1000}  # fmt: skip
    worker = WorkerConfig(lease_s=LEASE_S, backoff_base_s=0.05, backoff_cap_s=0.5, attempts_max=20)
    config = Config(folder=job.folder, tenant=job.tenant, review=AT_ONCE, worker=worker)
    database = await open_database(job.url, tenant=job.tenant, connections_max=4, masters=MASTERS)
    audit = AuditWriter(database)
    try:
        await audit.start()
        async with open_adapter(
            ConnectionConfig(name=EHR, adapter="fhir_r4", options=options),
            folder=job.folder,
            clock=utc_now,
            verdicts={line: (True, "drill") for line in PROBED},
            egress=address_rules(config),
        ) as adapter:
            yield Gate(
                config=config,
                clock=utc_now,
                database=database,
                audit=audit,
                running=Running(charters=book()),
                sources={EHR: adapter},
                sinks={EHR: adapter},
            )
    finally:
        await audit.close()
        await database.close()
