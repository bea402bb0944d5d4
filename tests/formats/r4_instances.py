"""Resources made from the R4 tables, right ones and damaged ones, for the laws of structure."""

from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any

from chartgate.formats import r4

SAMPLES: dict[str, tuple[Any, ...]] = {
    "boolean": (True, False),
    "integer": (0, -7, 2**31 - 1),
    "unsignedInt": (0, 3),
    "positiveInt": (1, 2),
    "decimal": (0, 1.0, -2.5, 1e-9),
    "date": ("2026", "2026-03", "2026-02-30"),
    "dateTime": ("2026-03", "2026-03-03T09:00:00.12+05:30", "2026-03-03T09:00:00Z"),
    "instant": ("2026-03-03T09:00:60Z",),
    "time": ("09:00:00",),
    "id": ("a-1.B",),
    "code": ("some code", "ä"),
    "oid": ("urn:oid:1.2.0",),
    "uuid": ("urn:uuid:00000000-0000-4000-8000-000000000000",),
    "base64Binary": ("QUJD", "QU JD\n"),
}
TEXTS = ("x", "Zoë\n", " ", "\u3000")
NUMBERS: tuple[Any, ...] = (0, -1, 1.0, 2**31, -(2**31) - 1, 2**70, True)
STRINGS: tuple[Any, ...] = (
    *("", "x", "x ", " x", "x  y", "x\n", "x\xa0y", "x\x85y", "x\u200by", "\ud800", "٢٠٢٦"),
    *("2026-13", "2026-03-03T09:00:00", "24:00:00", "2026-03-03\n", "2026-03-03T09:00:00Z\n"),
    *("Foo/1", "Slot/1", "Patient/1", "Patient/", "Patient/1\n", "Patient/1/x", "#a", "urn:oid:1"),
)
LISTS: tuple[Any, ...] = ([], [None], [None, None], ["x"], [[]], [{}])
OBJECTS: tuple[Any, ...] = (
    *({}, {"id": "x"}, {"x": 1}, {"resourceType": "Patient"}, {"value": 1}),
    *({"extension": [{"url": "http://x", "valueCode": "x"}]}, {"reference": "Slot/1"}),
)
WRONG = {int: NUMBERS, float: NUMBERS, str: STRINGS, list: LISTS, dict: OBJECTS}
ANY_WRONG: tuple[Any, ...] = (None, *NUMBERS, *STRINGS, *LISTS, *OBJECTS)
NAMES = (
    *("resourceType", "fhir_comments", "_resourceType", "", "_", "__id", "id", "_id", "extension"),
    *(
        "_extension",
        "contained",
        "value",
        "valueCode",
        "_valueCode",
        "valuePeriod",
        "url",
        "status",
    ),
)


def make_resource(random: Random, resource_type: str) -> dict[str, Any]:
    """A well-formed resource of that type, with some of its elements."""
    return {"resourceType": resource_type, **_object(random, resource_type, depth=4)}


def damage(random: Random, resource: dict[str, Any]) -> None:
    """Changes one thing somewhere. Some changes leave the resource as right as it was."""
    holder: Any = random.choice(list(_holders(resource)))
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    key: Any = random.choice(keys) if keys else None
    held = None if key is None else holder[key]
    near = random.random() < 0.7  # of the same kind as what stands there
    wrong = deepcopy(random.choice(WRONG.get(type(held), ANY_WRONG) if near else ANY_WRONG))
    kind = random.choice(("replace", "replace", "remove", "add", "wrap", "beside", "deepen"))
    if isinstance(holder, list) and (kind in ("add", "deepen") or key is None):
        holder.append(wrong)
    elif isinstance(holder, list):
        holder[key] = wrong
    elif kind == "add" or key is None:
        holder[random.choice(NAMES)] = wrong
    elif kind == "remove":
        del holder[key]
    elif kind == "wrap":
        holder[key] = [holder[key]]
    elif kind == "beside":
        holder[f"_{key}"] = wrong
    elif kind == "deepen":
        holder["extension"] = [_nested(random.choice((2, 50, 61, 62, 63, 64, 65, 90, 200)))]
    else:
        holder[key] = wrong


def _nested(levels: int) -> dict[str, Any]:
    extension: dict[str, Any] = {"url": "http://x", "valueCode": "x"}
    for _ in range(levels - 1):
        extension = {"url": "http://x", "extension": [extension]}
    return extension


def _holders(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _holders(inner)


def _object(random: Random, owner: str, depth: int) -> dict[str, Any]:
    by_base: dict[str, list[r4.Element]] = {}
    for element in r4.elements(owner).values():
        by_base.setdefault(element.base, []).append(element)
    needed = set(r4.mandatory_bases(owner))
    spare = sorted(set(by_base) - needed)
    if owner == "Extension":
        spare = ["extension" if depth > 0 and random.random() < 0.2 else "value"]
        needed |= set(spare)
    elif depth > 0 or not needed:
        needed |= set(random.sample(spare, min(len(spare), random.randint(1, 4))))
    made: dict[str, Any] = {}
    for base in sorted(needed):
        element = _cheap(by_base[base]) if depth <= 0 else random.choice(by_base[base])
        made |= _named(random, element, depth)
    return made


def _cheap(elements: list[r4.Element]) -> r4.Element:
    return next((e for e in elements if r4.is_primitive(e.type)), elements[0])


def _named(random: Random, element: r4.Element, depth: int) -> dict[str, Any]:
    values = [_value(random, element, depth) for _ in range(random.randint(1, 2))]
    primitive = r4.is_primitive(element.type)
    if primitive and element.many and random.random() < 0.2:
        values.append(None)
    value = values if element.many else values[0]
    if not primitive or random.random() > 0.1:
        return {element.name: value}
    extension: Any = {"extension": [{"url": "http://x", "valueCode": "x"}]}
    beside = [None, extension] if element.many else extension
    only = {f"_{element.name}": beside}
    return only if random.random() < 0.3 else {element.name: value, **only}


def _value(random: Random, element: r4.Element, depth: int) -> Any:
    if element.codes:
        return random.choice(sorted(element.codes))
    if r4.is_primitive(element.type):
        uri = element.type in ("uri", "url", "canonical")
        return random.choice(("http://x",) if uri else SAMPLES.get(element.type, TEXTS))
    if element.type in r4.RESOURCE_TYPES_OPEN:
        return make_resource(random, random.choice(("Patient", "Basic", "Bundle", "Parameters")))
    if element.type == "Reference":
        target = random.choice(element.targets or ("Patient", "Slot"))
        return {"reference": random.choice((f"{target}/7", "#a", f"https://x/{target}/7"))}
    return _object(random, element.type, depth - 1)
