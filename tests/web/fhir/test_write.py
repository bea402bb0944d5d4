"""Writes at the FHIR door."""

import pytest

from tests.web.serving import Served


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "Slot"), ("PUT", "Slot/12"), ("PATCH", "Slot/12"), ("DELETE", "Slot/12"),
        ("POST", ""), ("POST", "Slot/12/$validate"), ("PUT", "Slot?status=free"),
    ],
)  # fmt: skip
async def test_write_is_answered_with_how_to_propose(
    served: Served, method: str, path: str
) -> None:
    async with served.http.request(
        method,
        f"{served.url}/fhir/north-clinic/{path}",
        json={"resourceType": "Slot"},
        headers={**await served.bearer(), "X-HTTP-Method-Override": "GET"},
    ) as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"
        outcome = await answer.json(content_type=None)
    assert "/v1/proposals" in outcome["issue"][0]["diagnostics"]
    rows = await served.gate.database.fetch(
        "SELECT outcome FROM audit_event WHERE tenant = $1 AND action = 'fhir.write'"
    )
    assert [row["outcome"] for row in rows] == ["denied"]
    assert not served.opened.source.asked
