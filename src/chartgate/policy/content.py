"""What a proposal holds: parsed from JSON, and kept inside what the charter allows to write."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chartgate.errors import Invalid, TooLarge, Unprocessable
from chartgate.formats import r4
from chartgate.formats.canonical import canonical_bytes
from chartgate.formats.compartment import PATIENT_ELEMENTS
from chartgate.formats.r4_structure import structure_findings
from chartgate.model.charter import ActionRule
from chartgate.model.resource import Resource, split_reference
from chartgate.model.write import Change
from chartgate.policy.bounds import CANCELLED, check_size
from chartgate.policy.charter_shape import near
from chartgate.policy.minimise import SUBSETTED

CHANGES_MAX = 20  # a reviewer can still look at each
CHANGES_BYTES_MAX = 1_000_000  # a long note in base64 is some 100 kB
OPERATIONS_MAX = 100
FINDINGS_SHOWN = 5
OWN_NAMESPACE = "urn:chartgate:"  # of markers, which only Chartgate writes
VERSION = re.compile(r"[A-Za-z0-9\-.]{1,64}")
POINTER = re.compile(r"(/([^~/]|~[01])*)+")
OPERATIONS = ("add", "remove", "replace", "test")

# Not the AI's to write: identity, metadata, what hides data or changes meaning.
PROTECTED = frozenset(
    {"resourceType", "id", "meta", "implicitRules", "text", "contained", "modifierExtension"}
)
FORMS: Mapping[str, tuple[str, ...]] = {
    "create": ("interaction", "resource"),
    "update": ("interaction", "resource", "ifMatch"),
    "patch": ("interaction", "reference", "patch", "ifMatch"),
    "status": ("interaction", "reference", "status", "ifMatch"),
    "cancel": ("interaction", "reference", "ifMatch"),
}
# What a system has in place of deleting, by type: an element and its value.
StandIns = Mapping[str, tuple[str, str]]


def parse_changes(raw: Any, stand_ins: StandIns | None = None) -> tuple[Change, ...]:
    """Changes of their JSON form. `stand_ins` is what `cancel` means in the target system: there
    it becomes a patch, as `status` does. Raises Invalid, TooLarge."""
    if not isinstance(raw, list) or not raw:
        raise Invalid("changes must be a list of at least one change")
    if len(raw) > CHANGES_MAX:
        raise TooLarge(f"a proposal may hold at most {CHANGES_MAX} changes")
    if len(canonical_bytes(raw)) > CHANGES_BYTES_MAX:
        raise TooLarge(f"the changes are over {CHANGES_BYTES_MAX} bytes")
    return tuple(
        _parse_change(form, f"changes[{index}]", stand_ins or {}) for index, form in enumerate(raw)
    )


def check_changes(action: ActionRule, changes: Sequence[Change]) -> None:
    """Raises Unprocessable, TooLarge for what the charter does not let this action write."""
    check_size(action, changes)
    for index, change in enumerate(changes):
        for finding in _change_findings(action, change):
            raise Unprocessable(f"changes[{index}]: {finding}")


def check_resource(resource: Resource, *, before: Resource | None = None) -> None:
    """Raises Unprocessable where the resource is not well-formed R4.

    What was already so `before` is not held against a change that leaves it alone.
    """
    known = set(structure_findings(before)) if before is not None else set()
    findings = [f for f in structure_findings(resource) if f not in known]
    if findings:
        more = len(findings) - FINDINGS_SHOWN
        shown = "; ".join(findings[:FINDINGS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise Unprocessable(f"not well-formed FHIR R4: {shown}")


def _parse_change(form: Any, where: str, stand_ins: StandIns) -> Change:
    if not isinstance(form, dict):
        raise Invalid(f"{where} must be an object")
    interaction = form.get("interaction")
    if interaction == "delete":
        raise Invalid(f"{where}: a proposal may not delete; propose cancel or a status instead")
    if not isinstance(interaction, str) or interaction not in FORMS:
        raise Invalid(f"{where}.interaction must be create, update, patch, status or cancel")
    for key in form:
        if key not in FORMS[interaction]:
            raise Invalid(
                f"{where}: {interaction} has no key {key[:64]}{near(key, FORMS[interaction])}"
            )
    if_match = form.get("ifMatch")
    if if_match is not None and not (isinstance(if_match, str) and VERSION.fullmatch(if_match)):
        raise Invalid(f"{where}.ifMatch must be the version that was read, as a text")
    if interaction in ("status", "cancel"):
        form = _as_patch(form, where, stand_ins)
    if form["interaction"] == "patch":
        return _parse_patch(form, where, if_match)
    return _parse_resource(form, where, if_match)


def _parse_resource(form: Mapping[str, Any], where: str, if_match: str | None) -> Change:
    resource, interaction = form.get("resource"), form["interaction"]
    resource_type = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(resource_type, str) or not r4.is_resource_type(resource_type):
        raise Invalid(f"{where}.resource must be a FHIR R4 resource")
    assert isinstance(resource, dict)
    reference = None
    if interaction == "create" and "id" in resource:
        raise Invalid(f"{where}.resource.id: the system of record gives a new resource its id")
    if interaction == "update":
        reference = f"{resource_type}/{resource.get('id')}"
        if not isinstance(resource.get("id"), str) or split_reference(reference) is None:
            raise Invalid(f"{where}.resource.id must be the id of what is updated")
    return Change(
        interaction=interaction,
        resource_type=resource_type,
        reference=reference,
        resource=resource,
        if_match=if_match,
    )


def _as_patch(form: Mapping[str, Any], where: str, stand_ins: StandIns) -> dict[str, Any]:
    """A change of status alone, as the patch that makes it."""
    element, value, reference = "status", form.get("status"), form.get("reference")
    if form["interaction"] == "cancel":
        resource_type = reference.partition("/")[0] if isinstance(reference, str) else ""
        if resource_type not in stand_ins:
            raise Invalid(
                f"{where}: this system has no status that stands for a cancelled "
                f"{resource_type[:64] or 'resource'}; propose what shall change instead"
            )
        element, value = stand_ins[resource_type]
    elif not isinstance(value, str):
        raise Invalid(f"{where}.status must be the new status, as a text")
    # RFC 6902, 4.1: adding a member that exists replaces it.
    operation = {"op": "add", "path": f"/{element}", "value": value}
    return {"interaction": "patch", "reference": reference, "patch": [operation]}


def _parse_patch(form: Mapping[str, Any], where: str, if_match: str | None) -> Change:
    reference, patch = form.get("reference"), form.get("patch")
    parts = split_reference(reference) if isinstance(reference, str) else None
    if parts is None or not r4.is_resource_type(parts[0]):
        raise Invalid(f"{where}.reference must be like Slot/12")
    if not isinstance(patch, list) or not patch:
        raise Invalid(f"{where}.patch must be a list of at least one RFC 6902 operation")
    if len(patch) > OPERATIONS_MAX:
        raise TooLarge(f"{where}.patch may hold at most {OPERATIONS_MAX} operations")
    for index, operation in enumerate(patch):
        _check_operation(operation, f"{where}.patch[{index}]")
    return Change(
        interaction="patch",
        resource_type=parts[0],
        reference=reference,
        patch=tuple(patch),
        if_match=if_match,
    )


def _check_operation(operation: Any, where: str) -> None:
    if not isinstance(operation, dict):
        raise Invalid(f"{where} must be an object")
    name, path = operation.get("op"), operation.get("path")
    if name not in OPERATIONS:
        raise Invalid(f"{where}.op must be one of {', '.join(OPERATIONS)}")
    if not isinstance(path, str) or not POINTER.fullmatch(path):
        raise Invalid(f"{where}.path must be a JSON Pointer such as /status")
    expected = {"op", "path"} if name == "remove" else {"op", "path", "value"}
    if set(operation) != expected:
        raise Invalid(f"{where} must have the keys {', '.join(sorted(expected))}")


def _change_findings(action: ActionRule, change: Change) -> Iterator[str]:
    rules = [
        w
        for w in action.writes
        if w.interaction == change.interaction and w.resource_type == change.resource_type
    ]
    cancels = any(
        w.interaction == "cancel" and w.resource_type == change.resource_type for w in action.writes
    )
    if not rules and not (cancels and change.interaction == "patch"):
        yield f"{action.name} may not {change.interaction} {change.resource_type}"
        return
    if cancels and _is_cancelling(change):
        return
    any_element = any(not r.elements for r in rules)
    allowed = None if any_element else {e for r in rules for e in r.elements}
    if change.interaction == "patch":
        yield from _patch_findings(change, allowed)
    else:
        yield from _resource_findings(change, allowed)
    if _names_us([change.resource, *change.patch]):
        yield f"{OWN_NAMESPACE} is Chartgate's own and may not be written"


def _is_cancelling(change: Change) -> bool:
    """Whether a patch does nothing but to set a status that stands for deleting."""
    if change.interaction != "patch" or len(change.patch) != 1:
        return False
    (operation,) = change.patch
    return (
        operation["op"] in ("add", "replace")
        and operation["path"] == "/status"
        and operation["value"] in CANCELLED
    )


def _resource_findings(change: Change, allowed: set[str] | None) -> Iterator[str]:
    resource = change.resource or {}
    if _is_subsetted(resource):
        yield "this copy holds only what the charter shows; an update would lose the rest: patch it"
    own = {"resourceType", "id"} if change.interaction == "update" else {"resourceType"}
    for name in resource:
        base = _base(change.resource_type, name)
        if name in own:
            continue
        if base in PROTECTED:
            yield f"{change.resource_type}.{base} may not be written by a proposal"
        elif allowed is not None and base not in allowed:
            yield f"the charter does not let {change.resource_type}.{base[:64]} be written"


def _patch_findings(change: Change, allowed: set[str] | None) -> Iterator[str]:
    for operation in change.patch:
        name = _unescaped(operation["path"].split("/")[1])
        base = _base(change.resource_type, name)
        where = f"{change.resource_type}.{base[:64]}"
        if base in PROTECTED:
            yield f"{where} may not be written by a proposal"
        elif base in PATIENT_ELEMENTS:
            yield f"{where} says whom it is about, and may not be changed"
        elif allowed is not None and base not in allowed:
            yield f"the charter does not let {where} be written"
        elif allowed is None and operation["op"] == "test":
            yield f"a test of {where} could tell of what is not shown"


def _base(resource_type: str, name: str) -> str:
    """What a charter calls a JSON name: "value" of "valueQuantity", "birthDate" of "_birthDate"."""
    plain = name.removeprefix("_")
    element = r4.elements(resource_type).get(plain)
    return element.base if element else plain


def _unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")


def _is_subsetted(resource: Resource) -> bool:
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    codes = (t.get("code") for t in tags or () if isinstance(t, dict))
    return isinstance(tags, list) and SUBSETTED["code"] in codes


def _names_us(value: Any) -> bool:
    """Whether any text in it begins with our own namespace."""
    if isinstance(value, str):
        return value.strip().lower().startswith(OWN_NAMESPACE)
    if isinstance(value, dict):
        return any(_names_us(v) for v in value.values())
    return isinstance(value, list) and any(_names_us(v) for v in value)
