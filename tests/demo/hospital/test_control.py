"""The back door: edits and looks without a token."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chartgate.demo.hospital import Hospital, running_hospital, sample_patients

Call = Callable[..., Awaitable[Any]]


async def test_an_edit_is_a_version_that_the_journal_shows(call: Call, hospital: Hospital) -> None:
    chart = f"{hospital.control_url}/chart"
    body = {"resourceType": "Patient", "id": "a"}
    assert (await call("PUT", chart, body)).json == {"reference": "Patient/a", "version": 1}
    assert (await call("PUT", chart, body)).json["version"] == 2
    assert [e.client for e in hospital.journal.effects] == ["hospital-staff"] * 2


@pytest.mark.parametrize("body", [b"{", b"[]", {"resourceType": "X", "id": "a"}, {"id": "a"}])
async def test_an_edit_that_is_no_resource_is_refused(
    call: Call, hospital: Hospital, body: Any
) -> None:
    assert (await call("PUT", f"{hospital.control_url}/chart", body)).status in (400, 404)


async def test_scenario_and_resources_are_shown(call: Call) -> None:
    async with running_hospital(fill=sample_patients()) as filled:
        scenario = (await call("GET", f"{filled.control_url}/scenario")).json
        assert scenario["booking_patient"] == filled.scenario.booking_patient
        shown = f"{filled.control_url}/resource?reference={scenario['visit']}"
        assert (await call("GET", shown)).json["status"] == "finished"
        assert (await call("GET", shown + "x")).status == 404
        assert (await call("GET", f"{filled.control_url}/nowhere")).status == 404
        assert (await call("GET", f"{filled.control_url}/types")).json["Patient"] > 50
        assert (await call("GET", filled.url)).json["fhir"] == filled.fhir_url


async def test_expiring_the_tokens_is_one_call(call: Call, hospital: Hospital) -> None:
    assert (await call("POST", f"{hospital.control_url}/expire-tokens")).status == 200
