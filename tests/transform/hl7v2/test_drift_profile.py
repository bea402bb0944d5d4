"""Knowledge of several workers is joined by a law: whoever writes when, the same comes out."""

from hypothesis import given
from hypothesis import strategies as st

from chartgate.transform.hl7v2.drift_profile import (
    Knowledge,
    Novelty,
    Position,
    accept,
    fresh,
    from_json,
    knows,
    merged,
    to_json,
)

SMALL = st.integers(0, 50)
NAMES = st.sampled_from(["MSH", "PID", "PID-3", "PID-3.4", "PID-8", "ZPI-1"])
FORMATS = st.sets(st.sampled_from(["digits", "date8", "text"]))
CODES = st.none() | st.dictionaries(st.sampled_from("ABC"), SMALL)
NOVELTIES: st.SearchStrategy[Novelty] = st.one_of(
    st.tuples(st.sampled_from(["new-segment", "new-field", "vanished-field"]), NAMES, st.just("")),
    st.tuples(st.just("new-format"), NAMES, st.sampled_from(["digits", "date8", "text"])),
    st.tuples(st.just("new-length"), NAMES, st.sampled_from("123456")),
    st.tuples(st.just("new-code"), NAMES, st.sampled_from("ABC-")),
)


@st.composite
def positions(draw: st.DrawFn) -> Position:
    lengths = sorted([draw(st.integers(1, 8)), draw(st.integers(1, 8))])
    shortest, longest = lengths if draw(st.booleans()) else (0, 0)
    return Position(
        born=draw(SMALL),
        count=draw(SMALL),
        as_of=draw(SMALL),
        share=draw(SMALL),
        formats=draw(FORMATS),
        shortest=shortest,
        longest=longest,
        codes=draw(CODES),
    )


@st.composite
def knowledge(draw: st.DrawFn) -> Knowledge:
    return Knowledge(
        messages=draw(SMALL),
        positions=draw(st.dictionaries(NAMES, positions())),
        rare=draw(st.sets(NOVELTIES)),
    )


@given(knowledge(), knowledge(), knowledge())
def test_merging_is_commutative_associative_and_idempotent(
    one: Knowledge, other: Knowledge, third: Knowledge
) -> None:
    joined = merged(one, other)
    assert joined == merged(other, one)
    assert merged(joined, third) == merged(one, merged(other, third))
    assert merged(joined, joined) == joined == merged(joined, one)


@given(knowledge(), knowledge(), NOVELTIES)
def test_what_one_knows_both_know_after_merging(
    one: Knowledge, other: Knowledge, novelty: Novelty
) -> None:
    if knows(one.positions, novelty):
        assert knows(merged(one, other).positions, novelty)


@given(knowledge(), knowledge(), NOVELTIES)
def test_what_was_accepted_is_known_and_stays_so(
    one: Knowledge, other: Knowledge, novelty: Novelty
) -> None:
    accept(one, novelty)
    kind, name, _ = novelty
    if kind == "vanished-field" or (kind == "new-code" and fresh(name).codes is None):
        return  # nothing is to be known of the one; no codes are kept of the other
    assert knows(one.positions, novelty)
    assert knows(merged(other, one).positions, novelty)
    assert novelty not in one.rare


@given(knowledge())
def test_knowledge_comes_back_from_json(one: Knowledge) -> None:
    assert from_json(to_json(one)) == one
