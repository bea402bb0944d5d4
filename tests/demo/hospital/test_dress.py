"""The hospital in the dress of a product, on the wire; and what it may be asked to wear."""

from typing import Any

import pytest

from chartgate.demo.hospital.__main__ import parse
from chartgate.demo.hospital.dress import Dress, dialect_names, load_dress
from chartgate.demo.hospital.server import Hospital, make_hospital, running_hospital
from chartgate.errors import ConfigError

TASK = {"resourceType": "Task", "status": "draft", "intent": "proposal", "description": "first"}


@pytest.mark.parametrize("name", dialect_names())
async def test_every_dialect_can_be_worn(name: str) -> None:
    async with running_hospital(dialect=name) as hospital:
        assert hospital.app.dress.name == name
        assert hospital.app.dress.lines


def test_dialect_is_an_option_of_the_process() -> None:
    assert parse(["--dialect", "medplum"]).dialect == "medplum"
    assert parse([]).dialect == ""


def test_unknown_dialect_names_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="there is no dialect epik; there are athenahealth"):
        make_hospital(host="127.0.0.1", port=1, dialect="epik")


def test_hospital_that_wears_nothing_is_plain() -> None:
    assert Dress().plain
    assert not load_dress("epic").plain


async def test_epic_has_no_histories_no_deletes_and_no_bundles(
    call: Any, hospital: Hospital
) -> None:
    hospital.app.dress = load_dress("epic")
    hospital.edit({**TASK, "id": "1"})
    assert (await call("GET", "Task/1/_history")).status == 405
    assert (await call("DELETE", "Task/1")).status == 405
    patch = [{"op": "replace", "path": "/description", "value": "x"}]
    assert (await call("PATCH", "Task/1", patch)).status == 405
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": []}
    assert (await call("POST", "", bundle)).status == 405
    again = await call("GET", "Task/1", If_None_Match='W/"1"')
    assert again.status == 200, "conditional reads are not supported"


async def test_medplum_does_a_transaction_entry_by_entry_and_ignores_if_match_on_patch(
    call: Any, hospital: Hospital
) -> None:
    hospital.app.dress = load_dress("medplum")
    for number in ("1", "2"):
        hospital.edit({**TASK, "id": number})
    entries = [
        {
            "resource": {**TASK, "id": number, "description": "second"},
            "request": {"method": "PUT", "url": f"Task/{number}", "ifMatch": f'W/"{version}"'},
        }
        for number, version in (("1", "1"), ("2", "9"))
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = await call("POST", "", bundle)
    assert answer.status == 200
    assert [e["response"]["status"] for e in answer.json["entry"]] == ["200", "412"]
    assert hospital.resource("Task/1")["description"] == "second"
    assert hospital.resource("Task/2")["description"] == "first"
    patch = [{"op": "replace", "path": "/description", "value": "third"}]
    assert (await call("PATCH", "Task/2", patch, If_Match='W/"9"')).status == 200


async def test_oracle_health_wants_if_match_and_patches_what_it_lists(
    call: Any, hospital: Hospital
) -> None:
    hospital.app.dress = load_dress("oracle-health")
    hospital.edit({**TASK, "id": "1"})
    change = [{"op": "replace", "path": "/description", "value": "second"}]
    assert (await call("PATCH", "Task/1", change)).status == 412
    assert (await call("PATCH", "Task/1", change, If_Match='W/"9"')).status == 409
    guard = {"op": "test", "path": "/meta/versionId", "value": "1"}
    assert (await call("PATCH", "Task/1", [guard, *change], If_Match='W/"1"')).status == 422
    done = await call("PATCH", "Task/1", change, If_Match='W/"1"')
    assert (done.status, done.json, done.etag) == (200, None, 'W/"2"')
