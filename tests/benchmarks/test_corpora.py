"""The proof over the public corpora: that it can fail, and that it holds."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import corpora
from benchmarks.corpora import Reason, Result, failures_of, prove, shown
from benchmarks.corpora_reasons import explanation_of, is_well_formed
from chartgate.testing.messages import adt, header, message

CORPORA = Path(__file__).parents[3] / "shared" / "corpora" / "hl7v2"
RESULT = Result(
    messages=100,
    empty_sources=(),
    by_type={"ADT^A01": {"delivered": 97, "quarantined": 3}},
    reasons=(
        Reason(
            reason_class="content",
            position="PID-3",
            reason="PID-3 holds no identifier",
            count=3,
            types=("ADT^A01",),
            explanation=explanation_of("content", "PID-3 holds no identifier"),
            well_formed=3,
        ),
    ),
    well_formed=100,
    transformed=97,
    resources={"Patient": 97},
    invalid=(),
    digest="d",
)


def test_run_in_which_all_holds_has_no_failures() -> None:
    assert failures_of(RESULT, ["d", "d", "d"]) == []
    assert "nobody may be guessed to be the patient" in "\n".join(shown(RESULT))


@pytest.mark.parametrize(
    ("result", "digests", "words"),
    [
        (RESULT, ["d", "d", "other"], "the runs differ"),
        (replace(RESULT, transformed=96), ["d"], "only 96.0%"),
        (replace(RESULT, invalid=("Patient.name: wrong",)), ["d"], "not valid FHIR R4"),
        (
            replace(RESULT, reasons=(replace(RESULT.reasons[0], explanation=""),)),
            ["d"],
            "nobody has explained: content PID-3",
        ),
    ],
)
def test_run_in_which_something_does_not_hold_says_what(
    result: Result, digests: list[str], words: str
) -> None:
    [failure] = failures_of(result, digests)
    assert words in failure


def test_reason_that_nobody_has_looked_at_has_no_explanation() -> None:
    assert explanation_of("content", "PID-7 is not a date")
    assert explanation_of("internal", "our own fault (KeyError)") == ""
    assert explanation_of("content", "OBX-5 is not what it should be") == ""


def test_message_is_well_formed_where_it_has_what_hl7_requires() -> None:
    whole = adt("A01", mrn="p1")
    assert is_well_formed(whole)
    assert not is_well_formed(whole, "PID-7 is not a date")
    assert not is_well_formed(message(header("ADT^A01"), "PID|1||"))
    assert not is_well_formed(message(header("MDM^T02"), "PID|1||p1"))
    assert not is_well_formed(message(header("ADT^A40"), "PID|1||p1", "MRG|"))
    assert is_well_formed(message(header("ORM^O01"), "ORC|NW|1"))
    assert not is_well_formed(message(header("ORM^O01"), "PID|1", "ORC|NW|1"))
    assert not is_well_formed(b"MSH|")


def test_message_without_a_control_id_is_given_one() -> None:
    without = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01||P|2.5\rPID|1||p1\r"
    assert corpora._lacks_control_id(without)
    assert corpora._lacks_control_id(b"MSH|^~\\&|A|B|C|D|2026||ADT^A01\r")
    assert not corpora._lacks_control_id(adt("A01", mrn="p1"))
    given = corpora._given_control_id(without, 7)
    assert given == without.replace(b"ADT^A01||P", b"ADT^A01|G000007|P")


@pytest.mark.slow
def test_all_corpora_go_through_the_flow_the_same_way_three_times() -> None:
    """Also under another zone, locale and hash seed."""
    if not CORPORA.exists():
        pytest.skip("the public corpora are not on this machine")
    result, failures = prove(CORPORA)
    assert failures == []
    assert result.messages > 400
    assert result.well_formed > 250
