"""Who sent what, on whose behalf, when and why: one Provenance for a message."""

from typing import Any

import pytest

from chartgate.formats.hl7v2 import parse
from chartgate.formats.r4_structure import structure_findings
from chartgate.testing.messages import adt, header, message, patient, siu, visit
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import transform_with_provenance
from tests.transform.hl7v2.made import SETTINGS, fields, said


def provenance(raw: bytes) -> dict[str, Any]:
    """That of a message, which is its last draft."""
    found = merged(None, transform_with_provenance(parse(raw), SETTINGS).drafts[-1])
    assert not list(structure_findings(found))
    return found


def agents(found: dict[str, Any]) -> dict[str, Any]:
    """Who takes part, by what they do."""
    return {a["type"]["coding"][0]["code"]: a for a in found["agent"]}


def test_message_names_its_sender_its_bytes_and_all_that_it_made() -> None:
    found = provenance(adt())
    assert [t["reference"] for t in found["target"]] == [d.reference for d in said(adt()).drafts]
    assert agents(found).keys() == {"author", "transmitter", "assembler"}
    assert found["recorded"] == "2024-01-02T03:04:05+00:00"
    assert found["entity"][0]["what"]["identifier"]["system"] == "urn:chartgate:message"


def test_event_says_who_when_where_and_why() -> None:
    evn = "EVN|A01|20240102||01|7^Operator^Ole|20240101|FAC"
    found = provenance(message(header(), evn, patient(), visit()))
    assert agents(found)["enterer"]["who"]["display"] == "Ole Operator"
    assert found["occurredDateTime"] == "2024-01-01"
    assert found["location"]["display"] == "FAC"
    assert found["reason"][0]["coding"][0]["code"] == "PATRQT"


def test_reason_that_is_unknown_is_said_to_be() -> None:
    found = provenance(message(header(), "EVN|A01|2024||U", patient()))
    assert found["reason"][0]["extension"][0]["valueCode"] == "unknown"


def test_responsible_organization_is_the_author_in_place_of_the_facility() -> None:
    msh = header() + "||||||||||" + "Trust^^T1"
    found = provenance(message(msh, patient()))
    assert agents(found)["author"]["who"]["display"] == "Trust"


def test_keeper_of_a_patient_and_software_on_the_way_are_named() -> None:
    pid = fields("PID", _3="1001^^^NORTH^MR", _5="Example", _33="20240101", _34="Registry")
    found = provenance(message(header(), "SFT|Acme|1.2|Engine|b1", pid))
    keeper = agents(found)["performer"]
    assert keeper["who"]["display"] == "Registry"
    assert keeper["extension"][0]["valueDateTime"] == "2024-01-01"
    [software] = found["contained"]
    assert (software["manufacturer"], software["version"][0]["value"]) == ("Acme", "1.2")
    assert {"reference": f"#{software['id']}", "type": "Device"} in [
        e["what"] for e in found["entity"]
    ]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (adt("A01"), "CREATE"), (adt("A08"), "UPDATE"), (adt("A11"), "CANCEL"),
        (adt("A29"), "DELETE"), (siu("S17"), "DELETE"),
    ],
)  # fmt: skip
def test_activity_is_what_the_trigger_does(raw: bytes, code: str) -> None:
    assert [c["code"] for c in provenance(raw)["activity"]["coding"]][1:] == [code]


def test_activity_of_orders_is_what_they_ask_for_and_people_are_named_once() -> None:
    orders = [
        fields("ORC", _1="NW", _2="P1", _10="7^Enter^Emil"), "OBR|1|P1||GLU",
        fields("ORC", _1="CA", _2="P2", _10="7^Enter^Emil"), "OBR|2|P2||NA",
    ]  # fmt: skip
    found = provenance(message(header("ORM^O01"), patient(), *orders))
    assert [c["code"] for c in found["activity"]["coding"]][1:] == ["CREATE", "CANCEL"]
    assert len([a for a in found["agent"] if a["who"].get("display") == "Emil Enter"]) == 1


def test_booking_names_who_entered_it() -> None:
    sch = fields("SCH", _2="A1", _11="^^^20240203100000^20240203103000", _20="5^Clerk^Cleo")
    found = provenance(message(header("SIU^S12"), sch, patient()))
    assert agents(found)["enterer"]["who"]["display"] == "Cleo Clerk"


def test_time_of_the_event_stands_in_for_a_message_without_one() -> None:
    without = adt().replace(b"20240102030405||", b"||", 1)
    assert provenance(without)["recorded"] == "2024-01-02T03:04:05+00:00"
    neither = without.replace(b"EVN|A01|20240102030405", b"EVN|A01")
    assert provenance(neither)["_recorded"]["extension"][0]["valueCode"] == "unknown"
