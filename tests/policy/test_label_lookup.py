"""Codes and words by tables: how a code is met by many names, and what it is not taken for."""

import pytest

from chartgate.policy.label_codes import ACT_CODE, SYSTEMS
from chartgate.policy.label_lookup import TEXT_LENGTH_KEPT_MAX, Tables, lookup

SNOMED, ICD, LOINC = "http://snomed.info/sct", SYSTEMS["icd-10"][0], "http://loinc.org"
OWN = "urn:site:MATRIX"
TABLES = Tables(
    codes={
        "cpt": {"99213": frozenset({"PSY"})},
        "loinc": {"1-8": frozenset({"HIV"}), "16280-4": frozenset({"HIV"})},
        "role-code": {"HOUSE": frozenset({"VIO"})},
        "snomed": {"66214007": frozenset({"ETH"})},
        "icd-10": {"F20": frozenset({"PSY"})},
        OWN: {"7": frozenset({"CEL"})},
    },
    excepted={"icd-10": {"F205": frozenset({"PSY"})}},
    ingredients={"examplamab": [(("examplamab",), "HIV")]},
    terms={"film": [(("film", "star"), "CEL")]},
    with_terms=False,
)
CODING, NAME, TEXT = lookup(TABLES)


@pytest.mark.parametrize(
    ("system", "code", "found"),
    [
        # A system has many names: with a version, an edition, a slash; short, in any case.
        (LOINC, "1-8", {"HIV"}),
        (f"{LOINC}/", "1-8", {"HIV"}),
        (f"{LOINC}|2.74", "1-8", {"HIV"}),
        (f" {LOINC.upper()}/|2.74", "1-8", {"HIV"}),
        ("LN", "1-8", {"HIV"}),
        (OWN, "7", {"CEL"}),
        (f"{OWN}|1", "7", {"CEL"}),
        (f"{SNOMED}/731000124108", "66214007:246112005=24484000", {"ETH"}),
        (f"{SNOMED}|http://snomed.info/sct/731000124108", "66214007", {"ETH"}),
        ("HTTP://SNOMED.INFO/SCT/900000000000207008", "1166214007 + 66214007", {"ETH"}),
        # In a hierarchy a code stands for all that begin with it, but for what is excepted.
        (ICD, "F20", {"PSY"}),
        (ICD, "f20.0 ", {"PSY"}),
        (ICD, "F20.5", set()),
        (ICD, "F2", set()),
        (ICD, "F21", set()),
        # Without a system each table may be meant, however short the code.
        (None, "1-8", {"HIV"}),
        ("", "1-8", {"HIV"}),
        (None, "HOUSE", {"VIO"}),
        (None, "F20.0", {"PSY"}),
        (None, "66214007", {"ETH"}),
        (None, "7", set()),  # a site's own code is of its system alone
        (None, "F20-CLINIC-ROOM-3", set()),  # begins like one of ICD-10, and does not look like it
        # In a system that nobody knows, only what is hardly another's by chance.
        ("urn:else", "16280-4", {"HIV"}),
        ("urn:else", "99213", {"PSY"}),
        ("urn:else", "1-8", set()),
        ("urn:else", "HOUSE", set()),
        ("urn:else", "F20.0", {"PSY"}),
        ("urn:else", "F20", set()),
        # A system that is known has codes of its own, whether or not there are rules of them.
        ("hcpcs", "99213", set()),
        (LOINC, "99213", set()),
        (OWN, "99213", set()),
        # Labels, where they stand as codes.
        (ACT_CODE, "PSY", {"PSY"}),
        (f"{ACT_CODE}|1", "PSY", {"PSY"}),
        (None, "PSY", set()),
        ("urn:else", "PSY", set()),
        (ACT_CODE, "UNHEARD", set()),
        ("urn:else", "UNHEARD", set()),
        (LOINC, None, set()),
    ],
)
def test_code_is_found_by_any_name_of_its_system_and_is_not_taken_for_another(
    system: str | None, code: str | None, found: set[str]
) -> None:
    assert CODING(system, code, None) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("examplamab 5 mg", {"HIV"}),
        ("a Film\u200b STAR", {"CEL"}),
        ("ex<b>ampla</b>mab", {"HIV"}),
        ("film<br/>star", {"CEL"}),
        ("ex&#97;mplamab", {"HIV"}),  # marked up by its letters alone
        ("film&nbsp;star", {"CEL"}),
        ("film and star, 1 < 2 & 3", set()),
        ("star film", set()),
        ("", set()),
    ],
)
def test_text_is_read_as_it_is_shown(text: str, found: set[str]) -> None:
    assert TEXT(text) == found
    long = "nothing at all. " * TEXT_LENGTH_KEPT_MAX + text
    assert TEXT(long) == TEXT(long) == found, "however long, and as often as it is asked"


def test_name_of_a_code_tells_by_ingredients_and_by_terms_where_a_site_asks_for_them() -> None:
    assert CODING("urn:else", "x", "Examplamab") == NAME("Examplamab") == {"HIV"}
    assert CODING(None, None, "Film star") == NAME("Film star") == set()
    asked, name, _ = lookup(
        Tables(
            codes=TABLES.codes,
            excepted=TABLES.excepted,
            ingredients=TABLES.ingredients,
            terms=TABLES.terms,
            with_terms=True,
        )
    )
    assert asked(None, None, "Film star") == name("Film star") == {"CEL"}
    assert asked(LOINC, "1-8", "Film star") == {"CEL", "HIV"}
