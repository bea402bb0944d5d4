"""What messages make, for tests: laid over a record that held nothing, or over what it holds."""

from collections.abc import Mapping
from typing import Any

from chartgate.formats.hl7v2 import parse
from chartgate.formats.r4_structure import structure_findings
from chartgate.testing.messages import header, message, patient, visit
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import Transformed, check_whole, transform
from chartgate.transform.hl7v2.settings import FeedSettings

SETTINGS = FeedSettings(connection="north-adt", site="north-clinic", patient_system="urn:mrn")

Record = dict[str, dict[str, Any]]  # by reference


def said(raw: bytes) -> Transformed:
    """What a message says."""
    return transform(parse(raw), SETTINGS)


def laid(*messages: bytes, over: Mapping[str, dict[str, Any]] | None = None) -> Record:
    """The record after these messages; each of its resources is well-formed R4."""
    record: Record = dict(over or {})
    for raw in messages:
        for draft in said(raw).drafts:
            resource = merged(record.get(draft.reference), draft)
            assert not list(structure_findings(resource)), draft.resource_type
            check_whole(resource)
            record[draft.reference] = resource
    return record


def only(record: Record, resource_type: str) -> dict[str, Any]:
    """The one resource of that type."""
    [found] = all_of(record, resource_type)
    return found


def all_of(record: Record, resource_type: str) -> list[dict[str, Any]]:
    """The resources of that type, in the order in which they came."""
    return [r for r in record.values() if r["resourceType"] == resource_type]


def by_type(record: Record) -> dict[str, list[Any]]:
    """All of them, in the order in which they came."""
    found: dict[str, list[Any]] = {}
    for resource in record.values():
        found.setdefault(resource["resourceType"], []).append(resource)
    return found


def admission(*more: str, trigger: str = "A01", mrn: str = "1001") -> bytes:
    """ADT of a patient with a visit, and with these segments."""
    event = [header(f"ADT^{trigger}"), f"EVN|{trigger}|20240102030405"]
    return message(*event, patient(mrn), visit(f"V{mrn}"), *more)


def fields(name: str, **values: str) -> str:
    """A segment of these fields: `fields("PV1", _2="I", _19="V1")`."""
    held = {int(key.lstrip("_")): value for key, value in values.items()}
    return "|".join([name, *(held.get(n, "") for n in range(1, max(held) + 1))])
