"""An event and its leaf say the same: what is read from the ledger is what was written."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.errors import Invalid
from chartgate.model.audit import ACTIONS, SPARSE_FIELDS, AuditEvent, Outcome, leaf_bytes, read_leaf

texts = st.text(st.characters(codec="utf-8"), max_size=20)
several = st.lists(texts, max_size=3).map(tuple)
SEVERAL = ("labels", "patients")
optional = {n: st.none() | (several if n in SEVERAL else texts) for n in SPARSE_FIELDS}
events = st.builds(
    AuditEvent,
    recorded=st.datetimes(timezones=st.just(UTC)),
    action=st.sampled_from(sorted(ACTIONS)),
    agent=texts,
    outcome=st.sampled_from(Outcome),
    entities=several,
    details=st.dictionaries(st.sampled_from("abcdef"), texts).map(
        lambda d: tuple(sorted(d.items()))
    ),
    **optional,
)
EVENT = AuditEvent(recorded=datetime(2026, 1, 2, tzinfo=UTC), action="fhir.read", agent="client:a")


@given(events, texts)
def test_event_read_from_its_leaf_is_the_event(event: AuditEvent, tenant: str) -> None:
    assert read_leaf(leaf_bytes(event, tenant=tenant)) == event


@given(events, events, texts, texts)
def test_leaf_is_of_one_event_and_one_tenant(
    one: AuditEvent, other: AuditEvent, here: str, there: str
) -> None:
    alike = leaf_bytes(one, tenant=here) == leaf_bytes(other, tenant=there)
    assert alike == ((one, here) == (other, there))


def test_leaf_holds_each_field_under_its_own_name() -> None:
    """Verifiers that are not ours read them, and old leaves are read by these names for ever."""
    full = replace(
        EVENT,
        entities=("Slot/1",),
        details=(("b", "2"), ("a", "1")),
        **dict[str, Any]((n, (n,) if n in SEVERAL else n) for n in SPARSE_FIELDS),
    )
    leaf = orjson.loads(leaf_bytes(full, tenant="main"))
    assert leaf == {
        "recorded": "2026-01-02T00:00:00.000000+00:00",
        "action": "fhir.read",
        "agent": "client:a",
        "outcome": "success",
        "tenant": "main",
        "entities": ["Slot/1"],
        "details": {"a": "1", "b": "2"},
        **{n: [n] if n in SEVERAL else n for n in SPARSE_FIELDS},
    }
    assert {f.name for f in fields(AuditEvent)} | {"tenant"} == set(leaf)


def test_leaf_of_an_event_that_says_little_leaves_out_the_rest() -> None:
    leaf = orjson.loads(leaf_bytes(EVENT, tenant="main"))
    assert list(leaf) == ["action", "agent", "outcome", "recorded", "tenant"]


def test_leaf_of_a_later_version_is_read_without_what_it_added() -> None:
    leaf = orjson.loads(leaf_bytes(EVENT, tenant="main"))
    assert read_leaf(orjson.dumps({**leaf, "added": {"x": 1}})) == EVENT


WRONG: list[dict[str, object]] = [
    {"recorded": "x"},
    {"action": "no.such"},
    {"outcome": "x"},
    {"details": []},
    {"labels": 1},
]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", *({**orjson.loads(leaf_bytes(EVENT, tenant="main")), **w} for w in WRONG)],
)
def test_what_is_no_leaf_is_refused(body: object) -> None:
    with pytest.raises(Invalid, match="no audit event"):
        read_leaf(body if isinstance(body, bytes) else orjson.dumps(body))


def test_action_that_nobody_declared_is_no_event() -> None:
    with pytest.raises(AssertionError, match="add it to ACTIONS"):
        replace(EVENT, action="no.such")
