"""Schema drift: each kind of change is found within 100 messages, and a stable feed finds none."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import cycle

import pytest

from chartgate.formats.hl7v2 import parse
from chartgate.testing.varied import Change, Lines, admissions, feed, results, segment
from chartgate.transform.hl7v2.drift import Profile
from chartgate.transform.hl7v2.drift_novelty import Finding
from chartgate.transform.hl7v2.drift_profile import accept, from_json, to_json

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
STABLE = 400
WITHIN = 100
Kind = Callable[[random.Random, int], Lines]


def setting(name: str, field: int, value: str) -> Change:
    """Puts a value into a field of the first segment of that name."""

    def change(lines: Lines) -> None:
        segment(lines, name)[field] = value

    return change


def adding(line: str) -> Change:
    return lambda lines: lines.append(line.split("|"))


def without(name: str) -> Change:
    def change(lines: Lines) -> None:
        lines[:] = [fields for fields in lines if fields[0] != name]

    return change


def stretching(name: str, field: int, more: str) -> Change:
    def change(lines: Lines) -> None:
        segment(lines, name)[field] += more

    return change


def watch(
    profile: Profile, kind: Kind, *, count: int, first: int = 1, **more: object
) -> list[tuple[int, Finding]]:
    """Each finding with how many messages it took."""
    found = []
    raws = feed(kind, count=count, first=first, **more)  # type: ignore[arg-type]
    for turn, raw in enumerate(raws, start=1):
        for one in profile.observe(parse(raw), number=first + turn - 1, at=AT):
            found.append((turn, one))
    return found


ADT_CHANGES: Sequence[tuple[str, str, str, Change]] = [
    ("new-segment", "ZPI", "present", adding("ZPI|1|x")),
    ("new-field", "PID-10", "valued", setting("PID", 10, "2106-3")),
    ("new-field", "PID-3.6", "valued", setting("PID", 3, "123456^^^NORTH^MR^FAC")),
    ("vanished-field", "PID-7", "empty", setting("PID", 7, "")),
    ("vanished-field", "PID-3.4", "empty", setting("PID", 3, "123456^^^^MR")),
    ("vanished-field", "PV1", "empty", without("PV1")),
    ("new-code", "PID-8", "X", setting("PID", 8, "X")),
    ("new-code", "PV1-2", "R", setting("PV1", 2, "R")),
    ("new-format", "PID-7", "datetime14", setting("PID", 7, "19800102030405")),
    ("new-format", "EVN-2", "datetime with zone", stretching("EVN", 2, "+0100")),
    ("new-format", "PID-3", "alphanumeric", setting("PID", 3, "MR12345^^^NORTH^MR")),
    ("new-length", "PID-3", "8-15 characters", setting("PID", 3, "123456789^^^NORTH^MR")),
]
ORU_CHANGES: Sequence[tuple[str, str, str, Change]] = [
    ("new-segment", "SPM", "present", adding("SPM|1|||BLD")),
    ("new-field", "OBX-17", "valued", setting("OBX", 17, "MASS")),
    ("vanished-field", "OBR-7", "empty", setting("OBR", 7, "")),
    ("vanished-field", "OBX", "empty", without("OBX")),
    ("new-code", "OBX-3", "4548-4", setting("OBX", 3, "4548-4^HbA1c^LN")),
    ("new-code", "OBX-11", "C", setting("OBX", 11, "C")),
    ("new-format", "OBR-7", "date8", setting("OBR", 7, "20260105")),
    ("new-format", "OBX-5", "text", setting("OBX", 5, "negative")),
    ("new-length", "OBX-5", "8-15 characters", setting("OBX", 5, "123456.789")),
]
CASES = [
    *((admissions, *case) for case in ADT_CHANGES),
    *((results, *case) for case in ORU_CHANGES),
]


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].__name__}-{case[1]}-{case[2]}")
def test_change_is_found_within_a_hundred_messages_with_examples(
    case: tuple[Kind, str, str, str, Change], share: float
) -> None:
    kind, what, position, now, change = case
    if what == "vanished-field":
        share = 1.0  # what half the messages hold has not vanished
    profile = Profile()
    assert not watch(profile, kind, count=STABLE)
    first = STABLE + 1
    found = watch(profile, kind, count=WITHIN, first=first, change=change, share=share)
    [(_, one)] = found  # one change, one finding
    assert (one.kind, one.position, one.now) == (what, position, now)
    assert 1 <= len(one.examples) <= 5
    assert all(first <= example < first + WITHIN for example in one.examples)


def test_two_senders_that_change_at_once_are_told_apart() -> None:
    """Every kind of change, one after another, in two profiles whose messages alternate."""
    for (what, position, now, change), (what_2, position_2, now_2, change_2) in zip(
        ADT_CHANGES, cycle(ORU_CHANGES), strict=False
    ):
        profiles = (Profile(), Profile())
        assert not watch(profiles[0], admissions, count=STABLE)
        assert not watch(profiles[1], results, count=STABLE)
        mixed = zip(
            feed(admissions, count=WITHIN, first=401, change=change),
            feed(results, count=WITHIN, first=401, change=change_2),
            strict=True,
        )
        found: tuple[list[Finding], list[Finding]] = ([], [])
        for number, raws in enumerate(mixed, start=401):
            for profile, raw, told in zip(profiles, raws, found, strict=True):
                told += profile.observe(parse(raw), number=number, at=AT)
        [one], [other] = found
        assert (one.kind, one.position, one.now) == (what, position, now)
        assert (other.kind, other.position, other.now) == (what_2, position_2, now_2)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", [admissions, results])
def test_stable_but_varied_feed_has_no_findings(kind: Kind, seed: int) -> None:
    assert not watch(Profile(), kind, count=5000, seed=seed)


def test_nothing_is_found_while_learning() -> None:
    profile = Profile()
    change = adding("ZPI|1|x")
    assert not watch(profile, admissions, count=150)
    assert not watch(profile, admissions, count=50, first=151, change=change)
    assert not watch(profile, admissions, count=200, first=201, change=change)


def test_new_code_in_a_table_long_complete_is_found_at_its_first_message() -> None:
    profile = Profile()
    assert not watch(profile, admissions, count=1500)
    [(turn, one)] = watch(
        profile, admissions, count=50, first=1501, change=setting("PID", 8, "X"), share=0.05
    )
    assert (one.kind, one.was, one.now, one.count) == ("new-code", "F, M", "X", 1)
    assert turn == one.examples[0] - 1500


def test_stray_is_no_finding_until_it_comes_often() -> None:
    profile = Profile()
    change = adding("ZPI|1|x")
    assert not watch(profile, admissions, count=STABLE)
    assert not watch(profile, admissions, count=1, first=401, change=change)
    assert not watch(profile, admissions, count=300, first=402)
    [(turn, one)] = watch(profile, admissions, count=WITHIN, first=702, change=change)
    assert (one.kind, one.position) == ("new-segment", "ZPI")
    assert turn <= 25


@pytest.mark.parametrize(
    ("field", "value"),
    [(8, "19800102"), (8, "Kowalczyk"), (16, "SMITH"), (8, "Dora"), (10, "555-0100")],
)
def test_no_value_of_a_patient_is_told(field: int, value: str) -> None:
    """A sender that shifts its fields puts names and birth dates where codes belong."""
    profile = Profile()
    always = setting("PID", 10, "W")
    watch(profile, admissions, count=STABLE, change=always)

    def change(lines: Lines) -> None:
        always(lines)
        segment(lines, "PID")[field] = value

    found = watch(profile, admissions, count=WITHIN, first=401, change=change)
    assert [one.position for _, one in found] == [f"PID-{field}"]
    kept = str(to_json(profile.knowledge))
    assert value not in str(found) + kept


def test_accepted_change_is_the_new_normal() -> None:
    profile = Profile()
    change = setting("PID", 7, "19800102030405")
    watch(profile, admissions, count=STABLE)
    [(_, one)] = watch(profile, admissions, count=WITHIN, first=401, change=change)
    assert [again.count for again in profile.again()] == [WITHIN - one.count]
    known = from_json(to_json(profile.knowledge))
    accept(known, one.novelty)
    profile.adopt(known)
    assert not watch(profile, admissions, count=300, first=501, change=change)
    fresh_start = Profile(from_json(to_json(profile.knowledge)))
    assert not watch(fresh_start, admissions, count=300, first=801, change=change)


def test_finding_goes_on_counting_and_is_not_told_twice() -> None:
    profile = Profile()
    change = adding("ZPI|1|x")
    watch(profile, admissions, count=STABLE)
    [(_, one)] = watch(profile, admissions, count=300, first=401, change=change)
    [again] = profile.again()
    assert again.novelty == one.novelty
    assert one.count + again.count == 300
    assert not profile.again()


def test_vanished_field_is_told_once_and_missed_on() -> None:
    profile = Profile()
    change = setting("PID", 7, "")
    watch(profile, admissions, count=STABLE)
    [(_, one)] = watch(profile, admissions, count=320, first=401, change=change)
    assert one.count >= 50
    [again] = profile.again()
    assert again.count > 0
    assert not watch(profile, admissions, count=300, first=721)
    assert not profile.again()


def test_findings_depend_on_the_messages_alone() -> None:
    def run() -> tuple[object, object]:
        profile = Profile()
        watch(profile, admissions, count=STABLE)
        change = setting("PID", 3, "AB-1^^^X^Y^Z")
        found = watch(profile, admissions, count=200, first=401, change=change, share=0.6)
        return found, to_json(profile.knowledge)

    assert run() == run()


def test_profile_that_was_kept_goes_on_where_it_stood() -> None:
    profile = Profile()
    watch(profile, admissions, count=STABLE)
    again = Profile(from_json(to_json(profile.knowledge)))
    assert not watch(again, admissions, count=500, first=401)
    change = setting("PV1", 7, "")
    [(_, one)] = watch(again, admissions, count=WITHIN, first=901, change=change)
    assert (one.kind, one.position) == ("vanished-field", "PV1-7")


def test_document_in_a_field_costs_no_more_than_its_beginning() -> None:
    profile = Profile()
    raw = next(feed(results, count=1))
    long = raw + b"OBX|9|ED|DOC^Document^L||" + b"QUJD" * 100_000 + b"\r"
    profile.observe(parse(long), number=1, at=AT)
    assert profile.knowledge.positions["OBX-5"].longest <= 9


def test_other_delimiters_make_no_difference() -> None:
    profile = Profile()
    watch(profile, admissions, count=STABLE)
    table = bytes.maketrans(b"|^~&", b"#@*%")
    raws = [raw.translate(table) for raw in feed(admissions, count=300, first=401)]
    assert not [one for raw in raws for one in profile.observe(parse(raw), number=1, at=AT)]
