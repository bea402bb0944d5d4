"""The builder of the R4 tables, on definitions as small as they can be."""

from typing import Any

from tools.build_r4_tables import build_table

URL = "http://hl7.org/fhir/StructureDefinition/"


def element(path: str, *codes: str, **more: Any) -> dict[str, Any]:
    types = [{"code": code} for code in codes]
    return {"path": path, "min": 0, "max": "1", "type": types, **more}


def definition(name: str, *elements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "StructureDefinition",
        "type": name,
        "kind": "resource",
        "abstract": False,
        "snapshot": {"element": [{"path": name}, *elements]},
        **more,
    }


CODES = {
    "resourceType": "CodeSystem",
    "url": "http://codes",
    "content": "complete",
    "concept": [{"code": "a", "concept": [{"code": "b"}]}],
}
SET = {
    "resourceType": "ValueSet",
    "url": "http://x/ValueSet/some-codes",
    "compose": {"include": [{"system": "http://codes"}]},
}
BOUND = {"strength": "required", "valueSet": "http://x/ValueSet/some-codes|4.0.1"}
TASK = definition(
    "Task",
    element("Task.status", "code", min=1, isModifier=True, binding=BOUND),
    element("Task.part", "BackboneElement", max="*"),
    element("Task.part.value[x]", "string", "Period"),
    element("Task.part.part", contentReference="#Task.part"),
    {
        **element("Task.owner"),
        "type": [{"code": "Reference", "targetProfile": [URL + "Patient", URL + "Group"]}],
    },
)


def search(code: str, expression: str, type_: str = "token") -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter",
        "code": code,
        "base": ["Task"],
        "type": type_,
        "expression": expression,
    }


def test_table_when_built_then_each_element_is_one_line() -> None:
    table = build_table([TASK, SET, CODES, definition("Profile", derivation="constraint")])
    assert table["resources"] == ["Task"]
    assert table["types"] == {
        "Task": {
            "status": "1..1 code@somecodes !",
            "part": "0..* #Task.part",
            "owner": "0..1 Reference(Group,Patient)",
        },
        "Task.part": {"value[x]": "0..1 Period|string", "part": "0..1 #Task.part"},
    }
    assert table["codes"] == {"somecodes": ["a", "b"]}


def test_search_parameters_when_built_then_their_elements_are_derived() -> None:
    table = build_table(
        [
            TASK,
            search("who", "Task.owner | Other.owner", "reference"),
            search("value", "(Task.part.value as string)"),
            search("both", "Task.part", "composite"),
        ]
    )
    assert table["search"]["Task"] == {
        "who": "reference owner",
        "value": "token part",
        "both": "composite",
    }
