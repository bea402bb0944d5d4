"""The builder of the v2 code maps, on the real concept maps where they are and on small ones."""

from pathlib import Path

import pytest

from tools.build_v2_maps import (
    OUTPUT,
    Row,
    build_maps,
    named_maps,
    one_map,
    read_maps,
    rows,
    written,
)
from tools.v2_map_corrections import CORRECTIONS

MAPPINGS = (
    Path(__file__).parents[3] / "shared" / "corpora" / "hl7v2" / "v2-to-fhir-maps" / "mappings"
)
WIDE = [
    ["HL7 v2", "", "", "Condition (IF True)", "", "", "HL7 FHIR", "", "", "", "", "Comments"],
    ["Code", "Text", "Code System", "", "", "", "Code", "", "Display", "Code System", "", ""],
]
NARROW = [
    ["HL7 v2", "", "", "Condition (IF TRUE)", "", "HL7 FHIR", "", ""],
    ["Code", "Text", "Code System", "Computable", "Narrative", "Code", "Display", "Code System"],
]


@pytest.mark.skipif(not MAPPINGS.is_dir(), reason="the corpora are not beside this checkout")
def test_table_is_current_and_building_it_twice_gives_the_same_bytes() -> None:
    first = written(build_maps(read_maps(MAPPINGS / "codesystems")))
    second = written(build_maps(read_maps(MAPPINGS / "codesystems")))
    assert first == second == OUTPUT.read_bytes()


@pytest.mark.skipif(not MAPPINGS.is_dir(), reason="the corpora are not beside this checkout")
def test_every_map_that_a_segment_names_is_known_to_the_source() -> None:
    assert named_maps(MAPPINGS) <= set(read_maps(MAPPINGS / "codesystems"))


def test_row_is_read_by_its_headings_and_without_its_blanks() -> None:
    wide = list(rows([*WIDE, ["<\xa0", "Low", "HL70078", "", "", "", "<", "", " Off  low", " x"]]))
    narrow = list(
        rows([*NARROW, ["CA", "Cancelled", "HL70038", "", "", "revoked", "Revoked", "y"]])
    )
    assert wide == [Row("<", "HL70078", "<", "Off low", "x")]
    assert narrow == [Row("CA", "HL70038", "revoked", "Revoked", "y")]


def test_map_of_codings_keeps_names_and_leaves_prose_out() -> None:
    lines = [
        Row("A", "HL70999", "1", "Short name", "http://hl7.org/fhir/ValueSet/some/"),
        Row("B", "HL70999", "2", "An explanation. " * 5, "http://codes"),
        Row("C", "HL70999", "", "", ""),
        Row("", "", "3", "Of no code", "http://codes"),
    ]
    assert one_map("Some", lines) == {
        "table": "0999",
        "codes": {
            "A": {"system": "http://hl7.org/fhir/some", "code": "1", "display": "Short name"},
            "B": {"system": "http://codes", "code": "2"},
        },
    }


@pytest.mark.parametrize(
    ("name", "row", "sentence"),
    [
        ("AdministrativeSex", Row("X", "HL70001", "both", "", ""), "outside Patient.gender"),
        ("Some", Row("X", "HL70999", "1", "", ""), "needs a system"),
        ("BodyParts", Row("X", "HL70550", "X", "", "http://codes"), "drop the correction"),
    ],
)
def test_target_that_its_element_cannot_hold_stops_the_build(
    name: str, row: Row, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        one_map(name, [row])


def test_every_correction_has_a_reason_and_no_code_is_corrected_twice() -> None:
    corrected = [(c.map, sent) for c in CORRECTIONS for sent in c.targets]
    assert len(corrected) == len(set(corrected))
    assert all(len(c.reason.split()) > 4 for c in CORRECTIONS)
