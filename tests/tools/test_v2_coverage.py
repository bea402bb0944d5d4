"""The coverage page: what counts as mapped, and that the page says what the tables do."""

import re
from pathlib import Path

import pytest

from chartgate.transform.hl7v2.rows import parse_tables
from chartgate.transform.hl7v2.tableset import shipped_tables
from tools import v2_coverage
from tools.v2_coverage import CODED, MAPPED, MISSING, NO_TARGET, NOT, Official, Verdict

ROOT = Path(__file__).parents[2]
MAPPINGS = ROOT.parent / "shared" / "corpora" / "hl7v2" / "v2-to-fhir-maps" / "mappings"
MAKERS = ROOT / "src" / "chartgate" / "transform" / "hl7v2"
HEAD = ",,,,,,,,,,,\nOrder,Identifier,Name,,,,,,,Attribute,,\n"
TABLE = """
[PID Patient]
PID-3 | identifier[] | Identifier
PID-5.1 | name[].family | string
PID-7 | @ | patients.py: the date alone
PID-9 | - | withdrawn
PID-25 | multipleBirthInteger | positiveInt
"""


@pytest.fixture
def mappings() -> Path:
    if not MAPPINGS.exists():
        pytest.skip("the official maps are not on this machine")
    return MAPPINGS


@pytest.mark.parametrize(
    ("position", "target", "outcome", "by"),
    [
        ("PID-3", "identifier[1]", MAPPED, "`PID-3 identifier[]`"),
        ("PID-5", "name.family", MAPPED, "`PID-5.1 name[].family`"),
        ("PID-25", "multipleBirthBoolean", MAPPED, "`PID-25 multipleBirthInteger`"),
        ("PID-7", "birthDate", CODED, "patients.py: the date alone"),
        ("PID-9", "name", NOT, "withdrawn"),
        ("PID-8", "gender", MISSING, ""),
        ("PID-1", "", NO_TARGET, ""),
    ],
)
def test_row_is_judged_by_what_the_table_of_its_name_does_with_the_field(
    position: str, target: str, outcome: str, by: str
) -> None:
    table = parse_tables(TABLE, where="here")["PID.Patient"]
    found = v2_coverage._verdict(Official(position=position, target=target), table)
    assert (found.outcome, found.by) == (outcome, by)


def test_row_of_a_map_without_a_table_is_missing() -> None:
    row = Official(position="AIG-8", target="period")
    assert v2_coverage._verdict(row, None).outcome == MISSING


def test_rows_without_a_target_do_not_count_in_the_share() -> None:
    row = Official(position="PID-3", target="x")
    some = [Verdict(row=row, outcome=o) for o in (MAPPED, CODED, NOT, MISSING, NO_TARGET)]
    assert v2_coverage.share({"PID[Patient]": some}) == 0.5


def test_map_counts_where_a_supported_message_names_it_or_a_table_has_its_name(
    tmp_path: Path,
) -> None:
    (tmp_path / "messages").mkdir()
    (tmp_path / "segments").mkdir()
    for message, name in (("ADT_A01", "EVN[Provenance]"), ("BAR_P01", "NPU[Location]")):
        text = f"{HEAD}1,{message}.X,X,,,,,,,,{name},\n"
        (tmp_path / "messages" / f"HL7 Message - FHIR R4_ {message} - Sheet1.csv").write_text(text)
    for name in ("EVN[Provenance]", "NPU[Location]", "IAM[AllergyIntolerance]"):
        text = f"{HEAD}1,{name[:3]}-2,x,,,,,,,recorded,,\n,,,,,\n"
        (tmp_path / "segments" / f"HL7 Segment - FHIR R4_ {name} - Sheet1.csv").write_text(text)
    assert set(v2_coverage.judge(tmp_path)) == {"EVN[Provenance]", "IAM[AllergyIntolerance]"}
    assert v2_coverage.not_taken(tmp_path) == ["NPU[Location]"]
    assert "Not applicable: `NPU[Location]`" in v2_coverage.page(
        v2_coverage.judge(tmp_path), v2_coverage.not_taken(tmp_path)
    )


def test_page_is_current(mappings: Path) -> None:
    """`python -m tools.v2_coverage MAPPINGS` writes it."""
    text = v2_coverage.page(v2_coverage.judge(mappings), v2_coverage.not_taken(mappings))
    assert v2_coverage.PAGE.read_text(encoding="utf-8") == text


def test_nine_of_ten_official_rows_are_mapped(mappings: Path) -> None:
    verdicts = v2_coverage.judge(mappings)
    missing = [
        f"{name} {one.row.position}"
        for name, some in verdicts.items()
        for one in some
        if one.outcome == MISSING
    ]
    assert v2_coverage.share(verdicts) >= v2_coverage.SHARE_LEAST
    assert missing == []


def test_every_table_is_applied_by_a_maker() -> None:
    """A table that nobody applies would be counted and do nothing."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in MAKERS.glob("*.py"))
    named = re.findall(
        r'f?"((?:[A-Z][A-Z0-9]{2}|\{[a-z.]+\})\.(?:[A-Za-z-]+|\{[a-z._]+\}))"', source
    )
    patterns = {re.sub(r"\\\{[^}]*\\\}", "[A-Za-z0-9-]+", re.escape(name)) for name in named}
    idle = [
        name
        for name in shipped_tables().tables
        if not any(re.fullmatch(pattern, name) for pattern in patterns)
    ]
    assert idle == []
