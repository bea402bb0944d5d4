"""The walk of a read, on a real store and a system of record in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from chartgate.errors import Invalid, Moved, NotFound, SourceUnreachable, Throttled, Unavailable
from chartgate.flows import reads
from chartgate.flows.reads import Answer
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.gate import Gate, Running
from chartgate.model.principal import Client
from chartgate.model.resource import Copy
from chartgate.policy.charters import compile_book
from chartgate.store.database import Database
from chartgate.store.governance import bump_epoch, current_epoch
from chartgate.store.interactions import InteractionStore
from chartgate.store.record import RecordStore
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import CHARTER, TestGate, open_test_gate, parse_test_charter
from tests.flows.reading import APPOINTMENT, CLIENT, PATIENT, SCOPES, SLOT, audited


@pytest.fixture
async def opened(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[TestGate]:
    async with open_test_gate(database, folder=tmp_path, clock=clock) as test_gate:
        for resource in (PATIENT, SLOT, APPOINTMENT):
            test_gate.source.put(resource)
        yield test_gate


async def read(
    gate: Gate,
    reference: str,
    *,
    client: Client = CLIENT,
    site: str = "north-clinic",
    interaction: str | None = None,
    if_none_match: str | None = None,
) -> Answer:
    resource_type, _, id_ = reference.partition("/")
    return await reads.read(
        gate, client, site, resource_type, id_, interaction=interaction, if_none_match=if_none_match
    )


async def test_read_when_permitted_shows_the_minimised_resource(opened: TestGate) -> None:
    answer = await read(opened.gate, "Slot/12")
    shown = orjson.loads(answer.body)
    assert shown["status"] == "free"
    assert "comment" not in shown
    assert shown["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert answer.etag.startswith('W/"1-')
    assert not answer.stale


async def test_read_leaves_its_read_set_and_one_audit_event(
    opened: TestGate, database: Database
) -> None:
    answer = await read(opened.gate, "Patient/7")
    (event,) = await audited(database)
    assert event["action"] == "fhir.read"
    assert event["outcome"] == "success"
    assert event["patient"] == "Patient/7"
    assert event["entities"] == ["Patient/7"]
    assert event["charter_digest"] == opened.gate.charters.get("clinic-booking").digest
    store = InteractionStore(database)
    (seen,) = await store.read_set(answer.interaction)
    assert (seen.reference, seen.version) == ("Patient/7", "1")
    interaction = await store.get(answer.interaction)
    assert interaction is not None
    assert (interaction.client, interaction.site) == ("slot-picker", "north-clinic")


async def test_read_of_a_live_type_asks_conditionally_each_time(opened: TestGate) -> None:
    for _ in range(3):
        await read(opened.gate, "Slot/12")
    assert opened.source.asked == [("Slot/12", None), ("Slot/12", "1"), ("Slot/12", "1")]


async def test_read_within_its_age_costs_the_hospital_nothing(
    opened: TestGate, clock: FakeClock
) -> None:
    await read(opened.gate, "Patient/7")
    clock.advance(299)
    answer = await read(opened.gate, "Patient/7")
    assert len(opened.source.asked) == 1
    assert answer.as_of < clock()
    clock.advance(2)
    assert (await read(opened.gate, "Patient/7")).as_of == clock()
    assert len(opened.source.asked) == 2
    await read(opened.gate, "Patient/7")
    assert len(opened.source.asked) == 2, "the 304 made it fresh again"


async def test_read_after_a_change_shows_the_new_version(opened: TestGate) -> None:
    before = await read(opened.gate, "Slot/12")
    opened.source.put({**SLOT, "status": "busy"})
    after = await read(opened.gate, "Slot/12")
    assert orjson.loads(after.body)["status"] == "busy"
    assert after.etag != before.etag


@pytest.mark.parametrize(
    ("reference", "site", "client"),
    [
        ("Observation/1", "north-clinic", CLIENT),
        ("Slot/12", "south-clinic", CLIENT),
        ("Slot/12", "north-clinic", Client(id="stranger", charter="clinic-booking", scopes=SCOPES)),
        ("Slot/12", "north-clinic", Client(id="slot-picker", charter="clinic-booking")),
        ("Slot/404", "north-clinic", CLIENT),
    ],
    ids=["type", "site", "client", "scope", "missing"],
)
async def test_read_when_refused_looks_like_a_read_of_nothing(
    opened: TestGate, database: Database, reference: str, site: str, client: Client
) -> None:
    with pytest.raises(NotFound) as refused:
        await read(opened.gate, reference, site=site, client=client)
    assert str(refused.value) == reads.SAY_NOT_FOUND
    (event,) = await audited(database)
    assert event["outcome"] in ("denied", "failed")
    assert event["reason"]
    if reference != "Slot/404":
        assert not opened.source.asked, "the hospital saw nothing of it"


async def test_read_of_a_forbidden_type_that_names_a_version_is_no_oracle(opened: TestGate) -> None:
    with pytest.raises(NotFound):
        await read(opened.gate, "Observation/1", if_none_match="*")


@pytest.mark.parametrize(
    "reference", ["slot/1", "Slot/a_b", "Slot/" + "x" * 65, "Slot/ä", "Slot/..", "Slot/."]
)
async def test_read_of_an_impossible_name_is_invalid(opened: TestGate, reference: str) -> None:
    with pytest.raises(Invalid):
        await read(opened.gate, reference)


async def test_read_that_continues_an_interaction_joins_its_read_set(
    opened: TestGate, database: Database
) -> None:
    first = await read(opened.gate, "Slot/12")
    second = await read(opened.gate, "Patient/7", interaction=first.interaction.upper())
    assert second.interaction == first.interaction
    seen = await InteractionStore(database).read_set(first.interaction)
    assert [row.reference for row in seen] == ["Slot/12", "Patient/7"]


async def test_interaction_that_another_process_opened_is_joined(opened: TestGate) -> None:
    first = await read(opened.gate, "Slot/12")
    opened.gate.caches.interactions.drop(first.interaction)
    assert (await read(opened.gate, "Slot/12", interaction=first.interaction)).interaction == (
        first.interaction
    )


async def test_interaction_of_another_client_is_not_there(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    other = CHARTER.replace(b"[slot-picker]", b"[slot-picker, other]")
    async with open_test_gate(database, folder=tmp_path, clock=clock, charters=[other]) as opened:
        opened.source.put(SLOT)
        first = await read(opened.gate, "Slot/12")
        stranger = Client(id="other", charter="clinic-booking", scopes=SCOPES)
        with pytest.raises(NotFound):
            await read(opened.gate, "Slot/12", client=stranger, interaction=first.interaction)
        assert len(await InteractionStore(database).read_set(first.interaction)) == 1


async def test_interaction_that_is_no_uuid_is_invalid(opened: TestGate) -> None:
    with pytest.raises(Invalid, match="UUID"):
        await read(opened.gate, "Slot/12", interaction="42")


async def test_read_with_the_version_it_has_is_not_modified_but_audited(
    opened: TestGate, database: Database
) -> None:
    first = await read(opened.gate, "Slot/12")
    again = await read(opened.gate, "Slot/12", if_none_match=f'"x", {first.etag}')
    assert again.not_modified
    assert again.body == b""
    assert len(await audited(database)) == 2


async def test_charter_change_changes_the_etag_and_what_is_shown(opened: TestGate) -> None:
    before = await read(opened.gate, "Patient/7")
    narrower = parse_test_charter(CHARTER.replace(b"[name, birthDate]", b"[birthDate]"))
    opened.gate.running.charters = compile_book([narrower])
    after = await read(opened.gate, "Patient/7", if_none_match=before.etag)
    assert not after.not_modified
    assert "name" not in orjson.loads(after.body)


async def test_read_when_the_hospital_is_down_is_refused_or_stale_by_charter(
    opened: TestGate, database: Database, clock: FakeClock
) -> None:
    await read(opened.gate, "Appointment/3")
    await read(opened.gate, "Slot/12")
    seen_at = clock()
    clock.advance(3600)
    opened.source.fault = SourceUnreachable("north-ehr did not answer")
    stale = await read(opened.gate, "Appointment/3")
    assert stale.stale
    assert stale.as_of == seen_at
    with pytest.raises(SourceUnreachable):
        await read(opened.gate, "Slot/12")
    assert [e.get("reason") for e in await audited(database)][2:] == ["stale", "transient"]


async def test_read_when_the_audit_cannot_be_written_answers_nothing(opened: TestGate) -> None:
    await opened.gate.audit.close()
    with pytest.raises(Unavailable):
        await read(opened.gate, "Slot/12")


async def test_resource_that_cannot_be_minimised_safely_is_not_shown(
    opened: TestGate, database: Database
) -> None:
    opened.source.put({**SLOT, "id": "13", "modifierExtension": [{"url": "urn:x"}]})
    with pytest.raises(NotFound):
        await read(opened.gate, "Slot/13")
    assert (await audited(database))[0]["reason"] == "minimise"


async def test_running_charters_that_lost_the_charter_deny(opened: TestGate) -> None:
    other = CHARTER.replace(b"charter: clinic-booking", b"charter: other")
    opened.gate.running.charters = Running(compile_book([parse_test_charter(other)])).charters
    with pytest.raises(NotFound):
        await read(opened.gate, "Slot/12")


async def take_a_right_away(database: Database) -> None:
    async with database.bookkeeping() as transaction:
        await bump_epoch(transaction, database.tenant)


async def test_right_that_is_taken_away_meanwhile_stops_the_answer(
    opened: TestGate, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def taking(reference: str, *, if_none_match: str | None = None) -> Any:
        await take_a_right_away(database)
        return await asked(reference, if_none_match=if_none_match)

    asked = opened.source.read
    monkeypatch.setattr(opened.source, "read", taking)
    with pytest.raises(Moved):
        await read(opened.gate, "Slot/12")
    monkeypatch.undo()
    assert (await read(opened.gate, "Slot/12")).body


async def test_credential_from_before_a_right_was_taken_away_is_looked_at_again(
    opened: TestGate, database: Database
) -> None:
    now = replace(CLIENT, epoch=0)
    assert (await read(opened.gate, "Slot/12", client=now)).body
    await take_a_right_away(database)
    with pytest.raises(Moved):
        await read(opened.gate, "Slot/12", client=now)
    epoch = await current_epoch(database)
    assert (await read(opened.gate, "Slot/12", client=replace(CLIENT, epoch=epoch))).body


async def test_charters_that_change_meanwhile_stop_the_answer(
    opened: TestGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def changing(reference: str, *, if_none_match: str | None = None) -> Any:
        opened.gate.running.charters = compile_book([parse_test_charter(CHARTER + b"# x\n")])
        return await asked(reference, if_none_match=if_none_match)

    asked = opened.source.read
    monkeypatch.setattr(opened.source, "read", changing)
    with pytest.raises(Moved):
        await read(opened.gate, "Slot/12")


def with_budget(opened: TestGate, **budgets: int) -> None:
    text = ", ".join(f"{name}: {most}" for name, most in budgets.items())
    changed = CHARTER + f"budgets: {{{text}}}\n".encode()
    opened.gate.running.charters = compile_book([parse_test_charter(changed)])
    for number in range(5):
        opened.source.put({**PATIENT, "id": f"p{number}"})


async def test_budget_of_patients_an_hour_holds_over_processes(
    opened: TestGate, database: Database, clock: FakeClock
) -> None:
    with_budget(opened, patients_per_hour=2)
    for reference in ("Patient/p0", "Patient/p1", "Patient/p0", "Slot/12"):
        await read(opened.gate, reference)
    opened.gate.caches.met.drop(("slot-picker", "clinic-booking", "north-ehr/Patient/p0", ""))
    await read(opened.gate, "Patient/p0")
    with pytest.raises(Throttled):
        await read(opened.gate, "Patient/p2")
    event = (await audited(database))[-1]
    assert (event["outcome"], event["reason"]) == ("denied", "patient-budget")
    clock.advance(3601)
    await read(opened.gate, "Patient/p2")


async def test_budget_holds_however_many_read_at_once(opened: TestGate) -> None:
    with_budget(opened, patients_per_hour=2)
    results = await asyncio.gather(
        *(read(opened.gate, f"Patient/p{n}") for n in range(5)), return_exceptions=True
    )
    assert sorted(type(r).__name__ for r in results) == ["Answer"] * 2 + ["Throttled"] * 3


async def test_interaction_may_be_bound_to_its_first_patient(
    opened: TestGate, database: Database
) -> None:
    with_budget(opened, patients_per_interaction=1)
    first = await read(opened.gate, "Patient/p0")
    with pytest.raises(NotFound) as refused:
        await read(opened.gate, "Patient/p1", interaction=first.interaction)
    assert str(refused.value) == reads.SAY_NOT_FOUND
    assert (await audited(database))[-1]["reason"] == "other-patient"
    assert (await read(opened.gate, "Slot/12", interaction=first.interaction)).body
    assert (await read(opened.gate, "Patient/p0", interaction=first.interaction)).body
    assert (await read(opened.gate, "Patient/p1")).body, "in an interaction of its own"


@pytest.fixture
def looked_up(opened: TestGate, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """References that were looked up in the record."""
    lookups, found = opened.gate.lookups, []
    current = lookups.current

    async def noted(connection: str, kind: str, id_: str, *, known: bytes | None = None) -> Any:
        found.append(f"{kind}/{id_}")
        return await current(connection, kind, id_, known=known)

    monkeypatch.setattr(lookups, "current", noted)
    return found


async def keep_elsewhere(database: Database, clock: FakeClock, family: str) -> None:
    """Another process learns that the patient changed."""
    body = canonical_bytes({**PATIENT, "name": [{"family": family}]})
    copy = Copy(
        reference="Patient/7", version="9", digest=digest(body), body=body, as_of=clock.advance(1)
    )
    await RecordStore(database).keep("north-ehr", [copy])


@pytest.mark.parametrize("reference", ["Patient/7", "Slot/12"])
async def test_resource_that_is_read_again_is_looked_up_no_more(
    opened: TestGate, looked_up: list[str], reference: str
) -> None:
    first = await read(opened.gate, reference)
    again = await read(opened.gate, reference)
    third = await read(opened.gate, reference)
    assert looked_up == [reference, reference], "the first found nothing, the second remembers"
    assert third.body == again.body == first.body


async def test_copy_that_is_out_of_date_is_noticed_before_anything_is_answered(
    opened: TestGate, database: Database, clock: FakeClock, looked_up: list[str]
) -> None:
    for _ in range(3):
        await read(opened.gate, "Patient/7")
    await keep_elsewhere(database, clock, "Other")
    with pytest.raises(Moved):
        await read(opened.gate, "Patient/7")
    looked_up.clear()
    answer = await read(opened.gate, "Patient/7")
    assert orjson.loads(answer.body)["name"] == [{"family": "Other"}]
    assert looked_up == ["Patient/7"]


async def test_copy_that_is_remembered_is_asked_for_again_when_it_is_too_old(
    opened: TestGate, clock: FakeClock
) -> None:
    for _ in range(3):
        await read(opened.gate, "Patient/7")
    asked = len(opened.source.asked)
    clock.advance(299)
    await read(opened.gate, "Patient/7")
    assert len(opened.source.asked) == asked
    clock.advance(2)
    assert (await read(opened.gate, "Patient/7")).as_of == clock()
    assert len(opened.source.asked) == asked + 1


async def test_another_epoch_makes_each_copy_be_looked_up_once_more(
    opened: TestGate, database: Database, looked_up: list[str]
) -> None:
    for _ in range(3):
        await read(opened.gate, "Patient/7")
    await take_a_right_away(database)
    with pytest.raises(Moved):
        await read(opened.gate, "Patient/7")
    looked_up.clear()
    for _ in range(3):
        await read(opened.gate, "Patient/7")
    assert looked_up == ["Patient/7"]
