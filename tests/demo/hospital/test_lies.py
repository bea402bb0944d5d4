"""Each way of lying about versions and writes does what its line in the table says, and no more."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from chartgate.demo.hospital import Hospital

TASK = {"resourceType": "Task", "status": "draft", "intent": "proposal", "description": "first"}


@pytest.fixture
def task(hospital: Hospital) -> str:
    """A Task in its second version."""
    for text in ("first", "second"):
        hospital.edit({**TASK, "id": "1", "description": text})
    return "Task/1"


async def test_forgotten_write_is_answered_as_if_it_were_one(
    call: Any, hospital: Hospital, task: str
) -> None:
    hospital.faults.switch("forget_writes")
    before = len(hospital.journal.effects)
    answer = await call("PUT", task, {**TASK, "id": "1"}, If_Match='W/"2"')
    assert (answer.status, answer.etag) == (200, 'W/"3"')
    assert (await call("POST", "Task", TASK)).status == 201
    assert hospital.resource(task)["description"] == "second"
    assert len(hospital.journal.effects) == before, "the journal knows what really happened"


async def test_frozen_etag_is_the_same_after_each_change(
    call: Any, hospital: Hospital, task: str
) -> None:
    hospital.faults.switch("frozen_etag")
    read = await call("GET", task)
    assert (read.etag, read.json["meta"]["versionId"]) == ('W/"1"', "1")
    done = await call("PUT", task, {**TASK, "id": "1"}, If_Match='W/"1"')
    assert (done.status, done.etag) == (200, 'W/"1"')
    assert done.headers["Location"].endswith("/_history/1")
    assert hospital.resource(task)["description"] == "first"


async def test_strong_etags_hold_against_strong_ones_alone(
    call: Any, hospital: Hospital, task: str
) -> None:
    hospital.faults.switch("strong_etags")
    assert (await call("GET", task)).etag == '"2"'
    assert (await call("GET", task, If_None_Match='"2"')).status == 304
    body = {**TASK, "id": "1"}
    assert (await call("PUT", task, body, If_Match='W/"2"')).status == 412
    assert (await call("PUT", task, body, If_Match='"2"')).status == 200


async def test_always_304_is_for_conditional_reads(
    call: Any, hospital: Hospital, task: str
) -> None:
    hospital.faults.switch("always_304")
    assert (await call("GET", task, If_None_Match='W/"1"')).status == 304
    assert (await call("GET", task)).status == 200


@pytest.mark.parametrize("fault", [None, "keep_half"])
async def test_refused_transaction_keeps_its_first_half_only_by_its_fault(
    fault: str | None, call: Any, hospital: Hospital
) -> None:
    for number in ("1", "2"):
        hospital.edit({**TASK, "id": number})
    if fault:
        hospital.faults.switch(fault)
    entries = [
        {
            "resource": {**TASK, "id": number, "description": "second"},
            "request": {"method": "PUT", "url": f"Task/{number}", "ifMatch": f'W/"{version}"'},
        }
        for number, version in (("1", "1"), ("2", "9"))
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert (await call("POST", "", bundle)).status == 412
    assert hospital.resource("Task/1")["description"] == ("second" if fault else "first")
    assert hospital.resource("Task/2")["description"] == "first"


async def test_date_is_told_and_may_be_off(call: Any, hospital: Hospital) -> None:
    told = parsedate_to_datetime((await call("GET", "Task")).headers["Date"])
    assert abs((told - datetime.now(UTC)).total_seconds()) < 5
    hospital.faults.switch("clock_skew_s", 3600)
    told = parsedate_to_datetime((await call("GET", "Task")).headers["Date"])
    assert 3500 < (told - datetime.now(UTC)).total_seconds() < 3700
