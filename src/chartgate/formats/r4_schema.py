"""FHIR R4 as JSON Schema: what r4_structure.py says in sentences, compiled to run in Rust.

Draft 4, because there an integer is written without a decimal point, as FHIR has it. Each type and
nested element is one definition, so recursion (extensions, identifiers with an assigner, items in
items) is a reference. Resources inside a resource are only asked for a resourceType here: theirs
is a schema of its own, and the caller goes on to it. No limit of depth; that is the caller's too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

from chartgate.formats import r4

# The blanks of Python's \s, spelled out: other engines know other ones.
BLANKS = "\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
ANYTHING = r"[\s\S]+"
EXTENSIONS = "extensions of a primitive"
REFERENCE_ID = r"/[A-Za-z0-9\-.]{1,64}$"
REFERENCE = "^[A-Z][A-Za-z]{1,40}" + REFERENCE_ID

Schema = dict[str, Any]


def compile_type(resource_type: str) -> jsonschema_rs.Validator:
    """The validator of one resource type. Costs some milliseconds: keep it."""
    return jsonschema_rs.Draft4Validator(
        type_schema(resource_type), pattern_options=jsonschema_rs.RegexOptions()
    )


def type_schema(resource_type: str) -> Schema:
    """The schema of one resource type, with all that it refers to."""
    definitions: dict[str, Schema] = {}
    waiting = [resource_type, EXTENSIONS, "Element"]
    while waiting:
        key = waiting.pop()
        if key not in definitions:
            definitions[key] = dict(_definition(key))
            waiting.extend(_mentioned(definitions[key]))
    return {**_ref(resource_type), "definitions": definitions}


def _definition(key: str) -> Schema:
    """A primitive, the extensions of primitives, or an object by its owner and its targets."""
    if key == EXTENSIONS:
        objects = {"anyOf": [{"not": {"type": "object"}}, _ref("Element")]}
        items = {"type": ["object", "null"], **objects}
        return {"type": ["object", "array", "null"], "items": items, **objects}
    if r4.is_primitive(key):
        return _shape(key)
    owner, _, targets = key.partition(" to ")
    schema = _object(owner)
    if owner == "Reference":
        schema["properties"]["reference"] = _reference(targets.split(",") if targets else ())
    if owner == "Extension":
        schema = _value_or_extensions(schema)
    return schema


def _object(owner: str) -> Schema:
    """An object: its elements and no others, the required ones there, one type for a choice."""
    elements = r4.elements(owner)
    properties: dict[str, Schema] = {}
    choices: dict[str, list[str]] = {}
    for element in elements.values():
        names = _json_names(element)
        properties[element.name] = _element(element)
        properties |= {name: _ref(EXTENSIONS) for name in names[1:]}
        choices.setdefault(element.base, []).extend(names)
    if r4.is_resource_type(owner):
        properties |= {"resourceType": {"enum": [owner]}, "fhir_comments": {}}
    required = [choices[base] for base in sorted(r4.mandatory_bases(owner))]
    schema: Schema = {
        "type": "object",
        "minProperties": 1,
        "properties": properties,
        "additionalProperties": False,
        "dependencies": dict(_one_type(elements)),
        "required": [names[0] for names in required if len(names) == 1],
        "allOf": [_any_of(names) for names in required if len(names) > 1],
    }
    return {keyword: value for keyword, value in schema.items() if value not in ([], {})}


def _json_names(element: r4.Element) -> list[str]:
    underscored = [f"_{element.name}"] if r4.is_primitive(element.type) else []
    return [element.name, *underscored]


def _one_type(elements: Mapping[str, r4.Element]) -> Iterator[tuple[str, Schema]]:
    """For each name of a choice: none of a later type beside it."""
    later: dict[str, list[str]] = {}
    for element in reversed(list(elements.values())):
        if element.choice:
            others = later.setdefault(element.base, [])
            if others:
                yield from ((n, {"not": _any_of(list(others))}) for n in _json_names(element))
            others.extend(_json_names(element))


def _value_or_extensions(schema: Schema) -> Schema:
    """An extension: a value of one type or extensions, not both.

    Nearly all have a url and one thing more; for the rest a hundred names have to be looked for.
    """
    values = [n for n in schema["properties"] if n.removeprefix("_").startswith("value")]
    others = [n for n in schema["properties"] if n not in (*values, "url", "extension")]
    simple = {"minProperties": 2, "maxProperties": 2, "not": _any_of(others)}
    either = [
        _any_of(["extension", *values]),
        {"not": {"required": ["extension"], **_any_of(values)}},
    ]
    full = {"dependencies": schema.pop("dependencies"), "allOf": either}
    return {**schema, "anyOf": [simple, full]}


def _any_of(names: list[str]) -> Schema:
    return {"anyOf": [{"required": [name]} for name in names]}


def _element(element: r4.Element) -> Schema:
    """What may stand under an element's name: a value or a list of them."""
    value = _value(element)
    if not element.many:
        return value
    if r4.is_primitive(element.type):
        value = {"anyOf": [value, {"type": "null"}]}
    return {"type": "array", "minItems": 1, "items": value}


def _value(element: r4.Element) -> Schema:
    if element.codes:
        return {"enum": sorted(c for c in element.codes if r4.is_shaped(element.type, c))}
    if element.type in r4.RESOURCE_TYPES_OPEN:
        types = {"resourceType": {"enum": sorted(r4.resource_types())}}
        return {"type": "object", "required": ["resourceType"], "properties": types}
    targets = f" to {','.join(element.targets)}" if element.targets else ""
    return _ref(element.type + targets)


def _reference(targets: list[str] | tuple[str, ...]) -> Schema:
    """A string that is no relative reference, or one to a type that may stand here."""
    allowed = sorted(r4.resource_types() & set(targets) if targets else r4.resource_types())
    to_allowed = {"pattern": f"^({'|'.join(allowed)}){REFERENCE_ID}"}
    return {**_shape("string"), "anyOf": [to_allowed, {"not": {"pattern": REFERENCE}}]}


def _shape(type_: str) -> Schema:
    """A primitive as r4.is_shaped has it."""
    if type_ == "boolean":
        return {"type": "boolean"}
    if type_ == "decimal":
        return {"type": "number"}
    if type_ in r4.INTEGERS_MIN:
        return {"type": "integer", "minimum": r4.INTEGERS_MIN[type_], "maximum": 2**31 - 1}
    shape = r4.PRIMITIVE_SHAPES.get(type_, ANYTHING)
    if shape == ANYTHING:
        return {"type": "string", "minLength": 1}
    return {"type": "string", "pattern": f"^({_portable(shape)})$"}


def _portable(shape: str) -> str:
    """A regular expression without the classes that each engine reads in its own way."""
    shape = shape.replace(r"[^\s]", rf"[^{BLANKS}]").replace(r"\S", rf"[^{BLANKS}]")
    return shape.replace(r"(\s", f"([{BLANKS}]").replace(r"=\s]", f"={BLANKS}]")


def _ref(key: str) -> Schema:
    return {"$ref": f"#/definitions/{key.replace(' ', '%20')}"}


def _mentioned(schema: Any) -> Iterator[str]:
    """Definitions that a schema refers to."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix("#/definitions/").replace("%20", " ")
        for inner in schema.values():
            yield from _mentioned(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _mentioned(inner)
