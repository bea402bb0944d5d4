"""The published JSON Schema."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import chartgate
from chartgate.formats.strict_yaml import load_yaml
from chartgate.policy.charter_shape import (
    CHARTER_SCHEMA,
    SHOWN_MAX,
    near,
    path_text,
    shape_findings,
)

SAMPLE = Path(chartgate.__file__).parent / "cli/samples/charters/clinic-booking.yaml"
GONE = object()
PURPOSE = "purpose_of_use must be a code of HL7 v3 PurposeOfUse, e.g. TREAT"


def findings(path: str, value: Any) -> list[str]:
    """Of the sample charter with one value of it changed, or taken away."""
    charter: Any = load_yaml(SAMPLE.read_bytes())
    holder = charter
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in steps:
        holder = holder[step]
    if value is GONE:
        del holder[last]
    else:
        holder[last] = deepcopy(value)
    return shape_findings(charter)


def test_schema_when_checked_against_its_own_dialect_then_it_is_valid() -> None:
    jsonschema_rs.meta.validate(CHARTER_SCHEMA)
    assert CHARTER_SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_object_when_it_has_fixed_keys_then_it_is_closed() -> None:
    def walk(schema: object) -> None:
        if isinstance(schema, dict):
            if "properties" in schema:
                assert schema.get("additionalProperties") is False, schema
            for inner in schema.values():
                walk(inner)
        elif isinstance(schema, list):
            for inner in schema:
                walk(inner)

    walk(CHARTER_SCHEMA)


def test_everything_that_can_be_wrong_is_described() -> None:
    """By its own schema, by what it refers to, or where it is referred to: the sentences about a
    value that is wrong, a key that is missing and a key that is malformed say what to write."""

    def described(schema: dict[str, Any]) -> bool:
        kind = CHARTER_SCHEMA["$defs"].get(schema.get("$ref", "").rpartition("/")[2], {})
        return "description" in schema or "description" in kind

    def walk(schema: object) -> None:
        if isinstance(schema, dict):
            for inner in values_of(schema):
                assert described(inner), inner
            for inner in schema.values():
                walk(inner)

    def values_of(schema: dict[str, Any]) -> list[dict[str, Any]]:
        parts = [schema.get(k) for k in ("items", "additionalProperties", "propertyNames")]
        known = schema.get("properties", {})
        assert set(schema.get("required", [])) <= set(known), "what is needed is known"
        return [p for p in [*parts, *known.values()] if isinstance(p, dict)]

    walk(CHARTER_SCHEMA)


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("slot", ["Slot", "Schedule"], "; did you mean Slot?"),
        ("SLOT", ["Slot", "Schedule"], "; did you mean Slot?"),  # no letter but one is the same
        ("Slto", ["Slot", "Schedule"], "; did you mean Slot?"),
        ("statu", ["status", "stat", "start"], "; did you mean status?"),
        ("zzz", ["b", "a"], "; known: a, b"),
        ("zzz", [f"name-{n:02}" for n in range(12)],
         "; known: " + ", ".join(f"name-{n:02}" for n in range(12))),
        ("zzz", [f"name-{n:02}" for n in range(13)], ""),  # more than a person would read
    ],
)  # fmt: skip
def test_near_hints_at_the_name_that_was_meant_else_at_a_few_that_are_known(
    name: str, known: list[str], hint: str
) -> None:
    assert near(name, known) == hint


def test_path_text_when_written_then_it_reads_as_in_the_file() -> None:
    assert path_text(["proposes", "book", "writes", 0]) == "proposes.book.writes[0]"


def test_findings_when_the_value_is_no_mapping_then_one_sentence() -> None:
    assert len(shape_findings(["charter"])) == 1


@pytest.mark.parametrize(
    ("path", "value", "finding"),
    [
        ("revison", 1, "the charter: there is no key revison; did you mean revision?"),
        ("proposes/book/reviw", 1, "proposes.book: there is no key reviw; did you mean review?"),
        ("charter", GONE,
         "the charter: the key charter is missing: the charter's name, e.g. clinic-booking"),
        ("clients", GONE,
         "the charter: the key clients is missing: a list of registered AI clients"),
        ("reads/Slot/elements", GONE,
         "reads.Slot: the key elements is missing: a list of top-level elements, or the word all"),
        ("sites", {"North": "x"},
         'sites: a key there must be a name of small letters, digits and hyphens, not "North"'),
        ("sites", {}, "sites must not be empty"),
        ("clients", [], "clients must not be empty"),
        ("model", "", "model must not be empty"),
        ("clients", ["a", "a"], "clients: something stands there twice"),
        ("revision", "1",
         'revision must be a whole number from 1 that grows with each change, not "1"'),
        ("charter", "A B", 'charter must be the charter\'s name, e.g. clinic-booking, not "A B"'),
        ("purpose_of_use", "TRAET",
         f'{PURPOSE}, not "TRAET"; did you mean TREAT?'),
        ("purpose_of_use", 7,
         f"{PURPOSE}, not 7"),
        ("reads/Slot/elements", "some",
         'reads.Slot.elements must be a list of top-level elements, or the word all, not "some"'),
        ("rollout/0/share", "200%",
         'rollout[0].share must be a share such as 10% or 0.1, above 0 and at most 1, not "200%"'),
        ("halt_when/x", "much", 'halt_when.x must be a comparison such as ">= 0.90", not "much"'),
        ("sites/north-clinic", "X Y",
         'sites.north-clinic must be the name of a connection of chartgate.toml, not "X Y"'),
        ("budgets/open_proposals", 0,
         "budgets.open_proposals must be a whole number from 1, not 0"),
        ("events/0", "x", 'events[0] must be an HL7 v2 event such as SIU^S12, not "x"'),
        ("proposes/book/fixed", {"slot": 1},
         'proposes.book.fixed: a key there must be an element path such as Slot.status, not "slot"'),
        ("proposes/book/rules", [7],
         "proposes.book.rules[0] must be the name of a check, e.g. same-patient, not 7"),
        ("rollout/0/units", [7],
         "rollout[0].units[0] must be the name of a unit, e.g. clinic-a, not 7"),
        ("proposes/book/fixed", {"Slot.status": {}},
         "proposes.book.fixed.Slot.status must be a text, a number, true or false, not {}"),
        ("halt_when", [],
         'halt_when must be what stops this AI by itself, e.g. {verify_mismatch: "> 0"}, not []'),
    ],
)  # fmt: skip
def test_finding_says_where_what_is_expected_and_what_stands_there(
    path: str, value: Any, finding: str
) -> None:
    assert findings(path, value) == [finding]


def test_value_that_is_long_is_shown_by_its_beginning() -> None:
    (whole,) = findings("charter", "X" * (SHOWN_MAX - 2))
    assert whole.endswith(f', not "{"X" * (SHOWN_MAX - 2)}"')
    (cut,) = findings("charter", "X" * (SHOWN_MAX - 1))
    assert cut.endswith(f', not "{"X" * (SHOWN_MAX - 1)}…')


def test_every_key_that_is_missing_is_told_with_what_it_is_for() -> None:
    found = shape_findings({})
    assert len(found) == len(CHARTER_SCHEMA["required"])
    for finding, key in zip(found, sorted(CHARTER_SCHEMA["required"]), strict=True):
        about = CHARTER_SCHEMA["properties"][key]["description"]
        assert finding == f"the charter: the key {key} is missing: {about}"


@pytest.mark.parametrize("where", ["proposes/book", "proposes/book/review", "rollout/0"])
def test_key_without_a_description_of_its_own_has_that_of_its_kind(where: str) -> None:
    kinds = {"proposes/book": "action", "rollout/0": "stage"}
    schema = CHARTER_SCHEMA["$defs"][kinds.get(where, "review")]
    for key in schema["required"]:
        held = schema["properties"][key]
        kind = CHARTER_SCHEMA["$defs"].get(held.get("$ref", "").rpartition("/")[2], {})
        about = held.get("description") or kind.get("description")
        (finding,) = findings(f"{where}/{key}", GONE)
        assert finding.endswith(f"the key {key} is missing" + (f": {about}" if about else ""))
