"""The published JSON Schema."""

import jsonschema_rs

from chartgate.policy.charter_shape import CHARTER_SCHEMA, near, path_text, shape_findings


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


def test_near_when_only_the_case_differs_then_it_is_found() -> None:
    assert near("slot", ["Slot", "Schedule"]) == "; did you mean Slot?"
    assert near("zzz", ["a", "b"]) == "; known: a, b"


def test_path_text_when_written_then_it_reads_as_in_the_file() -> None:
    assert path_text(["proposes", "book", "writes", 0]) == "proposes.book.writes[0]"


def test_findings_when_the_value_is_no_mapping_then_one_sentence() -> None:
    assert len(shape_findings(["charter"])) == 1
