"""How long to look, what to tick off, and who else must approve."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.model.charter import ActionRule
from chartgate.model.proposal import Difference
from chartgate.policy.reviewing import (
    Pace,
    fields_in,
    floor_s,
    key_of,
    missing,
    to_acknowledge,
    whole_seconds,
    words_in,
)

PACE = Pace(least_s=3.0, word_s=0.12, field_s=2.0)
ROLES = ("physician", "pharmacist", "nurse")


def rule(**changes: Any) -> ActionRule:
    plain: dict[str, Any] = {
        "name": "order", "writes": (), "guards": (), "rules": (), "review_by": "physician",
        "review_within_s": 60.0, "auto": None, "handoff_to": "ward", "handoff_within_s": 60.0,
        "handoff_below": 0.0,
    }  # fmt: skip
    return ActionRule(**{**plain, **changes})


def difference(path: str, after: Any = "x", *, of: str = "MedicationRequest/7") -> Difference:
    return Difference(reference=of, path=path, before=None, after=after)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([difference("status")], 3.0),  # the least
        ([difference("status"), difference("intent")], 4.0),
        ([difference("note[0].text", "word " * 100)], 12.0),
        ([difference(f"dosageInstruction[{n}].text") for n in range(5)], 10.0),
        ([difference(f"dosageInstruction[0].{n}") for n in "abcde"], 3.0),  # parts of one field
    ],
)
def test_floor_is_the_longest_of_time_words_and_fields(
    differences: list[Difference], expected: float
) -> None:
    assert floor_s(differences, PACE) == pytest.approx(expected)


def test_floor_when_a_charter_asks_for_more_is_that_and_never_less() -> None:
    differences = [difference("status"), difference("intent")]
    assert floor_s(differences, PACE, least_s=1.0) == 4.0
    assert floor_s(differences, PACE, least_s=30.0) == 30.0


def test_the_same_place_in_two_resources_is_two_fields() -> None:
    two = [difference("status"), difference("status", of="MedicationRequest/8")]
    assert fields_in(two) == 2


def test_type_of_what_is_new_takes_no_time() -> None:
    new = [difference("resourceType", of="Slot (new)"), difference("status", of="Slot (new)")]
    assert (fields_in(new), words_in(new)) == (1, 1)


def test_words_of_an_attachment_are_those_of_its_text_and_not_of_its_base64() -> None:
    data = difference("content[0].attachment.data", "QUJD " * 500)
    text = difference("content[0].attachment.data (text)", "three plain words")
    assert words_in([data, text]) == 3
    assert words_in([data]) == 500, "what nobody decoded counts as it stands"
    assert fields_in([data, text]) == 1


def test_words_count_what_was_there_as_well() -> None:
    changed = Difference(reference="Task/1", path="note", before="one two", after="three")
    assert words_in([changed]) == 3


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20))
def test_one_more_difference_never_makes_it_shorter(paths: list[str]) -> None:
    differences = [difference(path, "some words of it") for path in paths]
    floors = [floor_s(differences[:n], PACE) for n in range(1, len(differences) + 1)]
    assert floors == sorted(floors)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("dosageInstruction[0].doseAndRate[0].doseQuantity.value", True),
        ("dosageInstruction[2].text", True),
        ("_dosageInstruction[0].extension[0].url", True),
        ("medicationCodeableConcept.coding[0].code", True),
        ("medicationReference.reference", True),
        ("status", False),
        ("statusReason.text", False),
        ("note[0].dosageInstruction", False),
        ("resourceType", False),
    ],
)
def test_differences_of_named_elements_are_ticked_off_however_they_are_written(
    path: str, asked: bool
) -> None:
    action = rule(review_acknowledge=("dosageInstruction", "medication"))
    for of in ("MedicationRequest/7", "MedicationRequest (new)", "MedicationRequest (new 2)"):
        one = difference(path, of=of)
        assert to_acknowledge(action, [one]) == ((key_of(one),) if asked else ())


def test_without_a_running_rule_nothing_is_to_be_ticked_off() -> None:
    assert to_acknowledge(None, [difference("dosageInstruction[0].text")]) == ()


def test_keys_tell_differences_of_two_resources_apart() -> None:
    assert key_of(difference("status")) != key_of(difference("status", of="Slot/7"))


@pytest.mark.parametrize(
    ("people", "roles", "approvers", "left", "words"),
    [
        (1, (), {}, 1, "one more person"),
        (1, (), {"a": ["physician"]}, 0, ""),
        (3, (), {"a": ["physician"]}, 2, "2 more people"),
        (2, ROLES[:2], {}, 2, "a physician and a pharmacist"),
        (2, ROLES[:2], {"a": ["physician"]}, 1, "a pharmacist"),
        (2, ROLES[:2], {"a": ["physician"], "b": ["physician"]}, 1, "a pharmacist"),
        (2, ROLES[:2], {"a": ["physician", "pharmacist"]}, 1, "a pharmacist"),
        (2, ROLES[:2], {"a": ["physician", "pharmacist"], "b": ["physician"]}, 0, ""),
        (3, ROLES[:2], {"a": ["physician"]}, 2, "2 more people, among them a pharmacist"),
        (3, ROLES[:2], {"a": ["physician"], "b": ["pharmacist"]}, 1, "one more person"),
    ],
)
def test_what_is_missing(
    people: int, roles: tuple[str, ...], approvers: dict[str, list[str]], left: int, words: str
) -> None:
    found = missing(rule(review_people=people, review_roles=roles), approvers)
    assert (found.people, found.words, found.none) == (left, words, left == 0)


@given(
    st.lists(st.sets(st.sampled_from(ROLES)), max_size=4),
    st.sets(st.sampled_from(ROLES)),
    st.integers(1, 4),
)
def test_approvals_are_enough_exactly_where_each_role_has_a_person_of_its_own(
    held: list[set[str]], roles: set[str], people: int
) -> None:
    """Against trying all ways to give the roles to people."""
    action = rule(review_people=max(people, len(roles)), review_roles=tuple(sorted(roles)))
    approvers = {f"p{n}": sorted(each) for n, each in enumerate(held)}
    fits = any(
        all(role in mine for role, mine in zip(action.review_roles, some, strict=True))
        for some in permutations(held, len(roles))
    )
    enough = fits and len(held) >= action.review_people
    assert missing(action, approvers).none == enough


@given(st.lists(st.sets(st.sampled_from(ROLES)), max_size=4), st.sets(st.sampled_from(ROLES)))
def test_one_more_approval_never_leaves_more_to_do(held: list[set[str]], more: set[str]) -> None:
    action = rule(review_people=3, review_roles=ROLES)
    before = {f"p{n}": sorted(each) for n, each in enumerate(held)}
    after = {**before, "last": sorted(more)}
    assert missing(action, after).people <= missing(action, before).people


def test_seconds_left_are_never_told_too_few() -> None:
    assert [whole_seconds(s) for s in (-1.0, 0.0, 0.1, 1.0, 1.01)] == [0, 0, 1, 1, 2]
