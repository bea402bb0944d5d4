"""The 31 source attributes."""

import re
from pathlib import Path

import pytest

from chartgate.errors import Invalid
from chartgate.policy.charters import parse_charter
from chartgate.policy.model_file import (
    NOT_PROVIDED,
    SOURCE_ATTRIBUTES,
    parse_model,
    source_attributes,
)

SAMPLES = Path(__file__).parents[2] / "src" / "chartgate" / "cli" / "samples"


def test_source_attributes_when_counted_then_each_paragraph_has_its_number() -> None:
    """45 CFR 170.315(b)(11)(iv)(B): 4 + 4 + 2 + 4 + 2 + 4 + 5 + 4 + 2 = 31."""
    counts: dict[str, int] = {}
    for paragraph in SOURCE_ATTRIBUTES:
        match = re.fullmatch(r"\(B\)\((\d)\)\((i|ii|iii|iv|v)\)", paragraph)
        assert match
        counts[match[1]] = counts.get(match[1], 0) + 1
    assert list(counts.values()) == [4, 4, 2, 4, 2, 4, 5, 4, 2]
    assert len(SOURCE_ATTRIBUTES) == 31


def test_source_attributes_when_some_are_missing_then_all_are_listed_in_order() -> None:
    path = SAMPLES / "charters" / "visit-note.yaml"
    charter = parse_charter(
        path.read_bytes(), file=path.name, read_model=lambda n: (SAMPLES / n).read_bytes()
    )
    rows = source_attributes(charter)
    assert [row[0] for row in rows] == list(SOURCE_ATTRIBUTES)
    texts = {row[0]: row[2] for row in rows}
    assert texts["(B)(8)(i)"] == NOT_PROVIDED
    assert texts["(B)(2)(iii)"] == "Clinicians who saw the patient"


def test_model_when_an_attribute_is_blank_then_it_is_not_provided() -> None:
    model = parse_model(b'model: m\nversion: "1"\nattributes: {(B)(1)(i): "  ", (B)(1)(ii): }')
    assert model.attributes == {}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"[]", "a mapping"),
        (b'model: m\nversion: "1"\nattribute: {}', "did you mean attributes"),
        (b"version: 1", "model must be a text"),
        (b'model: m\nversion: "1"\nattributes: []\n', None),
        (b'model: m\nversion: "1"\nattributes: [x]', "a mapping from paragraph"),
        (b'model: m\nversion: "1"\nattributes: {(B)(1)(i): 5}', "must be a text"),
        (b'model: m\nversion: "1"\nattributes: {(B)(1)(j): x}', "did you mean"),
        (b'model: m\nversion: "1"\nattributes: {(B)(1)(i): "' + b"x" * 10_001 + b'"}', "over"),
    ],
)
def test_model_when_it_is_wrong_then_the_sentence_says_what(
    body: bytes, sentence: str | None
) -> None:
    if sentence is None:
        assert parse_model(body).attributes == {}
        return
    with pytest.raises(Invalid, match=sentence):
        parse_model(body)
