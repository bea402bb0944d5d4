"""What a search finds: one chart, many queries."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chartgate.demo.hospital import Hospital

Call = Callable[..., Awaitable[Any]]


@pytest.fixture
def filled(hospital: Hospital) -> Hospital:
    """Two patients, four slots, two appointments, two tasks, an encounter."""
    tag = {"system": "urn:chartgate:proposal", "code": "p-1"}
    people = (("ann", "Gärtner", "1980-05-17"), ("bob", "O'Neil", "1980-06"))
    for number, (name, family, born) in enumerate(people, start=1):
        hospital.edit(
            {
                "resourceType": "Patient",
                "id": name,
                "identifier": [{"system": "urn:mrn", "value": str(number)}],
                "name": [{"family": family, "given": [name.title()]}],
                "birthDate": born,
            }
        )
    for hour, status in ((9, "free"), (10, "busy"), (11, "free"), (12, "free")):
        hospital.edit(
            {
                "resourceType": "Slot",
                "id": f"s{hour}",
                "schedule": {"reference": "Schedule/1" if hour < 12 else "Schedule/2"},
                "status": status,
                "start": f"2026-03-02T{hour:02}:00:00Z",
                "end": f"2026-03-02T{hour:02}:30:00+00:00",
            }
        )
    for name, start in (("ann", "2026-03-02T10:00:00Z"), ("bob", "2026-03-03T10:00:00+01:00")):
        actors = ({"reference": f"Patient/{name}"}, {"reference": "Practitioner/dr"})
        hospital.edit(
            {
                "resourceType": "Appointment",
                "id": f"a-{name}",
                "meta": {"tag": [tag if name == "ann" else {"code": "plain"}]},
                "status": "booked",
                "start": start,
                "end": "2026-03-04T10:00:00Z",
                "participant": [{"actor": actor, "status": "accepted"} for actor in actors],
            }
        )
    hospital.edit(
        {
            "resourceType": "Encounter",
            "id": "e",
            "status": "finished",
            "class": {"system": "urn:act", "code": "AMB"},
            "subject": {"reference": "Patient/ann"},
            "period": {"start": "2026-03-01T08:00:00Z", "end": "2026-03-01T09:00:00Z"},
        }
    )
    return hospital


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Patient?_id=ann", "ann"),
        ("Patient?_id=ann,bob", "ann bob"),
        ("Patient?identifier=1", "ann"),
        ("Patient?identifier=urn:mrn|2", "bob"),
        ("Patient?identifier=urn:mrn|", "ann bob"),
        ("Patient?identifier=urn:other|1", ""),
        ("Patient?identifier=|1", ""),
        ("Patient?family=gart", "ann"),
        ("Patient?family=G%C3%84RT", "ann"),
        ("Patient?family:exact=gart", ""),
        ("Patient?family:contains=neil", "bob"),
        ("Patient?name=bob", "bob"),
        ("Patient?given=bob,ann", "ann bob"),
        ("Patient?birthdate=1980", "ann bob"),
        ("Patient?birthdate=1980-05-17", "ann"),
        ("Patient?birthdate=1980-06-01", ""),
        ("Patient?birthdate=ge1980-06", "bob"),
        ("Patient?birthdate=lt1980-06-01", "ann"),
        ("Patient?birthdate:missing=true", ""),
        ("Slot?status=free&schedule=Schedule/1", "s9 s11"),
        ("Slot?status=free&schedule=1", "s9 s11"),
        ("Slot?schedule:Schedule=2", "s12"),
        ("Slot?status:not=free", "s10"),
        ("Slot?start=2026-03-02T09:00:00Z", "s9"),
        ("Slot?start=2026-03-02T10:00:00%2B01:00", "s9"),
        ("Slot?start=gt2026-03-02T10:00:00Z&status=free", "s11 s12"),
        ("Slot?start=ge2026-03-02T10:00:00Z&start=lt2026-03-02T12:00:00Z", "s10 s11"),
        ("Slot?start=le2026-03-02T09:00:00Z", "s9"),
        ("Slot?start=ne2026-03-02T09:00:00Z&_sort=-start", "s12 s11 s10"),
        ("Slot?start=2026-03", "s9 s10 s11 s12"),
        ("Slot?start=sa2026-03-01", "s9 s10 s11 s12"),
        ("Slot?start=eb2026-03-02", ""),
        ("Slot?_sort=status,-start", "s10 s12 s11 s9"),
        ("Appointment?patient=ann", "a-ann"),
        ("Appointment?patient=Patient/ann", "a-ann"),
        ("Appointment?patient=dr", ""),
        ("Appointment?actor=Practitioner/dr", "a-ann a-bob"),
        ("Appointment?practitioner=dr&date=2026-03-02T10:00:00Z&status=booked", "a-ann"),
        ("Appointment?actor=Practitioner/dr&date=2026-03-03", "a-bob"),
        ("Appointment?_tag=urn:chartgate:proposal|p-1", "a-ann"),
        ("Appointment?status=http://hl7.org/fhir/appointmentstatus|booked", "a-ann a-bob"),
        ("Encounter?class=AMB&patient=ann", "e"),
        ("Encounter?date=2026-03-01", "e"),
        ("Encounter?date=gt2026-03-01T08:30:00Z", "e"),
        ("Encounter?date=lt2026-03-01", ""),
        ("Encounter?_lastUpdated=gt2020", "e"),
        ("Encounter?patient=", "e"),
    ],
)
async def test_search_finds(call: Call, filled: Hospital, query: str, expected: str) -> None:
    reply = await call("GET", query)
    assert reply.status == 200
    if "_sort" in query:
        assert reply.found == expected.split()
    else:
        assert sorted(reply.found) == sorted(expected.split())
    assert reply.json["total"] == len(expected.split())


async def test_a_form_searches_like_a_query(call: Call, filled: Hospital) -> None:
    form = "application/x-www-form-urlencoded"
    reply = await call("POST", "Slot/_search", b"status=free&schedule=2", Content_Type=form)
    assert reply.found == ["s12"]


@pytest.mark.parametrize(
    "query",
    [
        "Slot?colour=red",
        "Slot?status:above=free",
        "Slot?schedule.actor=dr",
        "Slot?start=yesterday",
        "Slot?start:missing=maybe",
        "Slot?_sort=colour",
        "Slot?_count=few",
        "Slot?_include=Slot:schedule",
    ],
)
async def test_what_cannot_be_searched_is_refused(call: Call, filled: Hospital, query: str) -> None:
    assert (await call("GET", query)).status == 400


async def test_a_lenient_search_leaves_out_what_it_cannot_and_says_so(
    call: Call, filled: Hospital
) -> None:
    reply = await call("GET", "Slot?colour=red&status=busy", Prefer="handling=lenient")
    assert reply.json["total"] == 1
    assert reply.json["link"][0]["url"].endswith("/Slot?status=busy")
    modes = [entry["search"]["mode"] for entry in reply.json["entry"]]
    assert modes == ["match", "outcome"]


async def test_a_count_comes_without_entries(call: Call, filled: Hospital) -> None:
    for query in ("Slot?_summary=count", "Slot?_count=0"):
        reply = (await call("GET", query)).json
        assert (reply["total"], "entry" in reply) == (4, False)
    assert "total" not in (await call("GET", "Slot?_total=none")).json


async def test_the_index_forgets_what_changed(call: Call, filled: Hospital) -> None:
    slot = filled.resource("Slot/s9")
    filled.edit({**slot, "status": "busy", "schedule": {"reference": "Schedule/9"}})
    assert (await call("GET", "Slot?schedule=Schedule/9")).found == ["s9"]
    assert (await call("GET", "Slot?status=free&schedule=Schedule/1")).found == ["s11"]
