"""Writing: each answer's exact meaning, and what never leaves the house."""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiohttp import web

from chartgate.adapters.fhir_r4.adapter import FhirR4
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.demo.hospital.server import Hospital
from chartgate.errors import ChartgateError, OutcomeUnknown, VersionConflict, WriteRefused
from chartgate.model.write import Change, Write
from chartgate.testing.builders import task
from chartgate.testing.conformance_bench import creation

Opener = Callable[..., Awaitable[FhirR4]]
Server = Callable[..., Awaitable[str]]
RESOURCE: dict[str, Any] = {**task(), "id": "1"}
CREATE = Change(interaction="create", resource_type="Task", resource=task())
UPDATE = Change(
    interaction="update",
    resource_type="Task",
    reference="Task/1",
    resource=RESOURCE,
    if_match="1",
)
PATCH = Change(
    interaction="patch",
    resource_type="Task",
    reference="Task/1",
    patch=({"op": "replace", "path": "/description", "value": "new"},),
    if_match="1",
)
DELETE = Change(interaction="delete", resource_type="Task", reference="Task/1", if_match="1")


def write(*changes: Change) -> Write:
    return Write(marker="m-1", changes=changes)


def without(*lines: str) -> dict[str, tuple[bool, str]]:
    return {line: (line not in lines, "test") for line in PROBED}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, WriteRefused),
        (303, OutcomeUnknown),
        (202, OutcomeUnknown),
        (400, WriteRefused),
        (401, WriteRefused),
        (403, WriteRefused),
        (404, WriteRefused),
        (405, WriteRefused),
        (409, VersionConflict),
        (410, WriteRefused),
        (412, VersionConflict),
        (422, WriteRefused),
        (423, VersionConflict),
        (501, WriteRefused),
    ],
)
async def test_each_answer_has_one_meaning(
    status: int, error: type[ChartgateError], open_ehr: Opener, serve: Server
) -> None:
    async def handler(request: web.Request) -> web.Response:
        outcome = {"issue": [{"code": "invalid", "diagnostics": "Jane Doe is not here"}]}
        return web.json_response(outcome, status=status)

    ehr = await open_ehr(await serve(handler))
    with pytest.raises(error) as caught:
        await ehr.commit(write(UPDATE))
    assert type(caught.value) is error
    told = f"{caught.value} {caught.value.operator_detail}"
    assert "Jane" not in told
    assert str(status) in told or status in (202, 303)


@pytest.mark.parametrize(
    ("lacking", "change", "named"),
    [
        (("if_match_on_put",), UPDATE, "if_match_on_put"),
        (("if_none_exist",), CREATE, "if_none_exist"),
        (("marker_survives",), CREATE, "marker_survives"),
        (("if_match_on_patch", "patch_test", "if_match_on_put"), PATCH, "if_match_on_patch"),
        (("if_match_on_delete",), DELETE, "if_match_on_delete"),
        (("etag_present",), UPDATE, "etag_present"),
    ],
)
async def test_writes_are_off_until_a_probe_has_shown_the_precondition(
    lacking: tuple[str, ...],
    change: Change,
    named: str,
    hospital: Hospital,
    open_ehr: Opener,
) -> None:
    ehr = await open_ehr(hospital.fhir_url, verdicts=without(*lacking))
    with pytest.raises(WriteRefused, match=f"`chartgate probe north-ehr`.*{named}"):
        await ehr.commit(write(change))
    assert not hospital.journal.requests


async def test_nothing_is_on_without_a_probe(hospital: Hospital, open_ehr: Opener) -> None:
    ehr = await open_ehr(hospital.fhir_url, verdicts={})
    for change in (CREATE, UPDATE, PATCH, DELETE):
        for changes in ((change,), (change, UPDATE)):
            with pytest.raises(WriteRefused, match="are off"):
                await ehr.commit(write(*changes))
    assert not hospital.journal.requests
    ehr.adopt(without())
    await ehr.commit(write(CREATE))


async def test_write_without_a_version_to_stand_on_is_refused(ehr: FhirR4) -> None:
    bare = Change(interaction="update", resource_type="Task", reference="Task/1", resource=RESOURCE)
    with pytest.raises(WriteRefused, match="without the version"):
        await ehr.commit(write(bare))
    with pytest.raises(WriteRefused, match="without changes"):
        await ehr.commit(write())


async def test_create_that_could_not_be_undone_is_refused(
    hospital: Hospital, open_ehr: Opener
) -> None:
    ehr = await open_ehr(hospital.fhir_url, verdicts=without("if_match_on_delete"))
    basic = {"resourceType": "Basic", "code": {"text": "test"}}
    with pytest.raises(WriteRefused, match="could not be undone"):
        await ehr.commit(write(creation(basic)))
    assert not hospital.journal.requests


async def test_patch_is_guarded_by_a_test_where_if_match_is_ignored(
    hospital: Hospital, open_ehr: Opener
) -> None:
    """The habit of Medplum, by a hospital that has it."""
    hospital.faults.switch("ignore_if_match", interactions=["patch"])
    hospital.edit(RESOURCE)
    ehr = await open_ehr(hospital.fhir_url, verdicts=without("if_match_on_patch"))
    receipt = await ehr.commit(write(PATCH))
    assert receipt.effects[0].version_after == "2"
    with pytest.raises(VersionConflict):
        await ehr.commit(write(PATCH))
    assert hospital.resource("Task/1")["meta"]["versionId"] == "2"


@pytest.mark.parametrize("status", [400, 422])
async def test_failing_test_is_a_conflict_only_if_the_version_moved(
    status: int, open_ehr: Opener, serve: Server
) -> None:
    version = "2"

    async def handler(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({**RESOURCE, "meta": {"versionId": version}})
        operations = orjson.loads(await request.read())
        assert operations[0] == {"op": "test", "path": "/meta/versionId", "value": "1"}
        assert "If-Match" not in request.headers
        return web.json_response({}, status=status)

    ehr = await open_ehr(await serve(handler), verdicts=without("if_match_on_patch"))
    with pytest.raises(VersionConflict):
        await ehr.commit(write(PATCH))
    version = "1"
    with pytest.raises(WriteRefused):
        await ehr.commit(write(PATCH))


@pytest.mark.parametrize("status", [400, 422])
async def test_patches_in_a_transaction_bear_both_guards_and_a_failing_one_is_a_conflict(
    status: int, open_ehr: Opener, serve: Server
) -> None:
    """A system may mind either, and say it as it likes."""
    version = "2"

    async def handler(request: web.Request) -> web.Response:
        if request.method == "GET":
            here = {**RESOURCE, "id": request.path[-1], "meta": {"versionId": version}}
            return web.json_response(here)
        for entry in orjson.loads(await request.read())["entry"]:
            assert entry["request"]["ifMatch"] == 'W/"1"'
            operations = orjson.loads(base64.b64decode(entry["resource"]["data"]))
            assert operations[0] == {"op": "test", "path": "/meta/versionId", "value": "1"}
        return web.json_response({}, status=status)

    ehr = await open_ehr(await serve(handler))
    both = write(PATCH, replace(PATCH, reference="Task/2"))
    with pytest.raises(VersionConflict):
        await ehr.commit(both)
    version = "1"
    with pytest.raises(WriteRefused):
        await ehr.commit(both)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"ETag": 'W/"2"', "Location": "http://x/fhir/Task/9/_history/2"}, None),
        ({"Location": "http://x/fhir/Task/9/_history/2"}, None),
        ({"Content-Location": "Task/9/_history/2"}, None),
        ({}, {**RESOURCE, "id": "9", "meta": {"versionId": "2"}}),
        ({"Location": "Task/9"}, {**RESOURCE, "id": "9", "meta": {"versionId": "2"}}),
    ],
)
async def test_receipt_takes_the_version_from_wherever_it_is_named(
    headers: dict[str, str], body: Any, open_ehr: Opener, serve: Server
) -> None:
    async def handler(request: web.Request) -> web.Response:
        content = orjson.dumps(body) if body else b""
        return web.Response(status=201, headers=headers, body=content)

    ehr = await open_ehr(await serve(handler))
    effect = (await ehr.commit(write(CREATE))).effects[0]
    assert (effect.reference, effect.version_after) == ("Task/9", "2")


async def test_success_that_names_no_version_is_unknown(open_ehr: Opener, serve: Server) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=201, headers={"Location": "Task/9"})

    ehr = await open_ehr(await serve(handler))
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(write(CREATE))


async def test_update_that_changed_nothing_keeps_its_version(
    open_ehr: Opener, serve: Server
) -> None:
    """Medplum answers 304 to a PUT that changes nothing."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=304)

    ehr = await open_ehr(await serve(handler))
    assert (await ehr.commit(write(UPDATE))).effects[0].version_after == "1"


async def test_what_exists_already_but_is_not_ours_is_refused(
    open_ehr: Opener, serve: Server
) -> None:
    """A server that passes over If-None-Exist's parameter finds anything."""

    async def handler(request: web.Request) -> web.Response:
        if request.method == "GET":
            found = {"resource": {**RESOURCE, "meta": {"versionId": "1"}}}
            return web.json_response(
                {"resourceType": "Bundle", "type": "searchset", "entry": [found]}
            )
        return web.json_response(RESOURCE, headers={"ETag": 'W/"1"', "Location": "Task/1"})

    ehr = await open_ehr(await serve(handler))
    with pytest.raises(WriteRefused, match="shows nothing of ours"):
        await ehr.commit(write(CREATE))


@pytest.mark.parametrize(
    "statuses", [("201", "412"), ("201",), ("201", ""), ("200", "200"), ("201", "404")]
)
async def test_transaction_answered_entry_by_entry_is_unknown_unless_all_went_well(
    statuses: tuple[str, ...], open_ehr: Opener, serve: Server
) -> None:
    """A server may take a transaction for a batch (Medplum without `transactions`)."""

    async def handler(request: web.Request) -> web.Response:
        entries = [
            {"response": {"status": status, "location": "Task/1/_history/2"}} for status in statuses
        ]
        return web.json_response(
            {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
        )

    ehr = await open_ehr(await serve(handler))
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(write(CREATE, UPDATE))


async def test_conflict_on_what_an_earlier_request_of_ours_did_is_its_receipt(
    hospital: Hospital, ehr: FhirR4
) -> None:
    """Sent again after a lost answer: the slot is busy because we took it."""
    hospital.edit(RESOURCE)
    both = write(CREATE, UPDATE)
    hospital.faults.switch("error_after_applying", 502, times=1)
    with pytest.raises(OutcomeUnknown):
        await ehr.commit(both)
    again = await ehr.commit(both)
    assert again.resolved
    assert len(hospital.journal.effects_of("m-1", interaction="create")) == 1


async def test_two_creates_of_one_write_are_two(hospital: Hospital, ehr: FhirR4) -> None:
    receipt = await ehr.commit(write(CREATE, CREATE))
    assert len({effect.reference for effect in receipt.effects}) == 2
    again = await ehr.commit(write(CREATE, CREATE))
    assert again.effects == receipt.effects


async def test_patch_that_does_not_apply_is_refused_before_it_is_sent(
    hospital: Hospital, open_ehr: Opener
) -> None:
    hospital.edit(RESOURCE)
    ehr = await open_ehr(hospital.fhir_url, verdicts=without("if_match_on_patch", "patch_test"))
    wrong = Change(
        interaction="patch",
        resource_type="Task",
        reference="Task/1",
        patch=({"op": "remove", "path": "/owner"},),
        if_match="1",
    )
    with pytest.raises(WriteRefused, match="does not apply"):
        await ehr.commit(write(wrong))
    stale = Change(
        interaction="patch",
        resource_type="Task",
        reference="Task/1",
        patch=PATCH.patch,
        if_match="0",
    )
    with pytest.raises(VersionConflict):
        await ehr.commit(write(stale))
    assert hospital.resource("Task/1")["meta"]["versionId"] == "1"


async def test_create_that_arrives_after_its_undoing_creates_nothing(
    hospital: Hospital, ehr: FhirR4
) -> None:
    """The undoing leaves our marker where it was, so that a held-up first request finds it."""
    write = Write(marker="late-1", changes=(CREATE,))
    receipt = await ehr.commit(write)
    await ehr.commit(await ehr.compensation(write, receipt, ()))
    again = await ehr.commit(write)
    assert again.effects[0].reference == receipt.effects[0].reference
    assert len(hospital.journal.effects_of("late-1", interaction="create")) == 1
    status = hospital.resource(receipt.effects[0].reference)["status"]
    assert status in ("cancelled", "entered-in-error")
