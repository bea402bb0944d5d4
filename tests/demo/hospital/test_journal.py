"""The journal counts what happened, no more and no less."""

from collections.abc import Awaitable, Callable
from typing import Any

from chartgate.demo.hospital import MARKER_SYSTEM, Hospital

Call = Callable[..., Awaitable[Any]]
MARKED = {
    "resourceType": "Basic",
    "code": {"text": "x"},
    "identifier": [{"system": MARKER_SYSTEM, "value": "p-1"}],
    "meta": {"tag": [{"system": MARKER_SYSTEM, "code": "p-2"}]},
}


async def test_effects_carry_markers_versions_and_request_ids(
    call: Call, hospital: Hospital
) -> None:
    made = (await call("POST", "Basic", MARKED, X_Request_ID="r-1")).json
    await call("PUT", f"Basic/{made['id']}", made, X_Request_ID="r-2")
    await call("PUT", f"Basic/{made['id']}", made, If_Match='W/"1"')
    await call("DELETE", f"Basic/{made['id']}")
    journal = f"{hospital.control_url}/journal"
    rows = (await call("GET", journal)).json
    assert [(r["seq"], r["interaction"], r["version"]) for r in rows] == [
        (1, "create", 1),
        (2, "update", 2),
        (3, "delete", 3),
    ]
    assert rows[0]["markers"] == ["p-1", "p-2"]
    assert [r["request_id"] for r in rows] == ["r-1", "r-2", ""]
    assert len((await call("GET", f"{journal}?marker=p-1")).json) == 2
    assert len((await call("GET", f"{journal}?since=2")).json) == 1
    assert (await call("GET", f"{journal}?since=x")).status == 400


async def test_every_mutating_request_is_seen_whatever_came_of_it(
    call: Call, hospital: Hospital
) -> None:
    await call("POST", "Basic", MARKED)
    await call("POST", "Basic", {})
    await call("GET", "Basic")
    rows = (await call("GET", f"{hospital.control_url}/requests")).json
    assert [(r["method"], r["path"], r["status"]) for r in rows] == [
        ("POST", "Basic", 201),
        ("POST", "Basic", 400),
    ]
    counts = (await call("GET", f"{hospital.control_url}/counts")).json
    assert counts == {"create": 2, "search": 1}


async def test_reset_forgets_the_journal_and_the_faults_but_not_the_chart(
    call: Call, hospital: Hospital
) -> None:
    await call("POST", "Basic", MARKED)
    hospital.faults.switch("latency_s", 0.0)
    await call("POST", f"{hospital.control_url}/reset")
    assert (hospital.journal.effects, hospital.faults.on) == ([], [])
    assert hospital.chart.types() == {"Basic": 1}
