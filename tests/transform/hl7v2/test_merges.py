"""Merges, moves, links and swaps: nothing is lost, and each resource says where it went."""

from typing import Any

import pytest

from chartgate.formats.hl7v2 import parse
from chartgate.testing.messages import header, message, patient
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.identity import lanes_of
from tests.transform.hl7v2.made import Record, all_of, fields, laid, only, said


def test_merge_of_patients_takes_each_of_its_triggers() -> None:
    for trigger in ("A18", "A30", "A34", "A36", "A39", "A40", "A43", "A46", "A47"):
        record = laid(_adt(trigger, _pid(), "MRG|1002^^^NORTH^MR"))
        stays, goes = all_of(record, "Patient")
        assert stays["link"][0]["type"] == "replaces", trigger
        assert goes["link"][0] | {"id": ""} == {
            "id": "",
            "other": {"reference": f"Patient/{stays['id']}"},
            "type": "replaced-by",
        }
        assert goes["active"] is False


def test_patient_with_another_number_keeps_the_old_one() -> None:
    stays, _ = all_of(laid(_adt("A47", _pid(), "MRG|1002^^^NORTH^MR")), "Patient")
    assert [(i["value"], i.get("use")) for i in stays["identifier"]] == [
        ("1002", "old"),
        ("1001", None),
    ]


def test_alternate_number_that_changes_makes_no_other_patient() -> None:
    found = only(laid(_adt("A48", _pid(), "MRG|1001^^^NORTH^MR|ALT9")), "Patient")
    assert [i["value"] for i in found["identifier"]] == ["ALT9", "1001"]
    assert "link" not in found


@pytest.mark.parametrize("trigger", ["A35", "A36", "A41", "A49"])
def test_account_that_is_merged_is_inactive_and_part_of_the_other(trigger: str) -> None:
    prior = "1002^^^NORTH^MR" if trigger == "A36" else ""
    record = laid(_adt(trigger, _pid(account="ACC1"), f"MRG|{prior}||ACC2"))
    stays, goes = _by_number(record, "Account", "ACC1", "ACC2")
    assert (stays["status"], goes["status"]) == ("active", "inactive")
    assert goes["partOf"]["reference"] == f"Account/{stays['id']}"
    olds = [i["value"] for i in stays["identifier"] if i.get("use") == "old"]
    assert olds == (["ACC2"] if trigger == "A49" else [])


def test_account_that_is_moved_is_the_other_patients() -> None:
    held = laid(_adt("A01", _pid("1002", account="ACC1")))
    record = laid(_adt("A44", _pid(account="ACC1"), "MRG|1002^^^NORTH^MR||ACC1"), over=held)
    account = only(record, "Account")
    right = next(p for p in all_of(record, "Patient") if p["identifier"][0]["value"] == "1001")
    assert [s["reference"] for s in account["subject"]] == [f"Patient/{right['id']}"]


@pytest.mark.parametrize("trigger", ["A42", "A50"])
def test_visit_that_is_merged_is_an_error_and_part_of_the_other(trigger: str) -> None:
    held = laid(_adt("A01", _pid(), _pv1("V2")))
    record = laid(_adt(trigger, _pid(), "MRG|||||V2", _pv1("V1")), over=held)
    stays, goes = _by_number(record, "Encounter", "V1", "V2")
    assert goes["status"] == "entered-in-error"
    assert goes["partOf"]["reference"] == f"Encounter/{stays['id']}"
    olds = [i["value"] for i in stays["identifier"] if i.get("use") == "old"]
    assert olds == (["V2"] if trigger == "A50" else [])


def test_visits_that_are_moved_are_the_other_patients() -> None:
    held = laid(_adt("A01", _pid("1002"), _pv1("V1")), _adt("A01", _pid("1002"), _pv1("V2")))
    moved = ["MRG|1002^^^NORTH^MR||||V1", _pv1("V1"), "MRG|1002^^^NORTH^MR||||V2", _pv1("V3")]
    record = laid(_adt("A45", _pid(), *moved), over=held)
    first, renamed, new = _by_number(record, "Encounter", "V1", "V2", "V3")
    right = next(p for p in all_of(record, "Patient") if p["identifier"][0]["value"] == "1001")
    for visit in (first, new):
        assert visit["subject"]["reference"] == f"Patient/{right['id']}"
    assert renamed["status"] == "entered-in-error"
    assert renamed["partOf"]["reference"] == f"Encounter/{new['id']}"


def test_alternate_number_of_a_visit_that_changes_keeps_the_old_one() -> None:
    pv1 = fields("PV1", _1="1", _2="I", _19="V1", _50="ALT2")
    found = only(laid(_adt("A51", _pid(), "MRG||||||ALT1", pv1)), "Encounter")
    assert [i["value"] for i in found["identifier"]] == ["ALT1", "V1", "ALT2"]


def test_link_names_each_other_until_it_is_taken_back() -> None:
    linked = laid(_adt("A24", _pid("1001"), _pid("1002")))
    first, second = all_of(linked, "Patient")
    assert first["link"][0]["other"]["reference"] == f"Patient/{second['id']}"
    assert second["link"][0]["type"] == "seealso"
    apart = laid(_adt("A37", _pid("1002"), _pid("1001")), over=linked)
    assert ["link" in p for p in all_of(apart, "Patient")] == [False, False]


def test_link_with_a_patient_stays_when_another_is_taken_back() -> None:
    held = laid(_adt("A24", _pid("1001"), _pid("1002")), _adt("A24", _pid("1001"), _pid("1003")))
    record = laid(_adt("A37", _pid("1001"), _pid("1002")), over=held)
    assert [len(p.get("link", ())) for p in all_of(record, "Patient")] == [1, 0, 1]


def test_swap_gives_each_patient_the_others_place() -> None:
    held = laid(
        _adt("A01", _pid("1001"), _pv1("V1", "A^1")), _adt("A01", _pid("1002"), _pv1("V2", "B^2"))
    )
    pairs = [_pid("1001"), _pv1("V1", "B^2"), _pid("1002"), _pv1("V2", "A^1")]
    record = laid(_adt("A17", *pairs), over=held)
    places = [e["location"][0]["location"]["display"] for e in all_of(record, "Encounter")]
    assert places == ["B, 2", "A, 1"]
    patients = [f"Patient/{p['id']}" for p in all_of(record, "Patient")]
    assert [e["subject"]["reference"] for e in all_of(record, "Encounter")] == patients


def test_second_patient_is_in_a_lane_of_their_own_which_the_message_holds_too() -> None:
    pair = parse(_adt("A24", _pid("1001"), _pid("1002")))
    alone = lanes_of(parse(_adt("A01", _pid("1002"))), "north")
    assert lanes_of(pair, "north")[1] == alone[0]
    assert alone[1] is None


@pytest.mark.parametrize(
    ("trigger", "segments", "position"),
    [
        ("A35", ["MRG|||ACC2"], "PID-18"),
        ("A41", ["PID|1||1001^^^NORTH^MR|||||||||||||||ACC1", "MRG|||ACC1"], "MRG-3"),
        ("A41", ["PID|1||1001^^^NORTH^MR|||||||||||||||ACC1", "MRG|1"], "MRG-3"),
        ("A42", ["MRG|||||V2"], "PV1-19"),
        ("A42", ["MRG|||||V1", "PV1|1|I|||||||||||||||||V1"], "MRG-5"),
        ("A45", [], "MRG"),
        ("A51", ["MRG||||||ALT1"], "PV1-19"),
        ("A24", [], "PID"),
        ("A24", ["PID|1||1001^^^NORTH^MR"], "PID-3"),
        ("A17", [], "PID"),
        ("A44", ["MRG|1002"], "MRG-3"),
    ],
)
def test_what_does_not_name_both_sides_is_refused(
    trigger: str, segments: list[str], position: str
) -> None:
    own = [] if any("ACC1" in s and s.startswith("PID") for s in segments) else [_pid()]
    with pytest.raises(Unmappable) as refused:
        said(_adt(trigger, *own, *segments))
    assert refused.value.position == position


def _adt(trigger: str, *segments: str) -> bytes:
    return message(header(f"ADT^{trigger}"), f"EVN|{trigger}|20240102030405", *segments)


def _pid(mrn: str = "1001", account: str = "") -> str:
    return patient(mrn) + (f"|||||{account}" if account else "")


def _pv1(number: str, place: str = "") -> str:
    return fields("PV1", _1="1", _2="I", _3=place, _19=number)


def _by_number(record: Record, resource_type: str, *numbers: str) -> list[dict[str, Any]]:
    """The resources with these identifiers, which are not old ones."""
    found = {
        i["value"]: r
        for r in all_of(record, resource_type)
        for i in r["identifier"]
        if i.get("use") != "old"
    }
    return [found[number] for number in numbers]
