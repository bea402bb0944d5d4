"""The marker: what makes a create conditional, and lets it be found when its answer was lost."""

from collections.abc import Sequence
from typing import Any

from chartgate.adapters.fhir_r4.dialect import Dialect
from chartgate.model.resource import Resource

MARKER_SYSTEM = "urn:chartgate:proposal"

# R4 resource types whose `identifier` is no list, or that have none; they are marked by meta.tag.
TAGGED_TYPES = frozenset(
    [
        "AuditEvent",
        "Binary",
        "Bundle",
        "CapabilityStatement",
        "CompartmentDefinition",
        "Composition",
        "GraphDefinition",
        "ImplementationGuide",
        "Linkage",
        "MessageHeader",
        "OperationDefinition",
        "Parameters",
        "Provenance",
        "QuestionnaireResponse",
        "SearchParameter",
        "Subscription",
        "TerminologyCapabilities",
    ]
)


def marked(resource: Resource, value: str, dialect: Dialect) -> Resource:
    """A copy of `resource` that bears the mark."""
    if _by_tag(resource["resourceType"], dialect):
        meta = resource.get("meta", {})
        tags = [*meta.get("tag", ()), {"system": MARKER_SYSTEM, "code": value}]
        return {**resource, "meta": {**meta, "tag": tags}}
    mark = {"system": MARKER_SYSTEM, "value": value}
    return {**resource, "identifier": [*resource.get("identifier", ()), mark]}


def marker_criteria(resource_type: str, value: str, dialect: Dialect) -> Sequence[tuple[str, str]]:
    """The search that finds what bears the mark."""
    name = "_tag" if _by_tag(resource_type, dialect) else "identifier"
    return ((name, f"{MARKER_SYSTEM}|{value}"),)


def bears_marker(resource: Resource, value: str) -> bool:
    """Whether `resource` bears the mark, wherever it may be."""
    meta = resource.get("meta")
    tags = _items(meta.get("tag")) if isinstance(meta, dict) else []
    return any(
        item.get("system") == MARKER_SYSTEM and item.get("value", item.get("code")) == value
        for item in (*_items(resource.get("identifier")), *tags)
    )


def without_marker(resource: Resource) -> Resource:
    """A copy without any mark of ours."""
    bare = dict(resource)
    if isinstance(bare.get("identifier"), list):
        _keep(bare, "identifier", [i for i in bare["identifier"] if not _ours(i)])
    if isinstance(bare.get("meta"), dict) and isinstance(bare["meta"].get("tag"), list):
        bare["meta"] = dict(bare["meta"])
        _keep(bare["meta"], "tag", [t for t in bare["meta"]["tag"] if not _ours(t)])
    return bare


def _by_tag(resource_type: str, dialect: Dialect) -> bool:
    return resource_type in TAGGED_TYPES or dialect.setting("marker") == "tag"


def _items(value: Any) -> list[dict[str, Any]]:
    return [i for i in value if isinstance(i, dict)] if isinstance(value, list) else []


def _ours(item: Any) -> bool:
    return isinstance(item, dict) and item.get("system") == MARKER_SYSTEM


def _keep(holder: dict[str, Any], key: str, items: list[Any]) -> None:
    if items:
        holder[key] = items
    else:
        del holder[key]
