"""The walk's table, and the digest that a decision is bound to."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.errors import InvalidTransition
from chartgate.model.interaction import Seen
from chartgate.model.proposal import (
    ENDS,
    TRANSITIONS,
    Content,
    Difference,
    Proposal,
    Status,
    content_bytes,
    content_digest,
    content_from,
    is_intact,
    moved,
)
from chartgate.model.write import Change

AT = datetime(2026, 3, 2, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
CHANGES = st.lists(
    st.builds(
        Change,
        interaction=st.just("create"),
        resource_type=st.just("Task"),
        resource=st.dictionaries(TEXT.filter(lambda t: t not in ("id", "resourceType")), JSON).map(
            lambda body: {**body, "resourceType": "Task"}
        ),
    )
    | st.builds(
        Change,
        interaction=st.just("patch"),
        resource_type=st.just("Slot"),
        reference=st.just("Slot/1"),
        patch=st.lists(
            st.fixed_dictionaries({"op": st.just("add"), "path": TEXT, "value": JSON}),
            min_size=1,
            max_size=3,
        ).map(tuple),
        if_match=st.none() | st.just("3"),
    ),
    min_size=1,
    max_size=3,
)
DIFFERENCES = st.lists(
    st.builds(Difference, reference=TEXT, path=TEXT, before=JSON, after=JSON), max_size=3
)
SEEN = st.lists(
    st.builds(
        Seen,
        reference=TEXT,
        version=TEXT,
        digest=st.binary(min_size=32, max_size=32),
        as_of=st.just(AT),
    ),
    max_size=2,
)


@given(CHANGES, DIFFERENCES, SEEN)
def test_content_comes_back_from_its_bytes_and_is_intact(
    changes: list[Change], differences: list[Difference], base: list[Seen]
) -> None:
    made = Content(
        version=1,
        changes=tuple(changes),
        differences=tuple(differences),
        digest=content_digest(changes, differences, base),
        base=tuple(base),
    )
    body = content_bytes(made.changes, made.differences, made.base)
    found = content_from(body, version=1, digest=made.digest, edited_by=None)
    assert found == made
    assert is_intact(found)


@given(CHANGES, CHANGES, DIFFERENCES)
def test_other_changes_have_another_digest(
    one: list[Change], other: list[Change], differences: list[Difference]
) -> None:
    same = content_bytes(one, differences) == content_bytes(other, differences)
    assert (content_digest(one, differences) == content_digest(other, differences)) == same


@given(st.binary(max_size=100))
def test_bytes_that_are_no_content_never_raise_and_are_never_intact(body: bytes) -> None:
    found = content_from(body, version=1, digest="0" * 64, edited_by=None)
    assert not is_intact(found)


def proposal(status: Status) -> Proposal:
    return Proposal(
        id="p",
        charter="c",
        charter_digest="0",
        action="a",
        site="s",
        connection="n",
        author="client:x",
        interaction="i",
        stage="suggest",
        status=status,
        content=Content(version=1, changes=(), differences=(), digest=""),
        confidence=1.0,
        rationale="",
        created_at=AT,
        due_at=AT,
    )


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_proposal_moves_only_along_the_table(before: Status, after: Status) -> None:
    if after in TRANSITIONS[before]:
        assert moved(proposal(before), after).status is after
    else:
        with pytest.raises(InvalidTransition):
            moved(proposal(before), after)


def test_every_status_can_come_to_an_end() -> None:
    reached = set(ENDS)
    while more := {s for s, to in TRANSITIONS.items() if to & reached} - reached:
        reached |= more
    assert reached == set(Status)


def test_nothing_is_written_without_a_decision_on_the_way() -> None:
    """Every way from the start to COMMITTING leads through APPROVED."""
    reached: set[Status] = {Status.PENDING_REVIEW, Status.SHADOWED}
    steps: dict[Status, Any] = {s: to for s, to in TRANSITIONS.items() if s is not Status.APPROVED}
    while more := {t for s in reached for t in steps.get(s, ())} - reached:
        reached |= more
    assert Status.COMMITTING not in reached
