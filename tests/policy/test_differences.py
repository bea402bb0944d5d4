"""Our own diff: complete, minimal, and never taken from the AI's words."""

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartgate.errors import TooLarge, Unprocessable
from chartgate.model.proposal import is_intact
from chartgate.model.write import Change
from chartgate.policy.content import parse_changes
from chartgate.policy.differences import (
    DIFFERENCES_MAX,
    after_images,
    content_of,
    differences,
    leaf_changes,
)

SLOT: dict[str, Any] = {
    "resourceType": "Slot",
    "id": "12",
    "meta": {"versionId": "3", "lastUpdated": "2026-03-02T09:00:00Z"},
    "status": "free",
}
BEFORE = {"Slot/12": SLOT}
BUSY = {
    "interaction": "patch",
    "reference": "Slot/12",
    "patch": [{"op": "replace", "path": "/status", "value": "busy"}],
}


def rows(raw: list[dict[str, Any]], before: dict[str, Any] = BEFORE) -> list[tuple[Any, ...]]:
    found = differences(parse_changes(raw), before)
    return [(d.reference, d.path, d.before, d.after) for d in found]


def test_patch_when_applied_then_only_its_leaf_differs() -> None:
    assert rows([BUSY]) == [("Slot/12", "status", "free", "busy")]
    assert SLOT["status"] == "free"


def test_create_when_shown_then_every_leaf_is_new() -> None:
    resource = {
        "resourceType": "Appointment",
        "participant": [{"status": "accepted"}, {"actor": {"reference": "Patient/7"}}],
    }
    assert rows([{"interaction": "create", "resource": resource}]) == [
        ("Appointment (new)", "resourceType", None, "Appointment"),
        ("Appointment (new)", "participant[0].status", None, "accepted"),
        ("Appointment (new)", "participant[1].actor.reference", None, "Patient/7"),
    ]


def test_creates_when_there_are_two_of_a_type_then_their_labels_differ() -> None:
    raw = [{"interaction": "create", "resource": {"resourceType": "Task"}}] * 2
    assert {r[0] for r in rows(raw)} == {"Task (new)", "Task (new 2)"}


def test_update_when_it_drops_an_element_then_the_loss_is_shown() -> None:
    update = {"interaction": "update", "resource": {"resourceType": "Slot", "id": "12"}}
    assert rows([update]) == [("Slot/12", "status", "free", None)]


def test_delete_when_shown_then_all_is_gone() -> None:
    change = Change(interaction="delete", resource_type="Slot", reference="Slot/12")
    assert after_images([change], BEFORE) == (None,)
    assert {d.path for d in differences([change], BEFORE)} == {"resourceType", "id", "status"}


def test_version_when_only_the_server_changed_it_then_nothing_differs() -> None:
    resource = {**SLOT, "meta": {"versionId": "4", "lastUpdated": "2026-03-02T10:00:00Z"}}
    assert rows([{"interaction": "update", "resource": resource}]) == []


def test_note_when_it_is_a_text_then_the_reviewer_can_read_it() -> None:
    def note(text: str, kind: str = "text/plain; charset=utf-8") -> dict[str, Any]:
        data = base64.b64encode(text.encode()).decode()
        attachment = {"contentType": kind, "data": data}
        return {"resourceType": "DocumentReference", "content": [{"attachment": attachment}]}

    found = rows([{"interaction": "create", "resource": note("Seen today. Grüße.")}])
    assert found[-1][1:] == ("content[0].attachment.data (text)", None, "Seen today. Grüße.")
    pdf = rows([{"interaction": "create", "resource": note("x", "application/pdf")}])
    assert not any("(text)" in r[1] for r in pdf)


@pytest.mark.parametrize("data", ["no base64!", base64.b64encode(b"\xff\xfe").decode(), 5])
def test_note_when_it_does_not_decode_then_only_the_data_is_shown(data: Any) -> None:
    resource = {"resourceType": "Binary", "x": {"contentType": "text/plain", "data": data}}
    assert not any(
        "(text)" in r[1] for r in rows([{"interaction": "create", "resource": resource}])
    )


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/nothing", "value": 1},
        {"op": "remove", "path": "/nothing"},
        {"op": "add", "path": "/status/deeper", "value": 1},
        {"op": "add", "path": "/list/9", "value": 1},
        {"op": "test", "path": "/status", "value": "busy"},
    ],
)
def test_patch_when_it_does_not_fit_then_it_is_refused_without_content(
    operation: dict[str, Any],
) -> None:
    with pytest.raises(Unprocessable, match=r"the patch does not fit Slot/12$"):
        rows([{**BUSY, "patch": [operation]}], {"Slot/12": {**SLOT, "list": []}})


def test_patch_when_nothing_was_read_then_it_is_refused() -> None:
    with pytest.raises(Unprocessable, match="was not read"):
        rows([BUSY], {})


def test_differences_when_more_than_anyone_can_review_then_too_large() -> None:
    resource = {"resourceType": "Slot", **{f"x{n}": n for n in range(2001)}}
    with pytest.raises(TooLarge):
        rows([{"interaction": "create", "resource": resource}])


def test_content_when_built_then_its_digest_binds_changes_and_differences() -> None:
    content = content_of(parse_changes([BUSY]), BEFORE, version=1)
    assert is_intact(content)
    other = content_of(parse_changes([BUSY]), {"Slot/12": {**SLOT, "status": "x"}}, version=1)
    assert other.digest != content.digest


scalars = st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]) | st.just(1.0)
names = st.sampled_from(["a", "b", "c"])
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(names, trees, max_size=3)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1, and 1.0 is not 1."""
    return repr(sorted_tree(one)) == repr(sorted_tree(other))


def sorted_tree(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: sorted_tree(value[k]) for k in sorted(value)}
    return [sorted_tree(v) for v in value] if isinstance(value, list) else value


@settings(max_examples=500, deadline=None)
@given(before=objects, after=objects)
def test_differences_are_none_exactly_where_both_are_the_same(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert (list(leaf_changes(before, after)) == []) == same(before, after)


@settings(max_examples=500, deadline=None)
@given(before=objects, after=objects)
def test_differences_applied_to_what_was_give_what_will_be(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Told in leaves, so that a reviewer who reads them all has read everything."""
    told = {path: (old, new) for path, old, new in leaf_changes(before, after)}
    was, will_be = leaves(before), leaves(after)
    assert {p: v[0] for p, v in told.items() if v[0] is not None}.items() <= was.items()
    result = {p: v for p, v in was.items() if p not in told}
    result |= {p: new for p, (_, new) in told.items() if new is not None}
    assert same(result, will_be)


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """The same walk, written again in another way."""
    if isinstance(value, dict) and value:
        parts = ((f"{path}.{k}" if path else k, v) for k, v in value.items())
    elif isinstance(value, list) and value:
        parts = ((f"{path}[{i}]", v) for i, v in enumerate(value))
    else:
        return {path: value}
    return {p: leaf for at, inner in parts for p, leaf in leaves(inner, at).items()}


def note(data: Any, **more: Any) -> dict[str, Any]:
    if isinstance(data, bytes):
        data = base64.b64encode(data).decode()
    attachment = {"contentType": "text/plain", "data": data, **more}
    return {"resourceType": "DocumentReference", "id": "9", "content": [{"attachment": attachment}]}


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (None, b"new", (None, "new")),
        (b"old", b"new", ("old", "new")),
        (b"old", None, ("old", None)),
        (b"same", b"same", None),
        ("b2xk", "b2\nxk ", None),  # the same text in other lines
        ("no text!", b"new", (None, "new")),
        ("b2xk!", b"new", (None, "new")),
    ],
)
def test_note_that_changes_is_shown_as_text_before_and_after(
    before: Any, after: Any, shown: tuple[Any, Any] | None
) -> None:
    held = {"DocumentReference/9": note(before)} if before is not None else {}
    change = Change(
        interaction="update" if after is not None else "delete",
        resource_type="DocumentReference",
        reference="DocumentReference/9",
        resource=note(after) if after is not None else None,
        if_match="1",
    )
    found = [d for d in differences([change], held) if d.path.endswith(" (text)")]
    expected = ("DocumentReference/9", "content[0].attachment.data (text)")
    assert [(d.reference, d.path, d.before, d.after) for d in found] == (
        [] if shown is None else [(*expected, *shown)]
    )


def test_metadata_that_is_no_servers_own_is_shown() -> None:
    tagged = {**SLOT, "meta": {**SLOT["meta"], "tag": [{"code": "a"}]}}
    other = {
        **SLOT,
        "meta": {"versionId": "9", "lastUpdated": "2030-01-01", "tag": [{"code": "b"}]},
    }
    change = {"interaction": "update", "resource": other, "ifMatch": "3"}
    assert rows([change], {"Slot/12": tagged}) == [("Slot/12", "meta.tag[0].code", "a", "b")]
    assert rows([change]) == [("Slot/12", "meta.tag[0].code", None, "b")]


def test_what_is_created_after_another_change_has_its_own_name() -> None:
    appointment = {"interaction": "create", "resource": {"resourceType": "Basic", "language": "de"}}
    found = rows([BUSY, appointment, appointment])
    assert [row[0] for row in found] == ["Slot/12", *["Basic (new)"] * 2, *["Basic (new 2)"] * 2]


def test_differences_to_the_most_that_anyone_can_review_pass() -> None:
    many = {"resourceType": "Basic", "extension": [{"url": "u"}] * (DIFFERENCES_MAX - 1)}
    create = {"interaction": "create", "resource": many}
    assert len(rows([create])) == DIFFERENCES_MAX


def test_content_holds_its_version_and_who_edited_it() -> None:
    changes = parse_changes([BUSY])
    assert content_of(changes, BEFORE, version=1).edited_by is None
    content = content_of(changes, BEFORE, version=2, edited_by="person:sofia")
    assert (content.version, content.edited_by) == (2, "person:sofia")
    assert content.changes == changes
    assert is_intact(content)
