"""What MDM messages do to documents: new, changed, added to, replaced, withdrawn."""

import base64
from typing import Any

import pytest

from chartgate.formats.hl7v2 import parse
from chartgate.formats.r4_structure import structure_findings
from chartgate.model.resource import Resource
from chartgate.testing.messages import header, message, patient, visit
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import transform
from chartgate.transform.hl7v2.settings import FeedSettings

SETTINGS = FeedSettings(connection="north-mdm", site="north-clinic")
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


class Record:
    """What a record holds after some messages, each resource checked as R4."""

    def __init__(self) -> None:
        self.held: dict[str, Resource] = {}

    def take(self, trigger: str, *segments: str) -> None:
        start = header(f"MDM^{trigger}", f"C{len(self.held)}")
        raw = message(start, patient(), visit(), *segments)
        for draft in transform(parse(raw), SETTINGS).drafts:
            resource = merged(self.held.get(draft.reference), draft)
            assert list(structure_findings(resource)) == []
            self.held[draft.reference] = resource

    def all_of(self, resource_type: str) -> list[Any]:
        return [r for r in self.held.values() if r["resourceType"] == resource_type]


@pytest.fixture
def record() -> Record:
    return Record()


def txa(number: str = "D1", *, parent: str = "", done: str = "AU", available: str = "AV") -> str:
    fields = [""] * 26
    fields[1], fields[2], fields[3] = "1", "DS^Discharge summary^HL70270", "TX"
    fields[6], fields[9] = "202401020300", "77^Doctor^Dora"
    fields[12], fields[13] = f"{number}^NORTH", parent
    fields[17], fields[19], fields[25] = done, available, "Summary"
    return "TXA|" + "|".join(fields[1:])


def text_of(document: Any) -> list[str]:
    contents = (c["attachment"].get("data") for c in document["content"])
    return [base64.b64decode(data).decode() for data in contents if data]


def test_document_with_lines_of_text_is_one_content(record: Record) -> None:
    record.take(
        "T02", txa(), "OBX|1|TX|1^Body||First line||||||F", "OBX|2|TX|1^Body||Second||||||F"
    )
    [document] = record.all_of("DocumentReference")
    assert text_of(document) == ["First line\nSecond"]
    assert document["type"]["coding"][0]["code"] == "DS"
    assert (document["status"], document["docStatus"]) == ("current", "final")
    assert document["masterIdentifier"]["value"] == "D1"
    assert document["context"]["encounter"][0]["reference"].startswith("Encounter/")


def test_files_and_remarks_are_contents_of_their_own(record: Record) -> None:
    encoded = base64.b64encode(b"%PDF").decode()
    record.take(
        "T02",
        txa(),
        "OBX|1|TX|1^Body||See file||||||F",
        f"OBX|2|ED|2^File||^APPLICATION^PDF^Base64^{encoded}||||||F",
        "OBX|3|RP|3^Film||https://pacs.example/1^PACS^image^jpeg||||||F",
        "OBX|4|NM|4^Weight||71|kg|||||F",
        "OBX|5|TX|1^Body||withdrawn||||||D",
        "NTE|1||Handle with care",
    )
    [document] = record.all_of("DocumentReference")
    assert text_of(document) == ["Handle with care", "See file", "%PDF", "Weight 71 kg"]
    kinds = [content["attachment"].get("contentType") for content in document["content"]]
    assert kinds == ["text/plain", "text/plain", "application/pdf", "image/jpeg", "text/plain"]
    assert document["content"][3]["attachment"]["url"] == "https://pacs.example/1"


def test_notification_without_content_says_so_until_the_content_comes(record: Record) -> None:
    record.take("T01", txa(done="DO").replace("|TX|", "||"))
    [document] = record.all_of("DocumentReference")
    assert document["docStatus"] == "preliminary"
    assert document["content"][0]["attachment"]["extension"][0]["url"] == ABSENT
    record.take("T02", txa(), "OBX|1|TX|1^Body||All well||||||F")
    [document] = record.all_of("DocumentReference")
    assert text_of(document) == ["All well"]
    assert len(document["content"]) == 1


def test_status_change_keeps_the_content(record: Record) -> None:
    record.take("T02", txa(done="DO"), "OBX|1|TX|1^Body||All well||||||F")
    record.take("T03", txa(available="UN"))
    [document] = record.all_of("DocumentReference")
    assert text_of(document) == ["All well"]
    assert document["docStatus"] == "final"
    coded = document["_status"]["extension"][0]["valueCodeableConcept"]["coding"][0]
    assert coded["code"] == "UN"
    record.take("T03", txa(available="AV"))
    [document] = record.all_of("DocumentReference")
    assert "_status" not in document


@pytest.mark.parametrize("trigger", ["T07", "T08"])
def test_edit_of_a_finished_document_is_an_amendment(record: Record, trigger: str) -> None:
    record.take("T02", txa(), "OBX|1|TX|1^Body||Frist||||||F")
    record.take(trigger, txa(), "OBX|1|TX|1^Body||First||||||F")
    [document] = record.all_of("DocumentReference")
    assert document["docStatus"] == "amended"
    assert text_of(document) == ["First"]


@pytest.mark.parametrize("trigger", ["T05", "T06"])
def test_addendum_appends_and_leaves_its_parent_alone(record: Record, trigger: str) -> None:
    record.take("T02", txa("D1"), "OBX|1|TX|1^Body||Body||||||F")
    record.take(trigger, txa("D2", parent="D1^NORTH"))
    parent, addendum = record.all_of("DocumentReference")
    assert parent["status"] == "current"
    [relation] = addendum["relatesTo"]
    assert relation["code"] == "appends"
    assert relation["target"]["reference"] == f"DocumentReference/{parent['id']}"


@pytest.mark.parametrize("trigger", ["T09", "T10"])
def test_replaced_document_stays_as_superseded(record: Record, trigger: str) -> None:
    record.take("T02", txa("D1"), "OBX|1|TX|1^Body||Old||||||F")
    record.take(trigger, txa("D2", parent="D1^NORTH"), "OBX|1|TX|1^Body||New||||||F")
    old, new = record.all_of("DocumentReference")
    assert (old["status"], new["status"]) == ("superseded", "current")
    assert (text_of(old), text_of(new)) == (["Old"], ["New"])
    assert new["relatesTo"][0]["code"] == "replaces"


def test_replacement_that_names_no_parent_is_refused(record: Record) -> None:
    with pytest.raises(Unmappable, match="TXA-13 does not name"):
        record.take("T10", txa("D2"))


def test_cancelled_document_was_never_meant(record: Record) -> None:
    record.take("T02", txa(), "OBX|1|TX|1^Body||Body||||||F")
    record.take("T11", txa())
    [document] = record.all_of("DocumentReference")
    assert (document["status"], document["docStatus"]) == ("entered-in-error",) * 2


def test_edit_time_is_a_provenance_of_the_document(record: Record) -> None:
    line = txa().split("|")
    line[8], line[21] = "20240103100000", "Wrong side"
    record.take("T08", "|".join([*line[:21], "Wrong side", *line[22:]]))
    edits = [p for p in record.all_of("Provenance") if "reason" in p]
    assert [p["recorded"] for p in edits] == ["2024-01-03T10:00:00+00:00"]
    assert edits[0]["reason"][0]["text"] == "Wrong side"
    assert edits[0]["agent"][0]["who"]["identifier"]["value"] == "77"


@pytest.mark.parametrize("trigger", ["T03", "T08", "T11"])
def test_change_to_a_document_that_nobody_names_is_refused(record: Record, trigger: str) -> None:
    with pytest.raises(Unmappable, match="TXA-12 does not name"):
        record.take(trigger, "TXA|1|DS|TX")


def test_new_document_without_a_number_is_known_by_its_message(record: Record) -> None:
    record.take("T02", "TXA|1|DS|TX", "OBX|1|TX|1^Body||Body||||||F")
    assert len(record.all_of("DocumentReference")) == 1
    with pytest.raises(Unmappable, match="no TXA"):
        record.take("T02")
