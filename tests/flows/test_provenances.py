"""The Provenance of a write: once, apart from the write, and never to its harm."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.flows import commits, halts, provenances, rollbacks
from chartgate.model.proposal import Proposal, Status
from chartgate.policy.charters import compile_book
from chartgate.store.database import Database
from chartgate.store.provenance import ProvenanceStore
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import (
    OPERATOR,
    SOFIA,
    Clinic,
    Killed,
    kill_around,
    open_clinic,
    sample_charter,
)

ASKED = sample_charter(
    "clinic-booking", change=[("    review:", "    provenance: true\n    review:")]
)


@pytest.fixture
async def telling(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Clinic]:
    """A clinic whose charter asks for it."""
    async with open_clinic(database, clock, tmp_path, charters=[ASKED]) as opened:
        yield opened


async def until_told(clinic: Clinic, *, steps: int = 12) -> None:
    for _ in range(steps):
        if not await provenances.write_next(clinic.gate, "w1"):
            clinic.clock.advance(31)


def written(clinic: Clinic, proposal: Proposal) -> list[dict[str, Any]]:
    """Every Provenance of it that the hospital holds."""
    return [
        dict(version.resource)
        for reference, version in clinic.hospital.chart.current.items()
        if reference.startswith("Provenance/") and version.resource is not None
        and any(proposal.id in tag["code"] for tag in version.resource["meta"].get("tag", ()))
    ]  # fmt: skip


async def test_verified_write_leaves_one_that_names_versions_client_approver_and_charter(
    telling: Clinic,
) -> None:
    verified = await telling.verified()
    assert verified.status is Status.VERIFIED
    assert verified.receipt is not None
    assert await provenances.write_next(telling.gate, "w1")
    assert not await provenances.write_next(telling.gate, "w1")
    (found,) = written(telling, verified)
    assert [t["reference"] for t in found["target"]] == [
        f"{e.reference}/_history/{e.version_after}" for e in verified.receipt.effects
    ]
    agents = {
        a["type"]["coding"][0]["code"]: a["who"]["identifier"]["value"] for a in found["agent"]
    }
    assert agents == {"assembler": "slot-picker", "verifier": "sofia"}
    assert found["policy"] == [f"urn:chartgate:charter:clinic-booking:{verified.charter_digest}"]
    assert "signature" not in found
    stands = await ProvenanceStore(telling.database).of_proposal(verified.id)
    assert stands is not None
    assert (stands.status, stands.reference) == ("written", f"Provenance/{found['id']}")
    (event,) = await telling.audited("proposal.provenance")
    assert (event["outcome"], event["details"]["provenance"]) == ("success", stands.reference)


async def test_all_who_approved_are_named(telling: Clinic) -> None:
    (charter,) = telling.gate.charters.charters.values()
    book = replace(charter.proposes["book"], review_people=2)
    telling.gate.running.charters = compile_book([replace(charter, proposes={"book": book})])
    proposal = await telling.booked()
    for person in (replace(SOFIA, id="mara"), SOFIA):
        await telling.approve(proposal, person)
    assert await commits.commit_next(telling.gate, "w1")
    assert await provenances.write_next(telling.gate, "w1")
    (found,) = written(telling, proposal)
    named = [a["who"]["identifier"]["value"] for a in found["agent"]]
    assert named == ["slot-picker", "mara", "sofia"]


async def test_charter_that_does_not_ask_gets_none(clinic: Clinic) -> None:
    verified = await clinic.verified()
    assert not await provenances.write_next(clinic.gate, "w1")
    assert written(clinic, verified) == []
    assert await ProvenanceStore(clinic.database).of_proposal(verified.id) is None


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("error_after_applying", 500),
        ("reset_after_applying", True),
        ("hang_after_applying_s", 1.5),
        ("down", "503"),
        ("apply_late_s", 0.2),
    ],
)
async def test_lost_answer_leaves_one_all_the_same(telling: Clinic, fault: str, value: Any) -> None:
    verified = await telling.verified()
    telling.hospital.faults.switch(fault, value, types=["Provenance"], times=1)
    await provenances.write_next(telling.gate, "w1")
    await asyncio.sleep(0.3 if fault == "apply_late_s" else 0)  # on the hospital's own clock
    await until_told(telling)
    assert len(written(telling, verified)) == 1
    assert telling.effects(verified) == 1
    assert (await telling.get(verified)).status is Status.VERIFIED


async def test_system_that_does_not_take_it_is_not_asked_again_and_the_write_stands(
    telling: Clinic,
) -> None:
    verified = await telling.verified()
    telling.adapter.adopt({line: (line != "if_match_on_delete", "test") for line in PROBED})
    await until_told(telling)
    assert written(telling, verified) == []
    stands = await ProvenanceStore(telling.database).of_proposal(verified.id)
    assert stands is not None
    assert (stands.status, stands.reference) == ("refused", None)
    assert "could not be undone" in (stands.reason or "")
    assert (await telling.get(verified)).status is Status.VERIFIED
    (event,) = await telling.audited("proposal.provenance")
    assert event["outcome"] == "failed"


async def test_halt_holds_it_too(telling: Clinic) -> None:
    verified = await telling.verified()
    await halts.halt(telling.gate, OPERATOR, reason="drill")
    await until_told(telling, steps=3)
    assert written(telling, verified) == []
    await halts.resume(telling.gate, OPERATOR, reason="over")
    await until_told(telling)
    assert len(written(telling, verified)) == 1


@pytest.mark.parametrize("place", ["before", "after"])
async def test_worker_killed_around_its_end_leaves_one(
    telling: Clinic, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    verified = await telling.verified()
    with monkeypatch.context() as patch:
        kill_around(patch, 1, place)
        with pytest.raises(Killed):
            await provenances.write_next(telling.gate, "w1")
    telling.clock.advance(31)
    await until_told(telling)
    assert len(written(telling, verified)) == 1
    assert len(await telling.audited("proposal.provenance")) == 1


async def test_many_workers_leave_one(telling: Clinic) -> None:
    verified = await telling.verified()
    await asyncio.gather(*(provenances.write_next(telling.gate, f"w{n}") for n in range(5)))
    assert len(written(telling, verified)) == 1


async def test_what_never_was_verified_has_none(telling: Clinic) -> None:
    telling.hospital.faults.switch(
        "change_on_save", {"set": {"/status": "waitlist"}}, types=["Appointment"]
    )
    approved = await telling.approved()
    await commits.commit_next(telling.gate, "w1")
    assert (await telling.get(approved)).status is Status.HANDED_OFF
    assert not await provenances.write_next(telling.gate, "w1")


async def test_rollback_is_not_hindered_by_it(telling: Clinic) -> None:
    verified = await telling.verified()
    await until_told(telling)
    await rollbacks.request_rollback(telling.gate, SOFIA, verified.id, reason="wrong day")
    assert await rollbacks.rollback_next(telling.gate, "w1")
    assert (await telling.get(verified)).status is Status.ROLLED_BACK
    assert len(written(telling, verified)) == 1, "that it was written stays true"


async def test_rule_that_decided_is_no_verifier(telling: Clinic) -> None:
    verified = await telling.verified()
    async with telling.database.bookkeeping() as transaction:
        await transaction.execute("UPDATE proposal SET decided_by = 'rule:auto'")
    await until_told(telling)
    (found,) = written(telling, verified)
    assert [a["type"]["coding"][0]["code"] for a in found["agent"]] == ["assembler"]
