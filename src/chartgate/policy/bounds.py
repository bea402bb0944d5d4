"""What one action's rules of elements say of a proposal: what must be, must not change, may stand
where. Each rule gives a sentence; none of them repeats what was proposed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chartgate.errors import TooLarge, Unprocessable
from chartgate.formats import r4
from chartgate.formats.canonical import canonical_bytes
from chartgate.model.charter import ActionRule, ValueRule, WriteRule
from chartgate.model.proposal import Difference
from chartgate.model.resource import Resource
from chartgate.model.write import Change, change_json
from chartgate.policy.coded import (
    UCUM,
    code_key,
    codings,
    is_number,
    plain_name,
    unit_contradicts,
    unit_said,
)
from chartgate.policy.differences import TEXT_VIEW, labels
from chartgate.policy.guards import is_among, values_at

# Who wrote, asked for, confirmed or signed it: a statement about a person, which an AI may make
# only where its charter names the element. Source: FHIR R4, w5 mappings author and source.
NAMES = """
    agent asserter attester authenticator author enterer informationSource orderer prescriber
    recorder reporter requester resultsInterpreter sender signature verification
"""
AUTHORSHIP = frozenset(NAMES.split())
AUTHORSHIP_OF: Mapping[str, frozenset[str]] = {
    "Observation": frozenset({"performer"}),
    "DiagnosticReport": frozenset({"performer"}),
    "Procedure": frozenset({"performer"}),
    "Immunization": frozenset({"performer"}),
    "MedicationAdministration": frozenset({"performer"}),
    "QuestionnaireResponse": frozenset({"source"}),
}
IN_ERROR = "entered-in-error"
CANCELLED = (IN_ERROR, "cancelled", "revoked")  # codes of a status that stand for deleting

Afters = Sequence[Resource | None]


def check_size(action: ActionRule, changes: Sequence[Change]) -> None:
    """Raises TooLarge for more than the charter lets one proposal hold."""
    changes_max, bytes_max = action.limits.get("changes"), action.limits.get("bytes")
    if changes_max is not None and len(changes) > changes_max:
        raise TooLarge(f"{action.name} may hold at most {changes_max} changes; split it")
    if bytes_max is not None:
        size_bytes = len(canonical_bytes([change_json(c) for c in changes]))
        if size_bytes > bytes_max:
            raise TooLarge(f"{action.name} may be at most {bytes_max} bytes long; make it shorter")


def check_bounds(
    action: ActionRule,
    changes: Sequence[Change],
    afters: Afters,
    differences: Sequence[Difference],
) -> None:
    """Raises Unprocessable, TooLarge for what the action's rules do not let it write."""
    elements_max = action.limits.get("elements")
    if elements_max is not None and len(differences) > elements_max:
        raise TooLarge(f"{action.name} may change at most {elements_max} elements; split it")
    check_unchanged(action, changes, differences)
    for label, change, after in zip(labels(changes), changes, afters, strict=True):
        if after is None:
            continue
        touched = _touched(label, change.resource_type, differences)
        for finding in _value_findings(action, change.resource_type, after, touched):
            raise Unprocessable(f"{label}: {finding}")


def check_unchanged(
    action: ActionRule, changes: Sequence[Change], differences: Sequence[Difference]
) -> None:
    """Raises Unprocessable for a difference in what the action may not change at all."""
    by_label = dict(zip(labels(changes), changes, strict=True))
    for difference in differences:
        change = by_label.get(difference.reference)
        if change is None:
            raise Unprocessable(f"{difference.reference} is not among the changes")
        finding = _untouchable(action, change, difference)
        if finding:
            raise Unprocessable(f"{difference.reference}: {finding}")


def plain_path(resource_type: str, path: str) -> str:
    """ "value.code" of "valueQuantity.code", "participant.status" of "participant[1]._status"."""
    owner, steps = resource_type, []
    for step in path.removesuffix(TEXT_VIEW).split("."):
        name = step.partition("[")[0].removeprefix("_")
        element = r4.elements(owner).get(name)
        steps.append(element.base if element else name)
        owner = element.type if element else ""
    return ".".join(steps)


def _touched(label: str, type_: str, differences: Sequence[Difference]) -> set[str]:
    return {plain_path(type_, d.path) for d in differences if d.reference == label}


def _untouchable(action: ActionRule, change: Change, difference: Difference) -> str | None:
    type_, path = change.resource_type, plain_path(change.resource_type, difference.path)
    top = path.partition(".")[0]
    for never in action.never:
        if _covers(never, type_, path):
            return f"{action.name} may not change {never}"
    if "modifierExtension" in path.split("."):
        return "a modifier extension turns what stands beside it into something else"
    if top in AUTHORSHIP | AUTHORSHIP_OF.get(type_, frozenset()) and not (
        top in _named(action, change) or any(_covers(p, type_, path) for p, _ in action.fixed)
    ):
        return f"{type_}.{top} says who did or asked for it, and the charter does not name it"
    if difference.after == IN_ERROR and not _may_be_in_error(action, type_, path):
        return "the charter does not let this be entered in error"
    return None


def _named(action: ActionRule, change: Change) -> set[str]:
    return {name for rule in _rules_of(action, change) for name in rule.named}


def _rules_of(action: ActionRule, change: Change) -> list[WriteRule]:
    pair = (change.interaction, change.resource_type)
    return [w for w in action.writes if (w.interaction, w.resource_type) == pair]


def _may_be_in_error(action: ActionRule, type_: str, path: str) -> bool:
    cancels = any(w.interaction == "cancel" and w.resource_type == type_ for w in action.writes)
    fixed = any(value == IN_ERROR and _covers(p, type_, path) for p, value in action.fixed)
    listed = any(
        any(str(each).rpartition("|")[2] == IN_ERROR for each in rule.one_of)
        and _covers(rule.path, type_, path)
        for rule in action.values
    )
    return (cancels and path == "status") or fixed or listed


def _covers(rule_path: str, type_: str, path: str) -> bool:
    """Whether a rule's path is this one, or one that it is a part of."""
    kind, _, rest = rule_path.partition(".")
    rest = plain_path(kind, rest)
    return kind == type_ and (path == rest or path.startswith(f"{rest}."))


def _value_findings(
    action: ActionRule, type_: str, after: Resource, touched: set[str]
) -> Iterator[str]:
    for path, wanted in action.fixed:
        kind, _, rest = path.partition(".")
        if kind == type_:
            found = values_at(after, rest)
            if not found or not all(is_among(v, (wanted,)) for v in found):
                yield f"{path} must be {wanted}"
    for rule in action.values:
        kind, _, rest = rule.path.partition(".")
        plain = plain_path(kind, rest)
        # A rule about a part of an element holds where the element comes or goes as a whole.
        if kind == type_ and any(
            _covers(rule.path, type_, p) or plain.startswith(f"{p}.") for p in touched
        ):
            for value in values_at(after, rest):
                finding = _value_finding(rule, value)
                if finding:
                    yield f"{rule.path} {finding}"


def _value_finding(rule: ValueRule, value: Any) -> str | None:
    if rule.names:
        return _name_finding(rule, value)
    if rule.one_of:
        return None if _is_listed(rule, value) else "is none of the values that the charter lists"
    return _measure_finding(rule, value)


def _is_listed(rule: ValueRule, value: Any) -> bool:
    if not isinstance(value, dict):
        return is_among(value, rule.one_of)
    found = codings(value)
    return bool(found) and all(is_among(code_key(c), rule.one_of) for c in found)


def _name_finding(rule: ValueRule, value: Any) -> str | None:
    table = {code: {plain_name(n) for n in names} for code, names in rule.names}
    found = codings(value)
    if not found or any(code_key(c) not in table for c in found):
        return "holds a code that is not in the charter's table of names"
    names = set().union(*(table[code_key(c)] for c in found))
    for coding in found:
        display = coding.get("display")
        if display is not None and plain_name(str(display)) not in table[code_key(coding)]:
            return "shows a name that is not the name of its code"
    text = value.get("text") if isinstance(value, dict) else None
    if text is not None and plain_name(str(text)) not in names:
        return "shows a text that is not the name of its code"
    return None


def _measure_finding(rule: ValueRule, value: Any) -> str | None:
    number: Any = value.get("value") if isinstance(value, dict) else value
    if rule.unit:
        if not isinstance(value, dict):
            return f"must be a quantity in {rule.unit}"
        text = value.get("unit")
        says = text in (None, rule.unit) or unit_said(text) == rule.unit
        if (value.get("system"), value.get("code")) != (UCUM, rule.unit) or not says:
            return f"must be in {rule.unit}, by its code of UCUM and by what is shown"
        if unit_contradicts(value):
            return "shows another unit than its code"
    if not is_number(number):
        return "must hold a number"
    if isinstance(value, dict) and "comparator" in value:
        return "may not be a number with a comparator"
    if rule.least is not None and number < rule.least:
        return f"is below {rule.least:g}, the least that the charter allows"
    if rule.most is not None and number > rule.most:
        return f"is above {rule.most:g}, the most that the charter allows"
    return None
