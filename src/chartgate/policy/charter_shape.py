"""The charter's JSON Schema, and its errors as sentences that say what to change."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import jsonschema_rs
import orjson

SHOWN_MAX = 60  # characters of a wrong value that a sentence repeats


def _load_schema() -> dict[str, Any]:
    body = (resources.files("chartgate.policy") / "charter.schema.json").read_bytes()
    schema: dict[str, Any] = orjson.loads(body)
    return schema


CHARTER_SCHEMA = _load_schema()


def shape_findings(value: Any) -> list[str]:
    """A sentence for each place where a charter does not follow the schema."""
    if not isinstance(value, dict):
        return ["a charter is a mapping that begins with `charter: its-name`"]
    findings: list[str] = []
    for error in _validator().iter_errors(value):
        findings.extend(_sentences(error))
    return sorted(set(findings))


def near(name: str, known: Collection[str]) -> str:
    """A hint that ends a sentence about an unknown name."""
    found = difflib.get_close_matches(name, sorted(known))
    folded = {k.lower(): k for k in known}
    hit = folded.get(name.lower()) or (found[0] if found else None)
    if hit:
        return f"; did you mean {hit}?"
    return f"; known: {', '.join(sorted(known))}" if len(known) <= 12 else ""


def _sentences(error: jsonschema_rs.ValidationError) -> Iterator[str]:
    where = path_text(error.instance_path)
    kind: Any = error.kind  # each kind has attributes of its own
    rule = kind.name
    holder = _schema_at(error.schema_path[:-1])
    if rule == "additionalProperties":
        known = list(holder["properties"])
        for key in kind.unexpected:
            yield f"{where}: there is no key {key}{near(key, known)}"
    elif rule == "required":
        about = _described(holder["properties"][kind.property])
        yield f"{where}: the key {kind.property} is missing: {about}"
    elif rule == "propertyNames":
        key = _shown(kind.error.instance)
        yield f"{where}: a key there must be {holder['description']}, not {key}"
    elif rule == "uniqueItems":
        yield f"{where}: something stands there twice"
    elif rule in ("minItems", "minProperties", "minLength") and not error.instance:
        yield f"{where} must not be empty"
    else:
        expected = _described_at_use(error.evaluation_path) or holder["description"]
        listed = rule == "enum" and isinstance(error.instance, str)
        hint = near(str(error.instance), holder["enum"]) if listed else ""
        yield f"{where} must be {expected}, not {_shown(error.instance)}{hint}"


def _described_at_use(path: Sequence[str | int]) -> str:
    """The description beside the $ref that led to the failing schema: it knows more."""
    if path[-2] != "$ref":
        return ""
    schema: Any = CHARTER_SCHEMA
    for step in path[:-2]:
        schema = _target(schema) if step == "$ref" else schema[step]
    return str(schema.get("description", ""))


def _described(schema: Mapping[str, str]) -> str:
    """The description of a schema, else of what its $ref leads to."""
    return schema.get("description") or str(_target(schema)["description"])


def _target(schema: Mapping[str, str]) -> Any:
    return CHARTER_SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]


def path_text(path: Sequence[str | int]) -> str:
    """proposes.book.writes[0], as a person would write it; "the charter" for the whole."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text or "the charter"


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"


def _schema_at(path: Sequence[str | int]) -> Any:
    schema: Any = CHARTER_SCHEMA
    for step in path:
        schema = schema[step]
    return schema


@cache
def _validator() -> Any:
    return jsonschema_rs.validator_for(CHARTER_SCHEMA)
