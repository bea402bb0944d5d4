"""One walker of benchmarks.restarts: books its share of the slots, whatever the store does."""

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvloop

from benchmarks.crash_child import CHARTER, Job, open_drill_gate
from chartgate.errors import Throttled
from chartgate.flows import commits, deadlines, halts, reads, reviews, rollbacks
from chartgate.flows.proposals import Submission, submit
from chartgate.gate import Gate
from chartgate.model.proposal import Status
from chartgate.model.resource import Copy
from chartgate.store.proposals import ProposalStore
from tests.flows.clinics import EHR, OPERATOR, PICKER, SITE, SOFIA, booking_changes

TOGETHER = 8  # bookings that one walker has under way
PAUSE_S = 0.05
UNDER_WAY = (Status.PENDING_REVIEW, Status.APPROVED, Status.COMMITTING, Status.COMMITTED)


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one walker is to do."""

    url: str
    tenant: str
    hospital: str
    scenario: Any
    slots: tuple[str, ...]
    folder: Path


def run(share: Share) -> None:
    """The process. Ends with 0 when all of its share rests."""
    log = os.open(share.folder / "child.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    uvloop.run(_walk(share))


async def _walk(share: Share) -> None:
    job = Job(
        url=share.url,
        tenant=share.tenant,
        hospital=share.hospital,
        scenario=share.scenario,
        slot={},
        folder=share.folder,
        rolls_back=False,
    )
    gate_is_open = False
    while not gate_is_open:
        try:
            async with open_drill_gate(job) as gate:
                await halts.set_stage(gate, OPERATOR, CHARTER, "suggest")
                gate_is_open = True
                slots = iter(share.slots)
                working = asyncio.create_task(_work(gate))
                await asyncio.gather(*(_book_all(gate, share, slots) for _ in range(TOGETHER)))
                working.cancel()
        except Exception as error:
            if gate_is_open:
                raise
            print(type(error).__name__, error, flush=True)
            await asyncio.sleep(PAUSE_S)


async def _book_all(gate: Gate, share: Share, slots: Iterator[str]) -> None:
    for slot in slots:
        while True:
            try:
                if await _book(gate, share, slot):
                    break
            except Throttled:
                await asyncio.sleep(PAUSE_S)  # more are open than the charter's budget
            except Exception as error:  # noqa: BLE001 - a client and a person who try again
                print(type(error).__name__, error, flush=True)
                await asyncio.sleep(PAUSE_S)


async def _book(gate: Gate, share: Share, slot: str) -> bool:
    """Takes one booking on; True once it rests."""
    story, kept = share.scenario, share.folder / slot.replace("/", "-")
    if not kept.exists():
        interaction: str | None = None
        for reference in (story.booking_patient, slot, story.schedule):
            kind, _, id_ = reference.partition("/")
            answer = await reads.read(
                gate, PICKER, SITE, kind, id_, interaction=interaction, if_none_match=None
            )
            interaction = answer.interaction
        kept.write_text(str(interaction))
    copy = await gate.source(EHR).read(slot)
    assert isinstance(copy, Copy), "read without a version"
    resource = orjson.loads(copy.body)  # what a booking takes from it never changes
    proposal = await submit(
        gate,
        PICKER,
        Submission(
            site=SITE,
            action="book",
            changes=booking_changes(resource, story.booking_patient, story.practitioner),
            confidence=0.93,
            rationale="Free.",
            interaction=kept.read_text(),
            idempotency_key=slot,
        ),
    )
    while proposal.status in UNDER_WAY:
        if proposal.status is Status.PENDING_REVIEW:
            await reviews.review(
                gate, SOFIA, proposal.id, verdict="approve", digest=proposal.content.digest
            )
        await asyncio.sleep(PAUSE_S)
        proposal = await ProposalStore(gate.database).get(proposal.id)
    return True


async def _work(gate: Gate) -> None:
    """A worker's loop, over all that is queued."""
    name = f"restarts/{os.getpid()}"
    while True:
        did = False
        for turn in (commits.commit_next, commits.verify_next, rollbacks.rollback_next,
                     deadlines.expire_next):  # fmt: skip
            try:
                did = await turn(gate, name) or did
            except Exception as error:  # noqa: BLE001 - as at the top of a worker's loop
                print(type(error).__name__, error, flush=True)
        if not did:
            await asyncio.sleep(PAUSE_S)
