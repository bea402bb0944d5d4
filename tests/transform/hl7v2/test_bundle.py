"""A whole message as a Bundle."""

from typing import Any

import pytest

from chartgate.formats.canonical import canonical_bytes
from chartgate.formats.hl7v2 import parse
from chartgate.formats.r4_structure import structure_findings
from chartgate.testing.messages import adt, header, merge, message, patient, siu
from chartgate.transform.hl7v2.bundle import message_bundle
from tests.transform.hl7v2.made import SETTINGS, fields, said


@pytest.mark.parametrize("raw", [adt(), merge(), siu()])
def test_bundle_has_the_header_first_then_all_that_the_message_makes(raw: bytes) -> None:
    found = message_bundle(parse(raw), SETTINGS)
    assert not list(structure_findings(found))
    resources = [entry["resource"] for entry in found["entry"]]
    first, *made, last = resources
    assert (found["type"], first["resourceType"], last["resourceType"]) == (
        "message",
        "MessageHeader",
        "Provenance",
    )
    references = [f"{r['resourceType']}/{r['id']}" for r in made]
    assert references == [d.reference for d in said(raw).drafts]
    assert [f["reference"] for f in first["focus"]] == list(said(raw).focus)


def test_references_find_their_entries() -> None:
    found = message_bundle(parse(siu()), SETTINGS)
    for entry in found["entry"]:
        resource = entry["resource"]
        assert entry["fullUrl"].endswith(f"/{resource['resourceType']}/{resource['id']}")
    assert len({entry["fullUrl"] for entry in found["entry"]}) == len(found["entry"])


def test_header_says_who_sent_what_to_whom() -> None:
    sft = "SFT|Acme|1.2|Engine|b1"
    header_ = _header_of(message(header(), sft, patient()))
    assert header_["source"] == {
        "name": "ADT1",
        "endpoint": "urn:hl7v2:application:ADT1",
        "version": "1.2",
        "software": "Engine",
    }
    assert header_["destination"][0]["receiver"]["display"] == "NORTH"
    assert header_["eventCoding"]["code"] == "A01"
    assert header_["meta"]["tag"][0]["code"] == "P"


def test_addresses_that_are_not_sent_are_said_to_be_unknown() -> None:
    msh = "MSH|^~\\&||||NORTH|20240102030405||ADT^A08|1|P|2.5"
    header_ = _header_of(message(msh, patient()))
    assert header_["source"]["_endpoint"]["extension"][0]["valueCode"] == "unknown"
    assert "_endpoint" in header_["destination"][0]


def test_network_addresses_stand_above_the_names_of_applications() -> None:
    msh = fields(
        "MSH", _2="ADT1", _3="NORTH", _4="GATE", _5="SITE", _6="20240102030405", _8="ADT^A08",
        _9="1", _10="P", _11="2.8", _23="x^urn:north^URI", _24="y^urn:gate^URI",
    ).replace("MSH|", "MSH|^~\\&", 1)  # fmt: skip
    header_ = _header_of(message(msh, patient()))
    assert header_["source"]["endpoint"] == "urn:north"
    assert header_["destination"][0]["endpoint"] == "urn:gate"


@pytest.mark.parametrize(
    ("code", "said_"), [("AA", "ok"), ("AE", "fatal-error"), ("CR", "transient-error")]
)
def test_answer_to_another_message_says_which_and_how(code: str, said_: str) -> None:
    raw = message(header(), f"MSA|{code}|77/x", patient())
    response = _header_of(raw)["response"]
    assert response["code"] == said_
    assert response["identifier"] == _header_of(raw)["response"]["identifier"]
    assert _header_of(raw.replace(b"77/x", b"77"))["response"]["identifier"] == "77"


def test_bundle_is_the_same_bytes_twice() -> None:
    first, second = (canonical_bytes(message_bundle(parse(adt()), SETTINGS)) for _ in range(2))
    assert first == second


def _header_of(raw: bytes) -> dict[str, Any]:
    found = message_bundle(parse(raw), SETTINGS)
    assert not list(structure_findings(found))
    header_: dict[str, Any] = found["entry"][0]["resource"]
    return header_
