"""What the schema cannot say of an action's guards and rules of elements: names that exist, bounds
that leave room. Every check yields sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

from chartgate.formats import r4
from chartgate.policy.action_parts import WRITE
from chartgate.policy.charter_shape import near
from chartgate.policy.guards import VARIABLE, parse_query, parse_variable

Findings = Iterator[str]
NUMBERS = ("decimal", "integer", "positiveInt", "unsignedInt")
SEARCHES = ("none", "some")


def guard_findings(
    where: str, guard: Mapping[str, Any], writes: list[str], reads: Mapping[str, Any]
) -> Findings:
    """What is wrong with one guard."""
    known = set(reads) | _written(writes)
    for path in guard.get("same", []):
        yield from _path_findings(where, path, set(reads), "guards look at what is read")
    for kind in SEARCHES:
        if kind in guard:
            yield from _search_findings(f"{where}.{kind}", guard[kind], known)
    if "count" in guard:
        yield from _count_findings(f"{where}.count", guard["count"], known)
    state = guard.get("state")
    if isinstance(state, dict):
        yield from _path_findings(
            f"{where}.state", state["path"], known, "guards look at what is read"
        )


def element_findings(where: str, action: Mapping[str, Any]) -> Findings:
    """What is wrong with the keys fixed, never and values."""
    types = _written(action["writes"])
    why = "it is about what is written"
    if action["review"].get("each") and "auto" in action["review"]:
        yield f"{where}.review: auto decides on a proposal as a whole; leave auto or each out"
    for path in action.get("fixed", {}):
        yield from _path_findings(f"{where}.fixed", path, types, why)
        element = _element(path)
        if element is not None and not r4.is_primitive(element.type):
            yield f"{where}.fixed: {path} holds more than one value; name the one that is meant"
    for path in action.get("never", []):
        yield from _path_findings(f"{where}.never", path, types, why)
    for path, rule in action.get("values", {}).items():
        yield from _path_findings(f"{where}.values", path, types, why)
        yield from _value_findings(f"{where}.values.{path}", path, rule)


def no_type(where: str, name: str) -> str:
    """The sentence about a resource type that R4 does not have."""
    return f"{where}: FHIR R4 has no resource type {name}{near(name, r4.resource_types())}"


def _written(writes: list[str]) -> set[str]:
    return {match[2] for write in writes if (match := WRITE.fullmatch(write))}


def _search_findings(where: str, query: str, types: set[str]) -> Findings:
    parsed = parse_query(query)
    if parsed is None:
        yield f'{where} must be like "Appointment?actor={{…}}&status=booked"'
        return
    resource_type, criteria = parsed
    known = r4.search_parameters(resource_type)
    if not known:
        yield no_type(where, resource_type)
    for name, value in criteria:
        if known and name.partition(":")[0] not in known:
            yield f"{where}: {resource_type} has no search parameter {name}{near(name, known)}"
        for variable in VARIABLE.findall(value):
            path, target = parse_variable(variable)
            yield from _path_findings(where, path, types, "variables come from what is known")
            if target and not r4.is_resource_type(target):
                yield no_type(where, target)


def _count_findings(where: str, count: Mapping[str, Any], types: set[str]) -> Findings:
    yield from _search_findings(where, count["query"], types)
    if "is" in count and ("min" in count or "max" in count):
        yield f"{where}: is says it all; leave min and max out"
    else:
        yield from _range_findings(where, count)


def _path_findings(where: str, path: str, types: set[str], why: str) -> Findings:
    resource_type, _, rest = path.partition(".")
    if not r4.is_resource_type(resource_type):
        yield no_type(where, resource_type)
    elif _element(path) is None:
        yield f"{where}: there is no {path}{_near_step(resource_type, rest)}"
    elif resource_type not in types:
        yield f"{where}: {path} needs {resource_type} under {_key(why)}: {why}"


def _near_step(owner: str, path: str) -> str:
    """A hint about the first step of a path that its owner does not have."""
    name, _, rest = path.partition(".")
    if found := r4.element_of_base(owner, name):
        return _near_step(found.type, rest)
    names = r4.element_names(owner)
    return near(name, names) if names else ""


def _key(why: str) -> str:
    return "writes" if "written" in why else "reads"


def _value_findings(where: str, path: str, rule: Mapping[str, Any]) -> Findings:
    yield from _range_findings(where, rule)
    measured = {"unit", "min", "max"} & set(rule)
    if measured and {"one_of", "names"} & set(rule):
        yield f"{where}: unit, min and max are for numbers; one_of and names are for codes"
    if "one_of" in rule and "names" in rule:
        yield f"{where}: names says already which codes may stand there; leave one_of out"
    kinds = _kinds(path)
    if measured and kinds and not kinds & {"Quantity", *NUMBERS}:
        yield f"{where}: {path} is no number and no quantity"
    if "names" in rule and kinds and not kinds & {"CodeableConcept", "Coding"}:
        yield f"{where}: {path} is not coded"


def _range_findings(where: str, bounds: Mapping[str, Any]) -> Findings:
    if "min" in bounds and "max" in bounds and bounds["min"] > bounds["max"]:
        yield f"{where}: min is above max, so that nothing could ever be written"


def _element(path: str) -> r4.Element | None:
    resource_type, _, rest = path.partition(".")
    return r4.find_element(resource_type, rest)


def _kinds(path: str) -> set[str]:
    """The types that the element may be of: of a choice, each."""
    above, _, last = path.rpartition(".")
    owner = _element(above)
    known = r4.elements(owner.type if owner else above)
    return {e.type for e in known.values() if last in (e.name, e.base)}
