"""The check of emitted events finds what is wrong, and only once a kind."""

from datetime import UTC, datetime

import pytest

from chartgate.model.audit import AuditEvent
from tests import emitted
from tests.transform.balp_profiles import BALP

EVENT = AuditEvent(
    recorded=datetime(2026, 11, 21, tzinfo=UTC),
    action="fhir.read",
    agent="client:a",
    entities=("Slot/1",),
    patient="Patient/1",
)


@pytest.mark.skipif(not BALP.is_dir(), reason="needs the corpus audit/ihe-balp")
def test_each_kind_of_event_is_checked_once_and_what_is_wrong_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked = emitted.Emitted()
    assert emitted.check(EVENT) == []
    monkeypatch.setattr(emitted, "findings", lambda resource, url: ["a fault"])
    for _ in range(2):
        checked.leaf_bytes(EVENT, tenant="main")
    assert len(checked.wrong) == len(set(checked.wrong)) > 0
    assert all(each.startswith("fhir.read: ") for each in checked.wrong)
