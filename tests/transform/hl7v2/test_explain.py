"""Which row made which element, and what became of the fields that none took."""

from chartgate.formats.hl7v2 import parse
from chartgate.testing.messages import adt, header, message, patient
from chartgate.transform.hl7v2.explain import (
    SAY_NO_ROW,
    SAY_NOT_APPLIED,
    SAY_SET_ID,
    Explanation,
    Left,
    Made,
    explain,
)
from chartgate.transform.hl7v2.messages import transform_with_provenance
from chartgate.transform.hl7v2.overrides import parse_overrides
from chartgate.transform.hl7v2.settings import FeedSettings

SETTINGS = FeedSettings(connection="adt", site="north", ids_are_identifiers=True)


def explained(raw: bytes, settings: FeedSettings = SETTINGS) -> Explanation:
    parsed = parse(raw)
    return explain(parsed, transform_with_provenance(parsed, settings), settings)


def left(found: Explanation) -> dict[str, str]:
    return {one.position: one.reason for one in found.left}


def made(found: Explanation, resource_type: str) -> dict[tuple[str, str], str]:
    return {
        (one.element, one.position): one.table
        for one in found.made
        if one.reference.startswith(f"{resource_type}/")
    }


def test_element_names_its_field_table_and_row() -> None:
    found = explained(message(header("ADT^A28"), "PID|1||a"))
    assert (
        Made(
            reference="Patient/a",
            element="identifier[]",
            position="PID-3",
            table="PID.Patient",
            row="PID-3 identifier[]",
        )
        in found.made
    )


def test_element_that_no_row_made_is_said_to_be_made_in_code() -> None:
    found = made(explained(adt("A01")), "Encounter")
    assert found[("subject", "")] == ""
    assert found[("status", "")] == ""
    assert ("class", "") not in found


def test_segment_that_stands_more_than_once_is_counted_among_its_like() -> None:
    raw = adt("A01", more=["OBX|1|ST|A||1", "OBX|2|ST|B||2"])
    assert ("code", "OBX[2]-3") in made(explained(raw), "Observation")
    raw = adt("A01", more=["OBX|1|ST|A||1"])
    assert ("code", "OBX-3") in made(explained(raw), "Observation")


def test_component_that_a_row_reads_is_named() -> None:
    rule = "[[row]]\ntable = \"PID Patient\"\nrow = 'PID-12.2 | language | string'"
    settings = FeedSettings(
        connection="adt", site="n", overrides=parse_overrides(rule, where="north.toml")
    )
    raw = message(header("ADT^A28"), "PID|1||a|||||||||x^de")
    assert ("language", "PID-12.2") in made(explained(raw, settings), "Patient")


def test_null_is_shown_as_a_removal_and_is_not_left() -> None:
    found = explained(message(header("ADT^A08"), 'PID|1||a||""||""'))
    removed = {(one.element, one.position) for one in found.made if one.removed}
    assert removed == {("name[]", "PID-5"), ("birthDate", "PID-7"), ("_birthDate", "PID-7")}
    assert not {"PID-5", "PID-7"} & left(found).keys()


def test_null_that_nothing_heeds_is_left() -> None:
    found = explained(message(header("ADT^A08"), 'PID|1||a||""', 'ZPI|""'))
    assert left(found)["ZPI-1"] == SAY_NO_ROW


def test_field_that_is_left_on_purpose_has_the_reason_of_its_table() -> None:
    settings = SETTINGS.tables
    reason = settings.table("PID.Patient").unmapped["PID-27"]
    found = explained(message(header("ADT^A28"), patient() + "|" * 14 + "VET"))
    assert Left(position="PID-27", reason=reason, deliberate=True) in found.left


def test_number_of_a_segment_is_left_on_purpose_and_a_first_field_of_another_kind_is_not() -> None:
    found = explained(message(header("ADT^A28"), patient(), "ZPI|1"))
    assert left(found)["PID-1"] == SAY_SET_ID
    assert left(found)["ZPI-1"] == SAY_NO_ROW
    assert {one.position: one.deliberate for one in found.left} == {"PID-1": True, "ZPI-1": False}


def test_field_that_a_row_knows_but_did_not_take_is_told_from_one_that_none_knows() -> None:
    found = explained(message(header("ADT^A28"), patient(), "GOL|AD", "ZZZ|1"))
    assert left(found)["ZZZ-1"] == SAY_NO_ROW
    found = explained(message(header("ADT^A28"), patient(), "TQ1|1||||||20240101"))
    assert left(found)["TQ1-7"] == SAY_NOT_APPLIED


def test_header_is_read_by_all_and_left_by_none() -> None:
    found = explained(adt("A01"))
    assert not [one for one in found.left if one.position.startswith(("MSH", "EVN"))]


def test_row_of_the_site_is_explained_like_any_other() -> None:
    rule = "[[row]]\ntable = \"ZPI Patient\"\nrow = 'ZPI-1 | language | string'"
    settings = FeedSettings(
        connection="adt", site="n", overrides=parse_overrides(rule, where="north.toml")
    )
    found = explained(message(header("ADT^A28"), patient(), "ZPI|de"), settings)
    assert made(found, "Patient")[("language", "ZPI-1")] == "ZPI.Patient"
    assert "ZPI-1" not in left(found)


def test_same_message_is_explained_the_same_way() -> None:
    raw = adt("A01", more=["OBX|1|ST|A||1", "NTE|1||x"])
    assert explained(raw) == explained(raw)
