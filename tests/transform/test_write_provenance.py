"""The Provenance of a write follows from the proposal alone."""

from dataclasses import replace

import pytest

from chartgate.formats.canonical import canonical_bytes
from chartgate.model.proposal import Proposal
from chartgate.model.write import Effect, Receipt
from chartgate.testing.clock import START
from chartgate.transform.write_provenance import write_provenance
from tests.store.test_proposals import content, proposal

CREATED = Effect(reference="Appointment/7", version_before=None, version_after="1")
PATCHED = Effect(reference="Slot/1", version_before="1", version_after="2")


def written(*effects: Effect, **fields: object) -> Proposal:
    receipt = Receipt(effects=effects, at=START)
    return proposal(receipt=receipt, decided_by="person:sofia", **fields)


def test_it_is_the_same_bytes_each_time() -> None:
    one = written(CREATED, PATCHED)
    assert canonical_bytes(write_provenance(one, None)) == canonical_bytes(
        write_provenance(one, None)
    )


@pytest.mark.parametrize(
    ("effects", "activity", "replaced"),
    [
        ((CREATED,), "CREATE", None),
        ((PATCHED,), "UPDATE", ["Slot/1/_history/1"]),
        ((CREATED, PATCHED), "CREATE", ["Slot/1/_history/1"]),
    ],
)
def test_what_was_replaced_is_a_revision(
    effects: tuple[Effect, ...], activity: str, replaced: list[str] | None
) -> None:
    found = write_provenance(written(*effects), None)
    assert found["activity"]["coding"][0]["code"] == activity
    entities = [e["what"]["reference"] for e in found.get("entity", [])]
    assert entities == (replaced or [])
    assert len(found["target"]) == len(effects)


def test_who_edited_it_is_an_author() -> None:
    edited = written(CREATED, content=replace(content(), edited_by="person:ada"))
    codes = [
        (a["type"]["coding"][0]["code"], a["who"]["identifier"]["value"])
        for a in write_provenance(edited, None)["agent"]
    ]
    assert codes == [("assembler", "slot-picker"), ("author", "ada"), ("verifier", "sofia")]


def test_everybody_who_approved_it_is_a_verifier_once() -> None:
    several = ("person:mara", "person:sofia")
    found = write_provenance(written(CREATED), None, approvers=several)
    verifiers = [
        a["who"]["identifier"]["value"]
        for a in found["agent"]
        if a["type"]["coding"][0]["code"] == "verifier"
    ]
    assert verifiers == ["mara", "sofia"]
