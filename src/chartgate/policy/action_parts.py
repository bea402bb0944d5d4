"""Parts of a charter's action: writes, guards and rules of values, from YAML to records."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from chartgate.model.charter import GuardRule, ValueRule, WriteRule
from chartgate.policy.durations import duration_s

WRITE = re.compile(r"(\w+) ([A-Za-z]+)(?:\.(\w+))?")
STATUS = "status"
# The states that a charter may ask for by a name. Codes of
# https://hl7.org/fhir/R4/valueset-encounter-status.html, valueset-request-status.html and
# valueset-link-type.html; what a patient's record does not say counts as usual, as FHIR has it.
STATES: Mapping[str, tuple[GuardRule, ...]] = {
    "encounter-open": (
        GuardRule(
            kind="state",
            paths=("Encounter.status",),
            allowed=("arrived", "triaged", "in-progress", "onleave"),
        ),
    ),
    "patient-usable": (
        GuardRule(kind="state", paths=("Patient.active",), denied=(False,)),
        GuardRule(kind="state", paths=("Patient.deceased",), absent=True),
        GuardRule(kind="state", paths=("Patient.link.type",), denied=("replaced-by",)),
    ),
    "order-active": (
        GuardRule(kind="state", paths=("ServiceRequest.status",), allowed=("active",)),
    ),
}


def write_rules(writes: Sequence[str]) -> tuple[WriteRule, ...]:
    """Joined by interaction and type; one write without an element means any element. They have
    the form of WRITE."""
    elements: dict[tuple[Any, str], list[str | None]] = {}
    for write in writes:
        match = WRITE.fullmatch(write)
        assert match, "checked before"
        interaction, resource_type, element = match.groups()
        if interaction == STATUS:
            interaction, element = "patch", STATUS
        elements.setdefault((interaction, resource_type), []).append(element)
    return tuple(
        WriteRule(
            interaction=interaction,
            resource_type=type_,
            elements=() if None in names else tuple(n for n in names if n),
            named=tuple(n for n in names if n),
        )
        for (interaction, type_), names in elements.items()
    )


def guard_rules(guard: Mapping[str, Any]) -> tuple[GuardRule, ...]:
    """The guards that one item of a charter's list stands for; a named state may be several."""
    ((kind, value),) = guard.items()
    if kind == "same":
        return (GuardRule(kind="same", paths=tuple(value)),)
    if kind == "fresh":
        within_s = duration_s(value["within"])
        return (GuardRule(kind="fresh", feed=value["feed"], within_s=within_s),)
    if kind == "count":
        exact = value.get("is")
        return (
            GuardRule(
                kind="count",
                query=value["query"],
                found_min=value.get("min", exact or 0),
                found_max=value.get("max", exact),
            ),
        )
    if kind == "state":
        return STATES[value] if isinstance(value, str) else (_state(value),)
    return (GuardRule(kind="none" if kind == "none" else "some", query=value),)


def value_rules(values: Mapping[str, Mapping[str, Any]]) -> tuple[ValueRule, ...]:
    """The rules of values, in the charter's order."""
    return tuple(
        ValueRule(
            path=path,
            one_of=tuple(rule.get("one_of", ())),
            names=tuple((code, tuple(names)) for code, names in rule.get("names", {}).items()),
            unit=rule.get("unit", ""),
            least=rule.get("min"),
            most=rule.get("max"),
        )
        for path, rule in values.items()
    )


def _state(value: Mapping[str, Any]) -> GuardRule:
    return GuardRule(
        kind="state",
        paths=(value["path"],),
        allowed=tuple(value.get("is", ())),
        denied=tuple(value.get("not", ())),
        absent=bool(value.get("absent")),
    )
