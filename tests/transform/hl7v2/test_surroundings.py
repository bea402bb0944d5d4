"""What must hold for everything around a patient, whatever a message says."""

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chartgate.formats.hl7v2 import parse
from chartgate.formats.r4_structure import structure_findings
from chartgate.testing.messages import header, message, patient
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.engine import Draft, merged
from chartgate.transform.hl7v2.messages import transform_with_provenance
from tests.transform.hl7v2.made import SETTINGS, all_of, fields, laid, only, said

VALUES = st.sampled_from(
    ("", "", "", '""', "A", "D", "PP", "20240101", "X^Y^L", "A~B^C", "SEL", "7^Doc^Dora", "Y", "1")
)
NARROW = {
    "date": st.sampled_from(("", "", '""', "2020", "20240101", "202401011030")),
    "flag": st.sampled_from(("", '""', "Y", "N")),
    "rank": st.sampled_from(("", '""', "0", "1", "2")),
}
SEGMENTS = {
    "PD1": 14, "NK1": 41, "AL1": 6, "IAM": 17, "DG1": 22, "PR1": 25, "IN1": 49, "IN3": 21,
    "ROL": 14, "PRT": 24,
}  # fmt: skip
KINDS = {
    "PID": {24: "flag", 30: "flag"}, "NK1": {8: "date", 9: "date", 16: "date"}, "AL1": {6: "date"},
    "IAM": {11: "date", 13: "date"}, "DG1": {5: "date", 15: "rank", 19: "date"},
    "PR1": {5: "date"}, "IN1": {12: "date", 13: "date", 22: "rank"},
    "ROL": {5: "date", 6: "date"}, "PRT": {11: "date", 12: "date"},
}  # fmt: skip
PID = tuple(n for n in range(5, 31) if n not in (7, 25, 29))


def _value(name: str, number: int) -> st.SearchStrategy[str]:
    return NARROW.get(KINDS.get(name, {}).get(number, ""), VALUES)


@st.composite
def _segment(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(sorted(SEGMENTS)))
    return "|".join([name, *(draw(_value(name, n)) for n in range(1, SEGMENTS[name] + 1))])


@st.composite
def _message(draw: st.DrawFn) -> bytes:
    trigger = draw(st.sampled_from(("A01", "A03", "A08", "A11", "A31", "A60")))
    pid = {f"_{n}": draw(_value("PID", n)) for n in PID}
    who = fields("PID", _1="1", _3="1001^^^NORTH^MR", **pid)
    pv1 = fields("PV1", _1="1", _2=draw(st.sampled_from("IOEP")), _3="W^1", _19="V1", _20=draw(VALUES),
                 _43=draw(VALUES), _54=draw(st.sampled_from(("", "E1"))))  # fmt: skip
    before, after = draw(st.lists(_segment(), max_size=3)), draw(st.lists(_segment(), max_size=5))
    return message(header(f"ADT^{trigger}"), f"EVN|{trigger}|2024", who, *before, pv1, *after)


def _drafts(raw: bytes) -> tuple[Draft, ...]:
    try:
        return transform_with_provenance(parse(raw), SETTINGS).drafts
    except Unmappable:
        assume(False)
        raise


def _applied(record: dict[str, dict[str, Any]], raw: bytes) -> dict[str, dict[str, Any]]:
    after = dict(record)
    for draft in _drafts(raw):
        after[draft.reference] = merged(record.get(draft.reference), draft)
    return after


@settings(max_examples=40, deadline=None)
@given(before=_message(), raw=_message())
def test_message_that_is_applied_twice_is_as_once(before: bytes, raw: bytes) -> None:
    once = _applied(_applied({}, before), raw)
    assert _applied(once, raw) == once


@settings(max_examples=40, deadline=None)
@given(before=_message(), raw=_message())
def test_all_that_is_made_is_well_formed(before: bytes, raw: bytes) -> None:
    for resource in _applied(_applied({}, before), raw).values():
        assert not list(structure_findings(resource))


@settings(max_examples=40, deadline=None)
@given(full=_message(), number=st.sampled_from((5, 6, 9, 11, 13, 14, 15, 16, 40)))
def test_field_that_is_valued_alone_changes_nothing_of_the_others(full: bytes, number: int) -> None:
    before = _applied({}, full)
    pid = fields("PID", _1="1", _3="1001^^^NORTH^MR", **{f"_{number}": "N^M"})
    after = _applied(before, message(header("ADT^A31"), pid))
    [old], [new] = (all_of(record, "Patient") for record in (before, after))
    for name in ("name", "address", "telecom", "communication", "identifier", "extension"):
        own = (f"PID-{number}.", "PID-3.")
        kept = [[i for i in p.get(name, ()) if not i["id"].startswith(own)] for p in (old, new)]
        assert kept[0] == kept[1]
    for name in ("gender", "contact", "generalPractitioner", "multipleBirthBoolean"):
        assert old.get(name) == new.get(name)


def test_home_phone_that_changes_leaves_the_one_at_work() -> None:
    first = message(header("ADT^A08"), patient() + "|555-0200~555-0201")
    pid = fields("PID", _1="1", _3="1001^^^NORTH^MR", _13="555-0300")
    found = only(laid(first, message(header("ADT^A08"), pid)), "Patient")
    assert [(t["value"], t["use"]) for t in found["telecom"]] == [
        ("555-0300", "home"),
        ("555-0200", "work"),
        ("555-0201", "work"),
    ]


def test_order_result_and_vaccination_have_the_same_around_them() -> None:
    more = ["NK1|1|Example^Bob|BRO", "AL1|1|DA|PEN", "IN1|1|GOLD|ACME|Acme"]
    wanted = {"RelatedPerson", "AllergyIntolerance", "Coverage"}
    orders = {
        "ORM^O01": ["ORC|NW|P1", "OBR|1|P1||GLU"],
        "ORU^R01": ["OBR|1|P1|F1|GLU", "OBX|1|NM|GLU||5|mg|||||F"],
        "VXU^V04": ["ORC|RE||F1", "RXA|0|1|20240101||08^HepB^CVX|999"],
    }
    for trigger, order in orders.items():
        types = {
            d.resource_type for d in said(message(header(trigger), patient(), *more, *order)).drafts
        }
        assert types >= wanted, trigger
