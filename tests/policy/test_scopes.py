"""SMART v2 scopes: what is parsed, what a charter leaves of it, and which resources it covers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.model.charter import ReadRule
from chartgate.model.principal import Client
from chartgate.policy.scopes import (
    ALTERNATIVES_MAX,
    CONDITIONS_MAX,
    ScopeRefused,
    any_matches,
    matches,
    narrow,
    parse_scope,
    permitted_scopes,
)

CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
LAB: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "1",
    "status": "final",
    "category": [{"coding": [{"system": CATEGORY, "code": "laboratory"}]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}], "text": "Hemoglobin"},
    "subject": {"reference": "Patient/7"},
    "identifier": [{"system": "urn:lab", "value": "a,b|c"}],
}
VITAL = {**LAB, "id": "2", "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}]}
READS = {
    "Observation": ReadRule(elements=("status", "category", "subject"), search=("code", "patient")),
    "Patient": ReadRule(elements=("name", "active")),
    "Slot": ReadRule(elements=("status",), search=("status",)),
}


def granted(*asked: str) -> list[str]:
    return [str(scope) for scope in narrow(asked, READS)]


def covers(scope: str, resource: dict[str, Any]) -> bool:
    parsed = parse_scope(scope)
    assert parsed is not None
    return matches(parsed, resource)


@pytest.mark.parametrize(
    ("word", "letters"),
    [
        ("system/Slot.rs", "rs"),
        ("system/Slot.read", "rs"),
        ("system/Slot.write", "cud"),
        ("system/Slot.*", "cruds"),
        ("system/*.cruds", "cruds"),
    ],
)
def test_scopes_of_both_versions_are_read(word: str, letters: str) -> None:
    scope = parse_scope(word)
    assert scope is not None
    assert scope.letters == letters


@pytest.mark.parametrize(
    "word",
    [
        "system/Slot.",
        "system/Slot.sr",
        "system/Slot.dus",
        "system/Slot",
        "system/slot.rs",
        "System/Slot.rs",
        "system/Slot.rs system/Patient.rs",
        "system/Slot.rs\n",
        'system/Slot.rs?status="free"',
        "system/Slot.rs?status=a\\b",
        "charter:x",
        "x" * 1000,
        "system/Slot.rs?status=" + "x" * 1000,
        "",
    ],
)
def test_what_is_no_scope_is_none(word: str) -> None:
    assert parse_scope(word) is None


@pytest.mark.parametrize(
    "query",
    [
        "",
        "category",
        "category=",
        "=x",
        "category:not=x",
        "category:in=x",
        "subject:Patient.name=x",
        "subject.name=x",
        "category=a,,b",
        "category=%ff",
        "category=%00",
        "category=a&",
        "&".join(["category=a"] * 9),
        "category=" + ",".join("abcdefghij" * 6),
    ],
)
def test_a_query_that_is_not_plain_is_refused(query: str) -> None:
    with pytest.raises(ScopeRefused):
        parse_scope(f"system/Observation.rs?{query}")


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ([], ["system/Observation.rs", "system/Patient.r", "system/Slot.rs"]),
        (["system/*.rs"], ["system/Observation.rs", "system/Patient.r", "system/Slot.rs"]),
        (["system/Patient.rs"], ["system/Patient.r"]),
        (["system/Slot.cruds"], ["system/Slot.rs"]),
        (["system/Slot.c"], []),
        (["system/Encounter.rs"], []),
        (["system/Slot.s", "system/Slot.r"], ["system/Slot.rs"]),
        (["nonsense"], []),
        (
            ["system/Observation.rs?category=laboratory"],
            ["system/Observation.rs?category=laboratory"],
        ),
        (  # what is free needs no condition
            ["system/Observation.r", "system/Observation.rs?category=laboratory"],
            ["system/Observation.r", "system/Observation.s?category=laboratory"],
        ),
        (
            ["system/Observation.rs", "system/Observation.rs?category=laboratory"],
            ["system/Observation.rs"],
        ),
        (
            ["system/Observation.r?category=a", "system/Observation.s?category=a"],
            ["system/Observation.rs?category=a"],
        ),
        (
            ["system/*.rs?status=free"],
            ["system/Observation.rs?status=free", "system/Slot.rs?status=free"],
        ),
        (["system/Observation.r?code=x"], ["system/Observation.r?code=x"]),  # searchable
        (["system/Patient.r?_id=7"], ["system/Patient.r?_id=7"]),
    ],
)
def test_a_charter_leaves_no_more_than_it_allows(asked: list[str], left: list[str]) -> None:
    assert granted(*asked) == left


@pytest.mark.parametrize(
    "word",
    [
        "user/*.*",
        "user/Patient.r",
        "patient/*.rs",
        "launch",
        "launch/patient",
        "openid",
        "fhirUser",
        "profile",
        "offline_access",
        "online_access",
        "system/*.*",
        "system/*.cruds",
        "system/*.write",
        "system/*.c",
        "system/*.cruds?status=x",
    ],
)
def test_what_an_agent_may_not_hold_is_refused_whatever_stands_beside_it(word: str) -> None:
    with pytest.raises(ScopeRefused):
        narrow(["system/Slot.rs", word], READS)


@pytest.mark.parametrize(
    "word",
    [
        "system/Observation.r?identifier=x",  # the charter does not show it: that would tell
        "system/Patient.r?gender=male",
        "system/Observation.r?nonsense=x",
        "system/Observation.r?combo-code=x",  # nested
        "system/Observation.r?date=2026",
        "system/Observation.r?_security=R",
        "system/Observation.r?_tag=R",
        "system/Patient.r?name=x",  # a complex type
        "system/Observation.r?status=http://hl7.org/fhir/observation-status|final",
    ],
)
def test_a_condition_that_would_tell_or_cannot_be_evaluated_is_refused(word: str) -> None:
    with pytest.raises(ScopeRefused):
        narrow([word], READS)


@pytest.mark.parametrize(
    ("query", "covered"),
    [
        ("category=laboratory", True),
        ("category=vital-signs", False),
        ("category=vital-signs,laboratory", True),
        (f"category={CATEGORY}|laboratory", True),
        (f"category={CATEGORY}|", True),
        ("category=urn:other|laboratory", False),
        ("category=|laboratory", False),
        ("category=Laboratory", False),
        ("category=lab", False),
        ("category=a|b|c", False),
        ("category=laboratory&status=final", True),
        ("category=laboratory&status=amended", False),
        ("category=laboratory&category=vital-signs", False),
        ("code=http://loinc.org|718-7", True),
        ("code=http%3A%2F%2Floinc.org%7C718-7", True),
        ("code=Hemoglobin", False),
        ("patient=7", True),
        ("patient=Patient/7", True),
        ("patient=Group/7", False),
        ("subject=Patient/8", False),
        ("identifier=urn:lab|a%5C,b%5C|c", True),
        ("identifier=urn:lab|a", False),
        ("_id=1", True),
        ("_id=2,3", False),
        ("encounter=1", False),
        ("nonsense=1", False),
    ],
)
def test_a_condition_holds_as_a_search_would_find(query: str, covered: bool) -> None:
    assert covers(f"system/Observation.rs?{query}", LAB) is covered


@pytest.mark.parametrize(
    ("reference", "query", "covered"),
    [
        ("Patient/7/_history/2", "patient=7", True),
        ("https://other.example/fhir/Patient/7", "patient=7", False),
        ("https://other.example/fhir/Patient/7", "subject=Patient/7", False),
        ("Group/7", "patient=7", False),
        ("Group/7", "subject=7", True),
        ("#7", "patient=7", False),
        ("7", "patient=7", False),
    ],
)
def test_references_are_compared_by_type_and_id(reference: str, query: str, covered: bool) -> None:
    resource = {**LAB, "subject": {"reference": reference}}
    assert covers(f"system/Observation.rs?{query}", resource) is covered


def test_booleans_strings_and_choices_are_compared() -> None:
    patient = {"resourceType": "Patient", "active": True}
    assert covers("system/Patient.r?active=true", patient)
    assert not covers("system/Patient.r?active=false", patient)
    assert not covers("system/Patient.r?active=true", {"resourceType": "Patient", "active": 1})
    drug = {"resourceType": "MedicationRequest", "medicationCodeableConcept": LAB["code"]}
    assert covers("system/MedicationRequest.r?code=718-7", drug)
    other = {
        "resourceType": "MedicationRequest",
        "medicationReference": {"reference": "Medication/1"},
    }
    assert not covers("system/MedicationRequest.r?code=718-7", other)
    library = {"resourceType": "Library", "title": "Sepsis rules", "version": "10"}
    assert covers("system/Library.r?title=sepsis", library)
    assert not covers("system/Library.r?title=rules", library)
    assert not covers("system/Library.r?version=1", library)


@pytest.mark.parametrize("resource", [{}, {"resourceType": ["Observation"]}, {"resourceType": 1}])
def test_what_is_no_resource_is_not_covered(resource: dict[str, Any]) -> None:
    assert not covers("system/Observation.rs", resource)


@pytest.mark.parametrize("broken", [None, 1, "x", [], [None], {"coding": "x"}, {"coding": [1]}])
def test_an_element_that_is_not_what_it_should_be_matches_nothing(broken: Any) -> None:
    assert not covers("system/Observation.rs?category=laboratory", {**LAB, "category": broken})
    assert not covers("system/Observation.rs?patient=7", {**LAB, "subject": broken})


def test_a_client_reads_by_the_scopes_of_that_type_and_letter_alone() -> None:
    client = Client(
        id="a",
        charter="c",
        scopes=("system/Observation.r?status=final", "system/Observation.s", "system/Slot.rs"),
    )
    assert [str(s) for s in permitted_scopes(client, "Observation", "r")] == [
        "system/Observation.r?status=final"
    ]
    assert [str(s) for s in permitted_scopes(client, "Observation", "s")] == [
        "system/Observation.s"
    ]
    assert permitted_scopes(client, "Patient", "r") == ()
    assert any_matches(permitted_scopes(client, "Observation", "r"), LAB)
    assert not any_matches(
        permitted_scopes(client, "Observation", "r"), {**LAB, "status": "amended"}
    )
    assert not any_matches((), LAB)


@pytest.mark.parametrize(
    "word",
    [
        "user/*.*",
        "system/*.*",
        "system/*.rs",
        "patient/Observation.rs",
        "system/Observation.rs?",
        "x",
    ],
)
def test_a_token_that_should_not_be_there_grants_nothing(word: str) -> None:
    client = Client(id="a", charter="c", scopes=(word,))
    assert permitted_scopes(client, "Observation", "r") == ()


NAMES = st.sampled_from(["category", "status", "code", "patient", "_id", "subject", "nonsense"])
VALUES = st.sampled_from(["laboratory", "final", "718-7", "7", "1", "vital-signs", "x", "|7", "a|"])
CONDITIONS = st.lists(st.tuples(NAMES, VALUES), max_size=4)


@given(conditions=CONDITIONS, more=st.tuples(NAMES, VALUES), resource=st.sampled_from([LAB, VITAL]))
def test_another_condition_never_covers_more(
    conditions: list[tuple[str, str]], more: tuple[str, str], resource: dict[str, Any]
) -> None:
    def scope(*pairs: tuple[str, str]) -> str:
        query = "&".join(f"{name}={value}" for name, value in pairs)
        return "system/Observation.rs" + (query and f"?{query}")

    if covers(scope(*conditions, more), resource):
        assert covers(scope(*conditions), resource)


@given(asked=st.lists(st.tuples(st.sampled_from(["*", "Observation", "Slot", "Patient", "Task"]),
                                st.sampled_from(["r", "s", "rs"]), CONDITIONS), max_size=5))  # fmt: skip
def test_what_is_granted_lies_within_the_charter_and_within_what_was_asked(
    asked: list[tuple[str, str, list[tuple[str, str]]]],
) -> None:
    words = [
        f"system/{kind}.{letters}" + ("?" if pairs else "") + "&".join(f"{n}={v}" for n, v in pairs)
        for kind, letters, pairs in asked
    ]
    try:
        left = narrow(words, READS)
    except ScopeRefused:
        return
    for scope in left:
        rule = READS[scope.resource_type]
        assert set(scope.letters) <= set("rs" if rule.search else "r")
        again = parse_scope(str(scope))
        assert again == scope
    for resource in (LAB, VITAL):
        for letter in "rs":
            client = Client(id="a", charter="c", scopes=tuple(map(str, left)))
            if words and any_matches(permitted_scopes(client, "Observation", letter), resource):
                assert any(
                    kind in ("*", "Observation")
                    and letter in letters
                    and covers(
                        "system/Observation.rs" + ("?" if pairs else "")
                        + "&".join(f"{n}={v}" for n, v in pairs),
                        resource,
                    )
                    for kind, letters, pairs in asked
                )  # fmt: skip


def test_scope_covers_its_own_type_alone() -> None:
    assert covers("system/Observation.rs", LAB)
    assert not covers("system/Patient.rs", LAB)
    assert not covers("system/*.rs", LAB)  # what is granted names each type


@pytest.mark.parametrize(
    ("reference", "query", "covered"),
    [
        ("Patient/7", "subject=7", True),
        ("Patient/8", "subject=7", False),
        ("Patient/8", "patient=7", False),
        ("Group/7", "subject=7", True),
        ("Group/7", "patient=7", False),
        ("Nonsense/7", "subject=7", False),
        ("https://ehr.example/Patient/7", "subject=7", False),
        ("Patient/7/_history/2", "subject=Patient/7", True),
        ("#7", "subject=7", False),
    ],
)
def test_reference_is_to_that_one_and_to_no_other(
    reference: str, query: str, covered: bool
) -> None:
    resource = {**LAB, "subject": {"reference": reference}}
    assert covers(f"system/Observation.rs?{query}", resource) is covered


@pytest.mark.parametrize(
    ("resource", "query", "covered"),
    [
        ({"resourceType": "Encounter", "class": {"system": "s", "code": "AMB"}}, "class=AMB", True),
        (
            {"resourceType": "Encounter", "class": {"system": "s", "value": "AMB"}},
            "class=AMB",
            False,
        ),
        ({"resourceType": "Patient", "active": True}, "active=true", True),
        ({"resourceType": "Patient", "active": "true"}, "active=true", False),
        ({**LAB, "category": [{"coding": [{"code": "x"}]}]}, "category=|x", True),
        (LAB, "category=|laboratory", False),
        ({**LAB, "identifier": [{"system": "urn:lab", "value": "a=b"}]}, "identifier=a=b", True),
    ],
)
def test_token_is_compared_where_its_type_has_it(
    resource: dict[str, Any], query: str, covered: bool
) -> None:
    assert covers(f"system/{resource['resourceType']}.rs?{query}", resource) is covered


def test_query_to_its_bounds_is_read() -> None:
    values = ",".join(str(n) for n in range(ALTERNATIVES_MAX))
    scope = parse_scope(f"system/Observation.rs?code={values}")
    assert scope is not None
    assert [len(one.values) for one in scope.conditions] == [ALTERNATIVES_MAX]
    scope = parse_scope("system/Slot.rs?" + "&".join(["status=a"] * CONDITIONS_MAX))
    assert scope is not None
    assert len(scope.conditions) == CONDITIONS_MAX
    scope = parse_scope("system/Slot.rs?_lastUpdated=2026")
    assert scope is not None
    assert scope.conditions[0].name == "_lastUpdated"
    with pytest.raises(ScopeRefused):
        parse_scope(f"system/Observation.rs?code={values},x")


@pytest.mark.parametrize("query", ["code=%ff", "%ff=a"])
def test_query_that_does_not_decode_is_told_with_its_scope(query: str) -> None:
    with pytest.raises(ScopeRefused, match=rf"the scope system/Slot.rs\?{query} does not decode"):
        parse_scope(f"system/Slot.rs?{query}")


def test_id_is_always_shown() -> None:
    reads = {"Slot": ReadRule(elements=())}
    assert [str(s) for s in narrow(["system/Slot.rs?_id=1"], reads)] == ["system/Slot.r?_id=1"]
