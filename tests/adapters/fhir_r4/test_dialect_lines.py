"""Every line of every dialect file, worn by the sample hospital and tried on it.

What a probe can try, the probe tries: its verdict must be what the line says. What only documents
can say is looked at on the wire. Then each kind of write is made: it lands once, or it is refused.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import pytest

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.adapters.fhir_r4.dialect import PROBED, Dialect, load_dialect
from chartgate.demo.hospital.dress import dialect_names
from chartgate.demo.hospital.exchange import Refused, Request
from chartgate.demo.hospital.server import Hospital, running_hospital
from chartgate.errors import Throttled, VersionConflict, WriteRefused
from chartgate.model.verdict import Verdict
from chartgate.model.write import Change, Write
from chartgate.testing.builders import task
from chartgate.testing.conformance_bench import creation
from tests.adapters.fhir_r4.dressed import (
    KINDS,
    OFFERED,
    Opener,
    current,
    ignored_here,
    probed,
    wearing,
    write_of,
)
from tests.adapters.fhir_r4.test_auth import registered, write_key

NAMES = [name for name in dialect_names() if name != "generic"]
DIALECTS = {name: load_dialect(name) for name in NAMES}
LINES = [(name, line) for name in NAMES for line in DIALECTS[name].lines]
SENT_JSON = {"Content-Type": "application/fhir+json"}
FOUND: dict[str, dict[str, Verdict]] = {}  # one run of the probe a dialect serves all its lines

# The least that the sample hospital files of each type.
LEAST: dict[str, dict[str, Any]] = {
    "Appointment": {
        "status": "proposed",
        "participant": [{"status": "needs-action", "type": [{"text": "anybody"}]}],
    },
    "Communication": {"status": "completed"},
    "DocumentReference": {
        "status": "current",
        "content": [{"attachment": {"contentType": "text/plain"}}],
    },
    "Encounter": {"status": "planned", "class": {"code": "AMB"}},
    "Observation": {"status": "final", "code": {"text": "weight"}},
    "ServiceRequest": {
        "status": "draft",
        "intent": "proposal",
        "subject": {"display": "nobody"},
        "patientInstruction": "made",
    },
    "Slot": {
        "schedule": {"reference": "Schedule/1"},
        "status": "free",
        "start": "2026-03-02T09:00:00Z",
        "end": "2026-03-02T09:30:00Z",
    },
    "Task": {"status": "draft", "intent": "proposal"},
}

Checked = Callable[[Hospital, FhirR4, Any], Awaitable[None]]


async def sent(
    method: str, url: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """One request as nobody of ours would send it: status, headers, JSON."""
    content = None if body is None else orjson.dumps(body)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=content, headers={**SENT_JSON, **headers}) as answer,
    ):
        text = await answer.read()
        lowered = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, lowered, orjson.loads(text) if text else None


async def found(name: str, open_ehr: Opener) -> dict[str, Verdict]:
    """What the probe says of the hospital in this dress."""
    if name not in FOUND:
        async with wearing(name, without=ignored_here(name)) as hospital:
            ehr = await open_ehr(hospital.fhir_url, dialect=name, verdicts={}, retries=0)
            FOUND[name] = await probed(ehr)
    return FOUND[name]


@pytest.mark.parametrize(("name", "line"), [pair for pair in LINES if pair[1] in PROBED])
async def test_the_probe_finds_what_the_line_says(name: str, line: str, open_ehr: Opener) -> None:
    verdict = (await found(name, open_ehr))[line]
    assert verdict.holds is DIALECTS[name].lines[line].value, verdict.detail


async def check_scope(hospital: Hospital, ehr: FhirR4, value: Any) -> None:
    raise AssertionError("has a test of its own, with a token endpoint")


async def check_marker(hospital: Hospital, ehr: FhirR4, value: Any) -> None:
    receipt = await ehr.commit(Write(marker="m-1", changes=(creation(task()),)))
    made = hospital.resource(receipt.effects[0].reference)
    marked = made["identifier"] if value == "identifier" else made["meta"]["tag"]
    assert marked[-1]["system"] == "urn:chartgate:proposal"


async def check_creates(hospital: Hospital, ehr: FhirR4, value: Any) -> None:
    for resource_type in value.split():
        hospital.app.dress.check(
            "create",
            resource_type,
            Request(method="POST", path=resource_type, query="", headers={}),
        )
    assert "Task" not in value.split()
    with pytest.raises(WriteRefused, match="does not support this kind of write"):
        await ehr.commit(Write(marker="m-1", changes=(creation(task()),)))
    assert not hospital.journal.effects


async def check_updates(hospital: Hospital, ehr: FhirR4, value: Any) -> None:
    offered = value.split()
    for resource_type in ("Task", "Slot", *offered):
        reference = f"{resource_type}/1"
        request = Request(method="PUT", path=reference, query="", headers={})
        if resource_type in offered:
            hospital.app.dress.check("update", resource_type, request)
        else:
            with pytest.raises(Refused):
                hospital.app.dress.check("update", resource_type, request)
    hospital.edit({"resourceType": "Slot", "id": "1", **LEAST["Slot"]})
    copy = await current(ehr, "Slot/1")
    change = Change(
        interaction="update",
        resource_type="Slot",
        reference="Slot/1",
        resource={**orjson.loads(copy.body), "status": "busy"},
        if_match=copy.version or "1",
    )
    with pytest.raises(WriteRefused, match="does not support this kind of write"):
        await ehr.commit(Write(marker="m-1", changes=(change,)))
    assert hospital.resource("Slot/1")["status"] == "free"


async def check_if_match_required(hospital: Hospital, ehr: FhirR4, value: Any) -> None:
    hospital.edit({**task("first"), "id": "1"})
    body = {**task("second"), "id": "1"}
    status, _, _ = await sent("PUT", f"{hospital.fhir_url}/Task/1", body)
    assert (status, hospital.resource("Task/1")["description"]) == (412, "first")
    await ehr.commit(write_of("update", await current(ehr, "Task/1"), marker="m-1"))
    assert hospital.resource("Task/1")["description"] == "changed"


async def check_stale_status(hospital: Hospital, ehr: FhirR4, value: Any) -> None:
    hospital.edit({**task("first"), "id": "1"})
    copy = await current(ehr, "Task/1")
    hospital.edit({**task("second"), "id": "1"})
    body = {**task("third"), "id": "1"}
    stale = {"If-Match": 'W/"1"'}
    status, _, _ = await sent("PUT", f"{hospital.fhir_url}/Task/1", body, **stale)
    assert str(status) == value
    with pytest.raises(VersionConflict):
        await ehr.commit(write_of("update", copy, marker="m-1"))
    assert hospital.resource("Task/1")["description"] == "second"


async def check_answers_with_content(hospital: Hospital, ehr: FhirR4, value: Any) -> None:
    assert value is False
    hospital.edit({**task("first"), "id": "1"})
    body = {**task("second"), "id": "1"}
    good = {"If-Match": 'W/"1"'}
    status, headers, told = await sent("PUT", f"{hospital.fhir_url}/Task/1", body, **good)
    assert (status, headers["etag"], told) == (200, 'W/"2"', None)
    receipt = await ehr.commit(write_of("update", await current(ehr, "Task/1"), marker="m-1"))
    assert receipt.effects[0].version_after == "3"
    made = await ehr.commit(Write(marker="m-2", changes=(creation(task()),)))
    assert made.effects[0].version_after == "1"


async def check_caches_searches(hospital: Hospital, ehr: FhirR4, value: Any) -> None:
    criteria = "identifier=urn:chartgate:proposal|m-1"
    url = f"{hospital.fhir_url}/Task?{criteria}&_count=10"
    pairs = [("identifier", "urn:chartgate:proposal|m-1")]
    assert not (await ehr.search("Task", pairs, count_max=10)).copies
    _, _, before = await sent("GET", url)
    await ehr.commit(Write(marker="m-1", changes=(creation(task()),)))
    _, _, after = await sent("GET", url)
    assert before.get("entry") is None
    assert after.get("entry") is None, "it answers from its cache whoever does not say no-cache"
    assert len((await ehr.search("Task", pairs, count_max=10)).copies) == 1


async def check_retry_after(hospital: Hospital, ehr: FhirR4, value: Any) -> None:
    hospital.faults.switch("throttle", {"retry_after_s": 7}, times=2)
    status, headers, _ = await sent("GET", f"{hospital.fhir_url}/Task/1")
    assert status == 429
    assert ("retry-after" in headers) is value
    with pytest.raises(Throttled) as caught:
        await ehr.read("Task/1")
    assert caught.value.retry_after_s == pytest.approx(7, abs=1), "its other header says as much"


async def check_bindings(hospital: Hospital, ehr: FhirR4, value: Any) -> None:
    body = {**task(), "status": "no-such-status"}
    status, _, _ = await sent("POST", f"{hospital.fhir_url}/Task", body)
    assert (status < 300) is not value


async def check_versions_frozen(hospital: Hospital, ehr: FhirR4, value: Any) -> None:
    hospital.edit({**task("first"), "id": "1"})
    hospital.edit({**task("second"), "id": "1"})
    _, headers, told = await sent("GET", f"{hospital.fhir_url}/Task/1")
    assert (headers["etag"], told["meta"]["versionId"]) == ('W/"1"', "1")
    assert told["description"] == "second"


CHECKS: dict[str, Checked] = {
    "scope": check_scope,
    "marker": check_marker,
    "creates": check_creates,
    "updates": check_updates,
    "if_match_required": check_if_match_required,
    "stale_status": check_stale_status,
    "answers_with_content": check_answers_with_content,
    "caches_searches": check_caches_searches,
    "retry_after_on_429": check_retry_after,
    "enforces_required_bindings": check_bindings,
    "versions_frozen": check_versions_frozen,
}


@pytest.mark.parametrize(("name", "line"), LINES)
def test_every_line_has_a_test(name: str, line: str) -> None:
    assert line in PROBED or line in CHECKS


@pytest.mark.parametrize(
    ("name", "line"), [pair for pair in LINES if pair[1] not in PROBED and pair[1] != "scope"]
)
async def test_the_hospital_behaves_as_the_line_says_and_the_adapter_lives_with_it(
    name: str, line: str, open_ehr: Opener
) -> None:
    without = () if line in OFFERED else OFFERED
    async with wearing(name, without=without) as hospital:
        ehr = await open_ehr(hospital.fhir_url, dialect=name, retries=0)
        await CHECKS[line](hospital, ehr, DIALECTS[name].lines[line].value)


@pytest.mark.parametrize("name", [name for name, line in LINES if line == "scope"])
async def test_the_scope_of_the_line_is_what_is_asked_for(
    name: str, open_ehr: Opener, tmp_path: Any
) -> None:
    async with running_hospital(clients=[registered("ES384")], dialect=name) as hospital:
        hospital.edit({**task(), "id": "1"})
        ehr = await open_ehr(
            hospital.fhir_url,
            dialect=name,
            client_id="chartgate",
            key_file=write_key(tmp_path, "ES384"),
            key_alg="ES384",
        )
        await ehr.read("Task/1")
        (grant,) = hospital.app.desk.grants.values()
        assert set(grant.scope.split()) == set(str(DIALECTS[name].setting("scope")).split())


def stand_ins(dialect: Dialect) -> list[str]:
    return list(dialect.stand_ins)


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in NAMES for kind in stand_ins(DIALECTS[name])]
)
async def test_what_stands_in_for_a_delete_is_taken_and_kept(
    name: str, kind: str, open_ehr: Opener
) -> None:
    element, value = DIALECTS[name].stand_ins[kind]
    async with wearing(name, without=OFFERED) as hospital:
        hospital.edit({"resourceType": kind, "id": "1", **LEAST[kind]})
        ehr = await open_ehr(hospital.fhir_url, dialect=name, verdicts={}, retries=0)
        verdicts = await found(name, open_ehr)
        ehr.adopt({line: (verdict.holds, verdict.detail) for line, verdict in verdicts.items()})
        copy = await current(ehr, f"{kind}/1")
        change = Change(
            interaction="patch",
            resource_type=kind,
            reference=copy.reference,
            patch=({"op": "add", "path": f"/{element}", "value": value},),
            if_match=copy.version,
        )
        patches = {right.kind: right.on for right in ehr.write_rights()}["patch"]
        if patches:
            await ehr.commit(Write(marker="m-1", changes=(change,)))
            assert hospital.resource(f"{kind}/1")[element] == value
        else:
            with pytest.raises(WriteRefused, match="are off"):
                await ehr.commit(Write(marker="m-1", changes=(change,)))
            assert hospital.resource(f"{kind}/1")[element] == LEAST[kind][element]


@pytest.mark.parametrize("name", [name for name in NAMES if DIALECTS[name].ignores])
async def test_what_it_fills_in_by_itself_is_no_difference_in_its_dialect_alone(
    name: str, open_ehr: Opener
) -> None:
    async with wearing(name) as hospital:
        ehr = await open_ehr(hospital.fhir_url, dialect=name, retries=0)
        write = Write(marker="m-1", changes=(creation(task()),))
        receipt = await ehr.commit(write)
        after = [await current(ehr, receipt.effects[0].reference)]
        stored = hospital.resource(receipt.effects[0].reference)
        assert all(path.split(".")[1] in stored["meta"] for path in DIALECTS[name].ignores["*"])
        assert ehr.differences(write, receipt, after) == []
        other = await open_ehr(hospital.fhir_url, dialect="generic", retries=0)
        assert other.differences(write, receipt, after)


@pytest.mark.parametrize("kind", [*KINDS, *(f"{kind}, several together" for kind in KINDS)])
@pytest.mark.parametrize("name", NAMES)
async def test_each_kind_of_write_lands_once_on_what_was_seen_or_is_refused(
    name: str, kind: str, open_ehr: Opener
) -> None:
    interaction, _, together = kind.partition(", ")
    async with wearing(name, without=ignored_here(name)) as hospital:
        ids = ("1", "2") if together else ("1",)
        for number in ids:
            hospital.edit({**task("first"), "id": number})
        ehr = await open_ehr(hospital.fhir_url, dialect=name, verdicts={}, retries=0)
        verdicts = await found(name, open_ehr)
        ehr.adopt({line: (verdict.holds, verdict.detail) for line, verdict in verdicts.items()})
        copies = [await current(ehr, f"Task/{number}") for number in ids]
        right = next(right for right in ehr.write_rights() if right.kind == kind)
        before = len(hospital.journal.effects)
        write = write_of(interaction, *copies, marker="m-1")
        if not right.on:
            with pytest.raises(WriteRefused, match="are off"):
                await ehr.commit(write)
            assert len(hospital.journal.effects) == before
            assert "chartgate probe" in right.sentence
            return
        receipt = await ehr.commit(write)
        assert len(hospital.journal.effects) == before + len(ids)
        if interaction == "create":
            again = await ehr.commit(write)
            assert again.effects == receipt.effects
        elif interaction == "delete":
            await ehr.commit(write)  # what is gone may be deleted again, to no effect
        else:
            with pytest.raises((VersionConflict, WriteRefused)):
                await ehr.commit(write)
        assert len(hospital.journal.effects) == before + len(ids), "it landed once"


@pytest.mark.parametrize("name", [name for name in NAMES if "creates" in DIALECTS[name].lines])
async def test_system_that_takes_no_tasks_has_writes_off_and_says_what_to_do(
    name: str, open_ehr: Opener
) -> None:
    async with wearing(name) as hospital:
        ehr = await open_ehr(hospital.fhir_url, dialect=name, verdicts={}, retries=0)
        verdicts = await probed(ehr)
        assert "a Task could not be created: HTTP 405" in verdicts["create"].detail
        assert not any(right.on for right in ehr.write_rights())
        assert not hospital.journal.effects


async def test_epic_is_probed_with_what_it_lets_be_created(open_ehr: Opener, tmp_path: Any) -> None:
    sample = {"resourceType": "ServiceRequest", **LEAST["ServiceRequest"]}
    (tmp_path / "probe.json").write_bytes(orjson.dumps(sample))
    async with wearing("epic") as hospital:
        ehr = await open_ehr(
            hospital.fhir_url,
            dialect="epic",
            verdicts={},
            retries=0,
            probe_file="probe.json",
            probe_text="/patientInstruction",
        )
        verdicts = await probed(ehr)
        assert verdicts["create"].holds
        rights = {right.kind: right for right in ehr.write_rights()}
        assert rights["update"].on
        assert not rights["create"].on
        assert "if_none_exist" in rights["create"].sentence
        left = [v.resource for v in hospital.chart.current.values() if v.resource is not None]
        assert {resource["status"] for resource in left} == {"entered-in-error"}
