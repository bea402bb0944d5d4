"""Attacks on reading: side doors around the charter, inference by search, what minimisation cut."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest

from chartgate.demo.hospital.exchange import Refused
from chartgate.formats import r4
from tests.attacks.chart import INSTRUCTION, PATIENT
from tests.attacks.contract import CANARY, check_alike, refused
from tests.web.front_desk import Answer, FrontDesk

SITE = "/fhir/north-clinic"
SIDE_DOORS = (
    "Group", "List", "Appointment2", "CareTeam", "Provenance", "AuditEvent", "Communication",
    "Task", "QuestionnaireResponse", "Observation", "Condition", "AllergyIntolerance", "Consent",
    "Binary", "Bundle", "Basic", "Composition", "DocumentReference", "Encounter",
)  # fmt: skip


def get(
    desk: FrontDesk, headers: dict[str, str], path: str, **more: str
) -> Callable[[], Awaitable[Answer]]:
    return lambda: desk.ask("GET", SITE + path, headers=headers | more)


def post(desk: FrontDesk, headers: dict[str, str], path: str) -> Callable[[], Awaitable[Answer]]:
    return lambda: desk.ask("POST", SITE + path, headers=headers, json={})


def form(
    desk: FrontDesk, headers: dict[str, str], resource_type: str, body: str
) -> Callable[[], Awaitable[Answer]]:
    """The same search, where the query of a URL would be."""
    more = {"Content-Type": "application/x-www-form-urlencoded"}
    path = f"{SITE}/{resource_type}/_search"
    return lambda: desk.ask("POST", path, headers=headers | more, data=body.encode())


GUARDED = [
    # F-01: another type decides which resources are found
    ("F_01", "Slot", "_has:Appointment:slot:status=booked"),
    ("F_01", "Slot", "_has:Observation:subject:code=1-8"),
    ("F_01", "Patient", "_has:Observation:patient:code=1-8"),
    ("F_01", "Patient", "_has:Observation:patient:_has:AuditEvent:entity:user=x"),
    ("F_01", "Slot", "%5Fhas:Appointment:slot:status=booked"),
    ("F_01", "Slot", "_has=x"),
    # F-02: a chain reads through an element of another type
    ("F_02", "Appointment", "patient.name=Xq7"),
    ("F_02", "Appointment", "patient:Patient.name=Xq7"),
    ("F_02", "Appointment", "patient.general-practitioner.name=Xq7"),
    ("F_02", "Slot", "schedule.actor:Practitioner.name=x"),
    ("F_02", "Appointment", "patient:Patient=canary"),
    # F-03: searching for what is not shown
    ("F_03", "Patient", "address-postalcode=Xq7canary"),
    ("F_03", "Patient", "birthdate=ge1911-01-01"),
    ("F_03", "Patient", "identifier=Xq7canary-mrn"),
    ("F_03", "Patient", "_id=canary&name=Xq7"),
    ("F_03", "Slot", "appointment-type=x"),
    ("F_03", "Slot", "_sort=appointment-type"),
    ("F_03", "Appointment", "_sort=-reason-code"),
    ("F_03", "Slot", "identifier=x"),
    ("F_03", "Slot", "nonsense=x"),
    ("F_03", "Slot", "=x"),
    # F-05: languages that can look at anything
    ("F_05", "Slot", "_filter=status%20eq%20free"),
    ("F_05", "Slot", "_query=everything"),
    ("F_05", "Slot", "_content=Xq7canary"),
    ("F_05", "Slot", "_text=Xq7canary"),
    ("F_05", "Slot", "_type=Patient,Slot"),
    ("F_05", "Slot", "_list=x"),
    # F-07: what would come along
    ("F_07", "Appointment", "_include=Appointment:patient"),
    ("F_07", "Appointment", "_include:iterate=*"),
    ("F_07", "Appointment", "_include=*"),
    ("F_07", "Appointment", "_revinclude=*"),
    ("F_07", "Slot", "_revinclude=Appointment:slot"),
    ("F_07", "Slot", "_revinclude:iterate=Provenance:target"),
    ("F_07", "Slot", "_contained=true"),
    # F-08: dropping what protects it
    ("F_08", "Slot", "_elements=id"),
    ("F_08", "Slot", "_summary=count"),
    ("F_08", "Slot", "_summary=text"),
    ("F_08", "Slot", "_security=R"),
    ("F_08", "Slot", "_tag=x"),
    ("F_08", "Slot", "_total=accurate"),
    # F-18: modifiers on hidden and on shown elements
    ("F_18", "Slot", "status:not=free"),
    ("F_18", "Slot", "status:missing=true"),
    ("F_18", "Slot", "status:missing=false"),
    ("F_18", "Slot", "status:not-in=http://x"),
    ("F_18", "Slot", "status:in=http://x"),
    ("F_18", "Slot", "status:text=free"),
    ("F_18", "Slot", "status:above=free"),
    ("F_18", "Slot", "schedule:identifier=x"),
    ("F_18", "Slot", "schedule:Schedule.actor=x"),
    ("F_18", "Patient", "birthdate:missing=false"),
    ("F_18", "Appointment", "date:missing=true"),
]


@pytest.mark.parametrize(
    ("row", "resource_type", "query"), GUARDED, ids=[f"{r}-{t}-{q}" for r, t, q in GUARDED]
)
@pytest.mark.parametrize("way", [get, form], ids=["query", "form"])
async def test_F_01_02_03_05_07_08_18_search_that_looks_at_what_is_not_shown(
    desk: FrontDesk, bearer: dict[str, str], row: str, resource_type: str, query: str, way: Any
) -> None:
    if way is get:
        attack = get(desk, bearer, f"/{resource_type}?{query}")
    else:
        attack = form(desk, bearer, resource_type, query)
    answer = await refused(desk, attack, status=(400, 403, 404))
    assert "Xq7" not in answer.text


@pytest.mark.parametrize(
    "query",
    ["status=" + "x" * 501, "status=" + "," * 60, "&".join(["status=free"] * 31),
     "status=a%00b", "status=a%0Ab", "start=yesterday", "_sort=", "_count=0", "_count=-1",
     "_count=9&_count=9", "_id=../Patient/canary", "%ff=x", "&".join(["a=b"] * 300)],
    ids=range(13),
)  # fmt: skip
async def test_F_18_search_values_that_cannot_be_meant(
    desk: FrontDesk, bearer: dict[str, str], query: str
) -> None:
    await refused(desk, get(desk, bearer, f"/Slot?{query}"), status=(400, 403))


@pytest.mark.parametrize(
    "path",
    [
        f"/{PATIENT}/_history", "/Patient/_history", "/_history", "/_history?_since=2020-01-01",
        f"/{PATIENT}/_history/1", f"/{PATIENT}/_history?_at=2020-01-01",
    ],
)  # fmt: skip
async def test_F_09_versions_from_before_surface_is_absent(
    desk: FrontDesk, bearer: dict[str, str], path: str
) -> None:
    """No history and no vread: what was readable once is not readable by its version."""
    await refused(desk, get(desk, bearer, path), status=(400, 404, 405))


OPERATIONS = (
    "everything", "export", "graphql", "lastn", "stats", "document", "match", "validate",
    "meta", "expunge", "reindex", "transform", "evaluate-measure", "made-up",
)  # fmt: skip


@pytest.mark.parametrize("level", ["", "/Patient", f"/{PATIENT}", "/Group/x"])
async def test_F_10_operations_surface_is_absent(
    desk: FrontDesk, bearer: dict[str, str], level: str
) -> None:
    for name in OPERATIONS:
        path = f"{level}/${name}"
        await refused(desk, get(desk, bearer, path), status=(400, 404, 405))
    for name in OPERATIONS[:3]:
        way = post(desk, bearer, f"{level}/${name}")
        await refused(desk, way, status=(400, 404, 405))


async def test_F_10_batch_surface_is_absent(desk: FrontDesk, bearer: dict[str, str]) -> None:
    """A Bundle of reads or writes at the base of a site."""
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET"}}]}
    way = lambda: desk.ask("POST", f"{SITE}/", headers=bearer, json=bundle)
    await refused(desk, way, status=(404, 405))


@pytest.mark.parametrize("path", ["/Practitioner/canary-x/name", "/Patient/canary/Observation",
                                  "/Patient/canary/*", "/Patient/canary/Appointment?status=x"])  # fmt: skip
async def test_F_12_paths_through_a_compartment_surface_is_absent(
    desk: FrontDesk, bearer: dict[str, str], path: str
) -> None:
    await refused(desk, get(desk, bearer, path), status=(400, 404, 405))


async def test_F_12_references_show_no_names_and_open_no_door(
    desk: FrontDesk, scribe: dict[str, str]
) -> None:
    """What a reference displays, and a logical reference's identifier, are gone."""
    answer = await desk.ask("GET", f"{SITE}/Condition/canary", headers=scribe)
    assert answer.status == 200
    assert answer.json["subject"] == {"reference": PATIENT}
    way = get(desk, scribe, "/Observation/canary")
    await refused(desk, way, status=404)


@pytest.mark.parametrize(
    "header",
    ["If-None-Match", "If-Modified-Since", "If-Match", "Range", "If-Range", "If-Unmodified-Since"],
)
@pytest.mark.parametrize("value", ['W/"1"', "*", "Sat, 01 Jan 2000 00:00:00 GMT", "bytes=0-9"])
async def test_F_14_conditional_read_of_what_is_forbidden(
    desk: FrontDesk, bearer: dict[str, str], header: str, value: str
) -> None:
    """Its version cannot be found out by asking whether it is that one."""
    plain = await refused(desk, get(desk, bearer, "/Observation/canary"), status=404)
    way = get(desk, bearer, "/Observation/canary", **{header: value})
    check_alike(plain, await refused(desk, way, status=404))


async def test_F_15_forbidden_and_missing_cannot_be_told_apart(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    """Within a type that the charter does not read, one that is there and one that is not; and
    both leave the same trail. Times are compared by benchmarks/bench_refusals.py."""
    there = await refused(desk, get(desk, bearer, "/Observation/canary"), status=404)
    missing = await refused(desk, get(desk, bearer, "/Observation/none"), status=404)
    unknown = await refused(desk, get(desk, bearer, "/Nonsense/none"), status=404)
    in_type = get(desk, bearer, "/Patient/none")
    gone = await refused(desk, in_type, status=404, asked_max=1)
    check_alike(there, missing)
    for other in (unknown, gone):
        check_alike(there, other, asked_alike=False)


async def test_F_15_forbidden_and_missing_sites_cannot_be_told_apart(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    ways = [
        lambda p=p: desk.ask("GET", p, headers=bearer)
        for p in (f"/fhir/south-clinic/{PATIENT}", f"/fhir/none/{PATIENT}")
    ]
    answers = [await refused(desk, way, status=404) for way in ways]
    check_alike(*answers, asked_alike=False)


@pytest.mark.parametrize("status", [400, 401, 403, 409, 410, 422, 500, 502])
async def test_F_16_words_of_the_system_of_record_are_not_passed_on(
    desk: FrontDesk, bearer: dict[str, str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers a read with an error that quotes the chart."""

    def refuse(*_: Any) -> None:
        raise Refused(status, "processing", f"Patient {CANARY} born 1911-11-11 is locked")

    monkeypatch.setattr(desk.clinic.hospital.app, "_perform", refuse)
    monkeypatch.setattr(desk.clinic.hospital.app, "_quick_read", lambda *_: no())
    way = get(desk, bearer, "/Slot/unheard-of")
    answer = await refused(desk, way, status=(404, 502, 503), asked_max=2)
    assert "1911" not in answer.text


async def no() -> bool:
    """The hospital's short way to an answer is closed."""
    return False


@pytest.mark.parametrize("resource_type", SIDE_DOORS)
async def test_F_19_side_doors_around_the_compartment(
    desk: FrontDesk, bearer: dict[str, str], resource_type: str
) -> None:
    """What the charter does not list is neither read nor searched, by whatever way it would lead
    to a patient."""
    await refused(desk, get(desk, bearer, f"/{resource_type}/canary"), status=(400, 404))
    for query in ("", f"?patient={PATIENT}", f"?subject={PATIENT}", "?_id=canary"):
        await refused(desk, get(desk, bearer, f"/{resource_type}{query}"), status=(400, 403, 404))


async def test_F_19_every_type_of_R4_is_denied_unless_it_is_listed(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    listed = set(desk.gate.charters.get("clinic-booking").reads)
    types = [t for t in r4.resource_types() if t not in listed]
    assert len(types) > 130
    before = desk.clinic.hospital.journal.counts.total()
    for resource_type in types:
        answer = await desk.ask("GET", f"{SITE}/{resource_type}/canary", headers=bearer)
        assert answer.status == 404, resource_type
    assert desk.clinic.hospital.journal.counts.total() == before


async def shown(desk: FrontDesk, headers: dict[str, str], path: str) -> str:
    answer = await desk.ask("GET", SITE + path, headers=headers)
    assert answer.status == 200, answer.text
    return answer.text


async def test_F_23_narrative_is_dropped(desk: FrontDesk, scribe: dict[str, str]) -> None:
    for path in (f"/{PATIENT}", "/Condition/canary", "/DocumentReference/canary"):
        assert "<div" not in await shown(desk, scribe, path)


async def test_F_24_extensions_and_contained_resources_are_dropped(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    text = await shown(desk, bearer, f"/{PATIENT}")
    for gone in ("extension", "contained", "urn:hidden", "identifier", "address", "1911-11-1x"):
        assert gone not in text


async def test_F_24_modifier_extension_makes_a_resource_unreadable(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    """Without it the rest would be misread, so all of it is as if it were not there."""
    desk.clinic.hospital.edit(
        {
            "resourceType": "Patient",
            "id": "turned",
            "modifierExtension": [{"url": "urn:negates", "valueBoolean": True}],
            "name": [{"family": CANARY}],
        }
    )
    turned = await refused(desk, get(desk, bearer, "/Patient/turned"), status=404, asked_max=1)
    missing = await refused(desk, get(desk, bearer, "/Patient/none"), status=404, asked_max=1)
    check_alike(turned, missing)


@pytest.mark.parametrize("path", ["/Group/x", "/MeasureReport", "/Measure/$evaluate-measure",
                                  "/Observation/$stats", "/Patient?_summary=count"])  # fmt: skip
async def test_F_25_aggregates_surface_is_absent(
    desk: FrontDesk, bearer: dict[str, str], path: str
) -> None:
    """No counts, so no small cells and no differences between two of them."""
    await refused(desk, get(desk, bearer, path), status=(400, 403, 404))


async def test_F_25_totals_count_only_what_is_shown(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    answer = await desk.ask("GET", f"{SITE}/Slot?status=free&_count=200", headers=bearer)
    bundle = answer.json
    matches = [e for e in bundle.get("entry", []) if e["search"]["mode"] == "match"]
    assert bundle.get("total") in (None, len(matches))


DICOMWEB = ("/studies", "/dicomweb/studies?includefield=all", "/wado", "/studies/1/rendered",
            "/instances?PatientName=*", "/studies/1.2/series/3/bulkdata")  # fmt: skip


@pytest.mark.parametrize("path", DICOMWEB)
async def test_F_29_dicomweb_surface_is_absent(
    desk: FrontDesk, bearer: dict[str, str], path: str
) -> None:
    await refused(desk, lambda: desk.ask("GET", path, headers=bearer), status=404)


@pytest.mark.parametrize(
    "value",
    ["' OR 1=1 --", "'; DROP TABLE slot; --", "%' OR ''='", "pg_sleep(10)", "\u02bc OR 1=1",
     "/**/UNION/**/SELECT", "%%%%%%%%", "$(id)", "{{7*7}}", "${jndi:ldap://x}"],
)  # fmt: skip
async def test_F_30_sql_surface_is_absent_and_no_value_becomes_code(
    desk: FrontDesk, bearer: dict[str, str], value: str
) -> None:
    """There is no connector for databases; a value with SQL in it is searched for as a value, or
    refused, and our own store does not notice it."""
    before = await desk.gate.database.fetch_value(
        "SELECT count(*) FROM access_token WHERE tenant = $1"
    )
    path = f"{SITE}/Slot?status={quote(value)}"
    answer = await desk.ask("GET", path, headers=bearer)
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert not [e for e in answer.json.get("entry", ()) if e["search"]["mode"] == "match"]
    after = await desk.gate.database.fetch_value(
        "SELECT count(*) FROM access_token WHERE tenant = $1"
    )
    assert after == before


@pytest.mark.parametrize("path", ["/sites/x/lists", "/_api/web/lists?$filter=1", "/v1.0/sites"])
async def test_F_31_sharepoint_surface_is_absent(
    desk: FrontDesk, bearer: dict[str, str], path: str
) -> None:
    await refused(desk, lambda: desk.ask("GET", path, headers=bearer), status=404)


async def test_F_03_what_is_searched_stays_out_of_logs_and_audit(
    desk: FrontDesk, bearer: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    """Names of parameters are kept, their values are not."""
    await refused(desk, get(desk, bearer, f"/Patient?name={CANARY}"), status=(403, 404))
    assert CANARY not in "".join(capfd.readouterr())


async def test_F_12_injected_instructions_stay_data(
    desk: FrontDesk, scribe: dict[str, str]
) -> None:
    """A text with an instruction is a value of an element, in JSON, of the FHIR media type."""
    answer = await desk.ask("GET", f"{SITE}/{PATIENT}", headers=scribe)
    assert answer.headers["Content-Type"].startswith("application/fhir+json")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.json["name"][0]["given"] == [INSTRUCTION]
