"""Relatives, general practitioners and care teams."""

from chartgate.testing.messages import header, message, patient, visit
from tests.transform.hl7v2.made import admission, all_of, fields, laid, only

KIN = "NK1|1|Example^Bob~Example^Bobby|BRO^Brother|2 Test Street|555-1~555-2|555-3|EP"


def test_next_of_kin_is_one_contact_and_a_related_person() -> None:
    record = laid(admission(KIN))
    [contact] = only(record, "Patient")["contact"]
    assert contact["name"] == {"family": "Example", "given": ["Bob"]}
    assert [(t["value"], t.get("use")) for t in contact["telecom"]] == [
        ("555-1", None),
        ("555-2", None),
        ("555-3", "work"),
    ]
    assert len(contact["relationship"]) == 2
    relative = only(record, "RelatedPerson")
    assert [name["given"] for name in relative["name"]] == [["Bob"], ["Bobby"]]
    assert relative["patient"]["reference"] == f"Patient/{only(record, 'Patient')['id']}"


def test_next_of_kin_of_a_later_message_take_the_place_of_the_former() -> None:
    record = laid(admission(KIN, "NK1|2|Example^Cy|FTH"), admission("NK1|1|Example^Cy|FTH"))
    assert [c["name"]["given"] for c in only(record, "Patient")["contact"]] == [["Cy"]]
    assert len(all_of(record, "RelatedPerson")) == 2


def test_employer_is_a_contact_and_no_person() -> None:
    record = laid(admission("NK1|1|Works^|EMR||||||||||Example Works"))
    assert only(record, "Patient")["contact"][0]["organization"]["display"] == "Example Works"
    assert all_of(record, "RelatedPerson") == []


def test_contact_without_a_name_says_nothing() -> None:
    assert "contact" not in only(laid(admission("NK1|1||BRO")), "Patient")


def test_general_practitioner_of_a_role_with_details_is_contained() -> None:
    role = fields("ROL", _1="R1", _2="AD", _3="PP^^HL70443", _4="7^Doctor^Dora", _5="2020",
                  _12="555-9", _14="Practice^^P1")  # fmt: skip
    found = only(_around_patient(role), "Patient")
    [gp] = found["generalPractitioner"]
    [contained] = found["contained"]
    assert gp["reference"] == f"#{contained['id']}"
    assert gp["display"] == "Dora Doctor"
    assert contained["period"] == {"start": "2020"}
    assert contained["organization"]["display"] == "Practice"


def test_general_practitioner_of_whom_only_the_person_is_named_is_a_reference() -> None:
    found = only(_around_patient("ROL||AD|PP|7^Doctor^Dora"), "Patient")
    assert [gp["display"] for gp in found["generalPractitioner"]] == ["Dora Doctor"]
    assert "contained" not in found


def test_general_practitioner_of_a_participation_may_have_a_role() -> None:
    person = "PRT||A||PP|7^Doctor^Dora"
    assert "contained" not in only(_around_patient(person), "Patient")
    role = fields("PRT", _2="A", _4="PP", _5="7^Doctor^Dora", _9="WARD", _15="555-1")
    found = only(_around_patient(role), "Patient")
    assert found["contained"][0]["location"][0]["display"] == "WARD"
    assert found["generalPractitioner"][0]["reference"].startswith("#")


def test_one_who_is_deleted_is_no_longer_there() -> None:
    before = _message("ROL||AD|PP|7^Doctor^Dora|2020", "ROL||AD|AT|8^Nurse^Nora")
    after = _message("ROL||DE|PP|7^Doctor^Dora|2020", "ROL||DE|AT|8^Nurse^Nora")
    held = laid(before)
    assert "generalPractitioner" in only(held, "Patient")
    assert "participant" in only(held, "CareTeam")
    record = laid(after, over=held)
    assert not only(record, "Patient").keys() & {"generalPractitioner", "contained"}
    assert "participant" not in only(record, "CareTeam")


def test_care_team_has_those_of_rol_prt_and_in3() -> None:
    case_manager = fields("IN3", _1="1", _21="9^Manager^Max")
    raw = message(
        header(), patient(), "ROL||AD|AT^^HL70443|8^Nurse^Nora", "PRT||A||AP|6^Other^Ole",
        "PRT||A||SUP|5^Supplier^Sue", visit(), "IN1|1|PLAN|ACME|Acme", case_manager,
    )  # fmt: skip
    team = only(laid(raw), "CareTeam")
    members = [p["member"]["display"] for p in team["participant"]]
    assert sorted(members) == ["Max Manager", "Nora Nurse", "Ole Other"]
    assert team["status"] == "active"


def test_role_after_the_visit_takes_part_in_it() -> None:
    plain, detailed = "ROL||AD|AT|8^Nurse^Nora|20240102", "ROL||AD|CP|9^Con^Carl||||||||555-1"
    record = laid(admission(plain, detailed))
    encounter = only(record, "Encounter")
    by_name = {p["individual"]["display"]: p for p in encounter["participant"]}
    assert by_name["Nora Nurse"]["period"] == {"start": "2024-01-02"}
    assert by_name["Carl Con"]["individual"]["reference"] == f"#{encounter['contained'][0]['id']}"
    assert len(encounter["contained"]) == 1
    assert "generalPractitioner" not in only(record, "Patient")


def _message(*segments: str) -> bytes:
    return message(header(), patient(), *segments, visit())


def _around_patient(*segments: str) -> dict[str, dict[str, object]]:
    return laid(_message(*segments))
