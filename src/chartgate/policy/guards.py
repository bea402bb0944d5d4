"""What must still hold at commit: elements that stay the same, searches that find what they must,
states that resources are in.

Paths are dotted, from a resource type: "Slot.status". A step through a list means each of its
items. Variables of a search are such paths in braces, with the type that a reference must have in
brackets: "{Appointment.participant.actor[Practitioner]}".
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from chartgate.errors import Unprocessable
from chartgate.model.charter import ActionRule, GuardRule, Scalar
from chartgate.model.resource import Resource, split_reference

Criteria = tuple[tuple[str, str], ...]

QUERY = re.compile(r"([A-Z][A-Za-z]+)\?([^\s#]+)")
CRITERION = re.compile(r"([A-Za-z_][\w:\-]*)=(.+)")
VARIABLE = re.compile(r"\{([^{}]*)\}")
VARIABLE_PATH = re.compile(r"([A-Z]\w+(?:\.\w+)+)(?:\[([A-Za-z]+)\])?")
ESCAPED = re.compile(r"([\\$,|])")  # have a meaning in search values
VALUES_MAX = 20  # one variable stands for at most so many values


def same_paths(action: ActionRule, reference: str) -> tuple[str, ...]:
    """The paths that must stay the same in this resource, e.g. ("status", "start") of "Slot/12"."""
    resource_type = reference.partition("/")[0]
    paths = (p for g in action.guards if g.kind == "same" for p in g.paths)
    found = (p.partition(".") for p in paths)
    return tuple(dict.fromkeys(rest for type_, _, rest in found if type_ == resource_type))


def same_breaks(paths: Sequence[str], seen: Resource, live: Resource) -> tuple[str, ...]:
    """Those of the paths whose values are not what was seen."""
    return tuple(p for p in paths if values_at(seen, p) != values_at(live, p))


def filled_query(
    guard: GuardRule, afters: Sequence[Resource], seen: Sequence[Resource]
) -> tuple[str, Criteria]:
    """The search of a guard none, some or count, its variables filled.

    They are looked for in what would be written, then in what was read. Several values make a
    list of alternatives. Raises Unprocessable if there is none: an unfilled guard guards nothing.
    """
    parsed = parse_query(guard.query)
    assert parsed, "the charter's check has parsed it"
    resource_type, template = parsed
    filled = tuple((name, _fill(value, afters, seen)) for name, value in template)
    return resource_type, filled


def parse_query(query: str) -> tuple[str, Criteria] | None:
    """("Appointment", (("status", "booked"),)) of "Appointment?status=booked"; None if malformed."""
    match = QUERY.fullmatch(query)
    if match is None:
        return None
    criteria = []
    for part in match[2].split("&"):
        criterion = CRITERION.fullmatch(part)
        if criterion is None or any(
            VARIABLE_PATH.fullmatch(v) is None for v in VARIABLE.findall(part)
        ):
            return None
        criteria.append((criterion[1], criterion[2]))
    return match[1], tuple(criteria)


def parse_variable(variable: str) -> tuple[str, str | None]:
    """("Appointment.participant.actor", "Practitioner") of a variable's inside."""
    match = VARIABLE_PATH.fullmatch(variable)
    assert match, "parse_query has matched it"
    return match[1], match[2]


def found_breaks(guard: GuardRule, count: int, *, complete: bool) -> bool:
    """Whether a search that found so many breaks its guard. Not complete: there may be more, which
    nobody has looked at, so that a limit cannot be said to hold."""
    if guard.kind == "none":
        return count > 0 or not complete
    if guard.kind == "some":
        return count == 0
    most = guard.found_max
    return count < guard.found_min or (most is not None and (count > most or not complete))


def found_wanted(guard: GuardRule) -> str:
    """How many a guard wants to find, in words."""
    if guard.kind in ("none", "some"):
        return "none" if guard.kind == "none" else "some"
    least, most = guard.found_min, guard.found_max
    if most is None:
        return f"at least {least}"
    return f"exactly {most}" if least == most else f"{least} to {most}"


def state_holds(guard: GuardRule, resource: Resource) -> bool:
    """Whether a resource is in the state that its guard asks for."""
    found = values_at(resource, guard.paths[0].partition(".")[2])
    if guard.absent:
        return all(value is False for value in found)
    if guard.allowed:
        return bool(found) and all(is_among(value, guard.allowed) for value in found)
    return not any(is_among(value, guard.denied) for value in found)


def is_among(value: Any, wanted: Sequence[Scalar]) -> bool:
    """Whether the value is one of these: of the same kind, so that 1 is not true."""
    return any(
        value == each and isinstance(value, bool) == isinstance(each, bool) for each in wanted
    )


def values_at(resource: Any, path: str) -> list[Any]:
    """All values that a dotted path leads to, in order; a choice by its base too."""
    values = [resource]
    for name in path.split("."):
        values = [found for value in values for found in _step(value, name)]
    return values


def _step(value: Any, name: str) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    names = [name] if name in value else [k for k in value if _is_choice(k, name)]
    for key in names:
        found = value[key]
        if isinstance(found, list):
            yield from found
        else:
            yield found


def _is_choice(key: str, base: str) -> bool:
    """Whether a JSON key can be a type of a choice, "valueString" of "value"."""
    return key.startswith(base) and key[len(base) : len(base) + 1].isupper()


def _fill(value: str, afters: Sequence[Resource], seen: Sequence[Resource]) -> str:
    def replaced(match: re.Match[str]) -> str:
        path, target = parse_variable(match[1])
        values = _texts(afters, path, target) or _texts(seen, path, target)
        if not values:
            raise Unprocessable(
                f"the guard needs {match[1]}, which neither proposal nor reads have"
            )
        if len(values) > VALUES_MAX:
            raise Unprocessable(f"the guard's {match[1]} has over {VALUES_MAX} values")
        return ",".join(ESCAPED.sub(r"\\\1", v) for v in values)

    return VARIABLE.sub(replaced, value)


def _texts(resources: Sequence[Resource], path: str, target: str | None) -> list[str]:
    resource_type, _, rest = path.partition(".")
    found: list[str] = []
    for resource in resources:
        if resource.get("resourceType") == resource_type:
            found.extend(filter(None, (_text(v, target) for v in values_at(resource, rest))))
    return list(dict.fromkeys(found))


def _text(value: Any, target: str | None) -> str | None:
    """A value as a search writes it: a reference by its literal, other scalars as they are."""
    if isinstance(value, dict):
        value = value.get("reference")
        parts = split_reference(value) if isinstance(value, str) else None
        if parts is None or (target and parts[0] != target):
            return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
