"""Who may stop writes, start them again, and move a charter's stage."""

import pytest

from chartgate.errors import Denied, Invalid, NotFound
from chartgate.flows import halts
from chartgate.model.principal import Person, Principal
from chartgate.store.halts import HaltStore
from chartgate.store.stages import StageStore
from tests.flows.clinics import NORA, OPERATOR, PICKER, SITE, SOFIA, Clinic

OLU = Person(id="olu", roles=("operator",), sites=(SITE,))


@pytest.mark.parametrize("who", [OPERATOR, OLU], ids=["process", "operator"])
async def test_halt_of_everything_holds_until_it_is_resumed(clinic: Clinic, who: Principal) -> None:
    store = HaltStore(clinic.database)
    assert await store.in_force("clinic-booking") is None
    await halts.halt(clinic.gate, who, reason="drill")
    await halts.halt(clinic.gate, who, reason="real now")
    assert await store.in_force("clinic-booking") == "real now"
    (halt,) = await store.listed()
    assert (halt.scope, halt.halted_by) == ("*", who.agent)
    await halts.resume(clinic.gate, who, reason="over")
    assert await store.in_force("clinic-booking") is None
    with pytest.raises(NotFound):
        await halts.resume(clinic.gate, who, reason="over")
    assert [e["reason"] for e in await clinic.audited("charter.halt")] == ["drill", "real now"]


async def test_halt_of_one_charter_leaves_the_others(clinic: Clinic) -> None:
    await halts.halt(clinic.gate, SOFIA, scope="clinic-booking", reason="odd bookings")
    store = HaltStore(clinic.database)
    assert await store.in_force("clinic-booking") == "odd bookings"
    assert await store.in_force("visit-note") is None


@pytest.mark.parametrize("who", [PICKER, NORA], ids=["agent", "other role"])
async def test_whoever_may_not_halt_is_told_and_noted(clinic: Clinic, who: Principal) -> None:
    for act in (halts.halt, halts.resume):
        with pytest.raises(Denied):
            await act(clinic.gate, who, scope="clinic-booking", reason="x")
    with pytest.raises(Denied):
        await halts.set_stage(clinic.gate, who, "clinic-booking", "full")
    assert await HaltStore(clinic.database).listed() == ()
    (event,) = await clinic.audited("charter.halt")
    assert event["outcome"] == "denied"


async def test_reviewer_may_halt_but_not_resume_or_promote(clinic: Clinic) -> None:
    await halts.halt(clinic.gate, SOFIA, scope="clinic-booking", reason="odd")
    with pytest.raises(Denied):
        await halts.resume(clinic.gate, SOFIA, scope="clinic-booking", reason="fine")
    with pytest.raises(Denied):
        await halts.set_stage(clinic.gate, SOFIA, "clinic-booking", "full")


async def test_halt_needs_a_reason_and_a_charter_that_is_there(clinic: Clinic) -> None:
    with pytest.raises(Invalid):
        await halts.halt(clinic.gate, OPERATOR, reason=" ")
    with pytest.raises(NotFound):
        await halts.halt(clinic.gate, OPERATOR, scope="clinic-boking", reason="x")


async def test_stage_starts_with_the_rollouts_first_and_moves(clinic: Clinic) -> None:
    store = StageStore(clinic.database)
    charter = clinic.gate.charters.get("visit-note")
    assert await store.current(charter) == "suggest", "set by the test's clinic"
    await halts.set_stage(clinic.gate, OLU, charter, "full")
    assert await store.current(charter) == "full"
    with pytest.raises(Invalid, match="no stage canary"):
        await halts.set_stage(clinic.gate, OLU, charter, "canary")
    async with clinic.database.bookkeeping() as transaction:
        await transaction.execute("DELETE FROM charter_stage")
    assert await store.current(charter) == "shadow"
