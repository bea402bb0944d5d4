"""How everything stands, in one look, on a gate that has worked."""

from pathlib import Path

import pytest

from chartgate.flows import halts
from chartgate.flows.ledger import sequence_next
from chartgate.flows.status import Status, status
from chartgate.formats.checkpoint import Signer
from chartgate.store.witness import Witness, create_signing_key, load_signer
from tests.flows.clinics import OPERATOR, Clinic


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    create_signing_key(tmp_path / "ledger.pem")
    return load_signer(tmp_path / "ledger.pem", origin="test/ledger")


async def look(clinic: Clinic, signer: Signer, witness: Witness) -> Status:
    return await status(clinic.gate, witness=witness, public_key=signer.key)


async def test_status_follows_a_proposal_from_review_to_the_chart(
    clinic: Clinic, signer: Signer, tmp_path: Path
) -> None:
    witness = Witness(tmp_path / "witness.txt")
    proposal = await clinic.booked()
    before = await look(clinic, signer, witness)
    assert before.proposals == {"pending-review": 1}
    await clinic.approve(proposal)
    approved = await look(clinic, signer, witness)
    assert {q.name: q.waiting for q in approved.queues}["writes"] == 1
    await clinic.commit_until_done(proposal)
    assert (await look(clinic, signer, witness)).proposals == {"verified": 1}


async def test_status_shows_stages_and_halts(
    clinic: Clinic, signer: Signer, tmp_path: Path
) -> None:
    await halts.set_stage(clinic.gate, OPERATOR, "visit-note", "shadow")
    await halts.halt(clinic.gate, OPERATOR, scope="clinic-booking", reason="drill")
    found = await look(clinic, signer, Witness(tmp_path / "witness.txt"))
    assert found.stages["visit-note"] == "shadow"
    assert found.stages["clinic-booking"] == "suggest"
    assert [(h.scope, h.reason) for h in found.halts] == [("clinic-booking", "drill")]


async def test_status_shows_the_ledgers_backlog_and_its_trouble(
    clinic: Clinic, signer: Signer, tmp_path: Path
) -> None:
    witness = Witness(tmp_path / "witness.txt")
    waiting = (await look(clinic, signer, witness)).ledger
    assert waiting.waiting > 0
    assert (waiting.size, waiting.head_size, waiting.trouble) == (0, 0, "")
    while await sequence_next(clinic.gate, signer, witness):
        clinic.clock.advance(1)
    signed = (await look(clinic, signer, witness)).ledger
    assert (signed.waiting, signed.head_size) == (0, signed.size)
    witness.path.unlink()
    assert "witness file" in (await look(clinic, signer, witness)).ledger.trouble


async def test_status_holds_nothing_of_a_chart(
    clinic: Clinic, signer: Signer, tmp_path: Path
) -> None:
    await clinic.booked()
    shown = repr(await look(clinic, signer, Witness(tmp_path / "witness.txt")))
    patient = clinic.hospital.resource(clinic.hospital.scenario.booking_patient)
    assert patient["name"][0]["family"] not in shown
    assert patient["id"] not in shown
