"""What counts as weakening a charter, a policy or a label rule."""

from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartgate.model.charter import (
    ActionRule,
    AutoRule,
    Charter,
    GuardRule,
    ReadRule,
    Stage,
    ValueRule,
    WriteRule,
)
from chartgate.policy import weakening
from chartgate.policy.charters import CharterBook, compile_book
from chartgate.policy.decide import decide
from chartgate.policy.forbids import ForbidFile
from chartgate.policy.label_rules import parse_label_rules
from chartgate.policy.weakening import weakenings
from tests.policy.generated import (
    World,
    compiled,
    draw_charter,
    draw_request,
    draw_rule,
    draw_world,
)
from tests.policy.test_decide import CHARTERS, FORBID_TEXTS

BOOKING = CHARTERS[0]
PATIENT = replace(BOOKING.reads["Patient"], relationship=("care-team", "encounter"))
BOOK_RULE = BOOKING.proposes["book"]
SAMPLE = replace(BOOKING, reads={**BOOKING.reads, "Patient": PATIENT})


def found(before: Charter, after: Charter) -> tuple[str, ...]:
    return weakenings(compile_book([before]), compile_book([replace(after, digest="new")]))


def with_read(**changes: Any) -> Charter:
    return replace(SAMPLE, reads={**SAMPLE.reads, "Patient": replace(PATIENT, **changes)})


def with_action(**changes: Any) -> Charter:
    return replace(SAMPLE, proposes={"book": replace(BOOK_RULE, **changes)})


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        (replace(SAMPLE, purpose_of_use="HMARKT"), "purpose_of_use was changed"),
        (replace(SAMPLE, sites={**SAMPLE.sites, "south": "x"}), "sites has more: south"),
        (replace(SAMPLE, sites={"north-clinic": "other"}), "sites leads elsewhere: north-clinic"),
        (replace(SAMPLE, clients=("slot-picker", "spy")), "clients has more: spy"),
        (replace(SAMPLE, model_digest="other"), "model_digest was changed"),
        (replace(SAMPLE, model_version="2"), "model_version was changed"),
        (replace(SAMPLE, events=(*SAMPLE.events, "ORU^R01")), "events has more: ORU^R01"),
        (replace(SAMPLE, budgets={}), "budgets allows more: open_proposals, patients_per_hour"),
        (
            replace(SAMPLE, budgets={**SAMPLE.budgets, "patients_per_hour": 201}),
            "budgets allows more: patients_per_hour",
        ),
        (replace(SAMPLE, rollout=SAMPLE.rollout[1:]), "rollout asks for less at shadow"),
        (
            replace(SAMPLE, rollout=(replace(SAMPLE.rollout[0], gate=()), *SAMPLE.rollout[1:])),
            "rollout asks for less at shadow",
        ),
        (replace(SAMPLE, halt_when={}), "halt_when halts less"),
        (replace(SAMPLE, retention_s={"audit": 1.0}), "retention_s was changed"),
        (replace(SAMPLE, reads={**SAMPLE.reads, "Flag": PATIENT}), "reads.Flag is new"),
        (
            replace(SAMPLE, proposes={**SAMPLE.proposes, "more": BOOK_RULE}),
            "proposes.more is new",
        ),
        (with_read(elements=(*PATIENT.elements, "address")), "elements has more: address"),
        (with_read(search=("name",)), "reads.Patient.search has more: name"),
        (with_read(fresh_s=301.0), "fresh_s was raised from 300 to 301"),
        (with_read(when_unreachable="stale"), "shows stale copies now"),
        (with_read(relationship=()), "relationship asks for nothing any more"),
        (
            with_read(relationship=("care-team", "encounter", "appointment")),
            "relationship has more: appointment",
        ),
        (with_read(sensitive=("PSY",)), "reads.Patient.sensitive has more: PSY"),
        (with_action(guards=BOOK_RULE.guards[1:]), "guards has fewer: same Slot.status"),
        (with_action(rules=()), "rules has fewer: appointment-within-slot"),
        (with_action(review_by="anybody"), "review_by was changed"),
        (with_action(auto=AutoRule(min_confidence=0.5, from_stage="full")), "less confidence"),
        (with_action(auto=AutoRule(min_confidence=0.97, from_stage="canary")), "begins earlier"),
        (with_action(handoff_to="nobody"), "handoff_to was changed"),
        (with_action(handoff_below=0.1), "handoff_below was lowered from 0.6 to 0.1"),
        (
            with_action(
                writes=(
                    *BOOK_RULE.writes,
                    WriteRule(interaction="update", resource_type="Patient"),
                )
            ),
            "writes more: update Patient",
        ),
        (
            with_action(
                writes=(
                    BOOK_RULE.writes[0],
                    WriteRule(interaction="patch", resource_type="Slot"),
                )
            ),
            "writes more: patch Slot",
        ),
    ],
)
def test_charter_when_it_gives_more_or_checks_less_then_a_sentence_says_so(
    after: Charter, sentence: str
) -> None:
    told = found(SAMPLE, after)
    assert any(sentence in each for each in told), told


@pytest.mark.parametrize(
    "after",
    [
        SAMPLE,
        replace(SAMPLE, revision=2, digest="x", official_process="x.bpmn"),
        replace(SAMPLE, clients=()),
        replace(SAMPLE, events=()),
        replace(SAMPLE, reads={"Patient": PATIENT}),
        replace(SAMPLE, proposes={}),
        replace(SAMPLE, budgets={**SAMPLE.budgets, "patients_per_hour": 1}),
        replace(SAMPLE, halt_when={**SAMPLE.halt_when, "approval": "< 0.5"}),
        with_read(elements=("name",), fresh_s=0.0),
        with_read(relationship=("care-team",)),
        with_action(guards=(*BOOK_RULE.guards, GuardRule(kind="same", paths=("Slot.id",)))),
        with_action(auto=None),
        with_action(auto=AutoRule(min_confidence=0.99, from_stage="full")),
        with_action(handoff_below=0.9),
        with_action(review_relationship=("care-team",)),
        with_action(writes=BOOK_RULE.writes[:1]),
    ],
)
def test_charter_when_it_gives_less_or_checks_more_then_nothing_is_weakened(
    after: Charter,
) -> None:
    assert found(SAMPLE, after) == ()


STRICT_REVIEW: dict[str, Any] = {
    "review_people": 2,
    "review_roles": ("scheduler", "nurse"),
    "review_acknowledge": ("start", "end"),
    "review_dwell_s": 10.0,
    "review_seeds": 0.02,
}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"review_people": 1}, "review_people was lowered from 2 to 1"),
        ({"review_roles": ()}, "review_roles was changed"),
        ({"review_roles": ("scheduler", "nurse", "anybody")}, "review_roles was changed"),
        ({"review_acknowledge": ("start",)}, "review_acknowledge has fewer: end"),
        ({"review_dwell_s": 3.0}, "review_dwell_s was lowered from 10 to 3"),
        ({"review_seeds": 0.0}, "review_seeds was lowered"),
        ({"review_people": 3, "review_dwell_s": 20.0}, None),
        ({"review_acknowledge": ("start", "end", "slot"), "review_seeds": 0.1}, None),
    ],
)
def test_review_when_it_asks_for_less_then_a_sentence_says_so(
    changes: dict[str, Any], sentence: str | None
) -> None:
    before, after = with_action(**STRICT_REVIEW), with_action(**{**STRICT_REVIEW, **changes})
    told = found(before, after)
    assert (told == ()) if sentence is None else (sentence in " ".join(told)), told


def test_charter_when_it_is_new_then_it_gives_rights_and_when_it_goes_it_does_not() -> None:
    both, one = compile_book([SAMPLE, CHARTERS[1]]), compile_book([SAMPLE])
    assert weakenings(both, one) == ()
    assert "the charter is new" in weakenings(one, both)[0]


def test_forbid_when_it_goes_changes_or_moves_then_a_sentence_names_it() -> None:
    def book(*forbids: ForbidFile) -> CharterBook:
        return compile_book([SAMPLE], forbids=forbids)

    one = ForbidFile(text='@id("a") @sentence("no") forbid (principal, action, resource);')
    other = replace(one, text=one.text.replace("(principal,", "(principal is Client,"))
    assert weakenings(book(one), book()) == ("the policy a is gone",)
    assert weakenings(book(one), book(other)) == ("the policy a is another",)
    assert weakenings(book(one), book(replace(one, site="south"))) == ("the policy a is another",)
    assert weakenings(book(), book(one)) == ()
    reworded = replace(one, text=one.text.replace("forbid (", "  forbid\n("))
    assert weakenings(book(one), book(reworded)) == ()


def test_strictness_when_the_book_loses_it_then_a_sentence_says_so() -> None:
    strict = compile_book([SAMPLE], production=True)
    assert weakenings(strict, compile_book([SAMPLE]))
    assert weakenings(compile_book([SAMPLE]), strict) == ()


def test_label_rules_when_a_site_goes_without_some_then_a_sentence_says_so() -> None:
    without = b"""version: "1"
without:
  - {sensitivity: HIV, because: "kept elsewhere"}
"""
    weaker = compile_book([SAMPLE], labels=parse_label_rules(without))
    packaged = compile_book([SAMPLE])
    assert weakenings(packaged, weaker)
    assert weakenings(weaker, packaged) == ()


PILOT = Stage(
    name="pilot", for_s=60.0, units=("a", "b"), share=0.5, gate=(("agreement", ">= 0.90"),)
)


@pytest.mark.parametrize(
    ("changes", "weaker"),
    [
        ({"for_s": 59.0}, True),
        ({"for_s": 61.0}, False),
        ({"share": 0.6}, True),
        ({"share": 0.4}, False),
        ({"gate": ()}, True),
        ({"gate": (("agreement", ">= 0.80"),)}, True),
        ({"gate": (*PILOT.gate, ("overdue", "< 1"))}, False),
        ({"units": ("a",)}, False),
        ({"units": ("a", "b", "c")}, True),
        ({"units": ("c",)}, True),
        ({"units": ()}, True),  # no unit named is all of them
    ],
    ids=str,
)
def test_stage_when_it_is_shorter_or_wider_or_asks_for_less_then_a_sentence_names_it(
    changes: dict[str, Any], weaker: bool
) -> None:
    before = replace(SAMPLE, rollout=(PILOT, Stage(name="full")))
    after = replace(SAMPLE, rollout=(replace(PILOT, **changes), Stage(name="full")))
    told = ("clinic-booking: rollout asks for less at pilot",) if weaker else ()
    assert found(before, after) == told


def test_stage_of_all_units_when_it_is_held_to_some_then_nothing_is_weakened() -> None:
    before = replace(SAMPLE, rollout=(replace(PILOT, units=()),))
    assert found(before, replace(SAMPLE, rollout=(PILOT,))) == ()
    assert found(before, before) == ()


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        (GuardRule(kind="none", query="Slot?status=busy"), "Slot?status=busy"),
        (GuardRule(kind="some", query="Slot?status=free"), "some Slot?status=free"),
        (GuardRule(kind="count", query="Slot?status=free"), "count Slot?status=free"),
        (GuardRule(kind="fresh", feed="adt", within_s=9.0), "fresh adt"),
        (GuardRule(kind="same", paths=("Slot.start", "Slot.end")), "same Slot.start, Slot.end"),
        (GuardRule(kind="state", paths=("Slot.status",), denied=("busy",)), "state Slot.status"),
    ],
    ids=str,
)
def test_guard_when_it_goes_then_the_sentence_says_what_was_guarded(
    guard: GuardRule, said: str
) -> None:
    told = found(with_action(guards=(*BOOK_RULE.guards, guard)), SAMPLE)
    assert told == (f"clinic-booking: proposes.book.guards has fewer: {said}",)


@pytest.mark.parametrize(
    ("field", "narrow_to_wide"),
    [
        ("text", ["cut", "structured-only", "keep"]),
        ("view", ["safe-harbor", "limited", "identified"]),
        ("handoff_as", ["console", "task"]),
    ],
)
def test_word_of_a_scale_when_it_is_wider_or_not_known_then_a_sentence_says_so(
    field: str, narrow_to_wide: list[str]
) -> None:
    """Law: of two words of a scale, only the step to the narrower one weakens nothing; a word that
    stands in no scale cannot be told to be harmless, whether it comes or goes."""
    change = with_action if field.startswith("handoff") else with_read
    words = [*narrow_to_wide, "unheard-of"]
    for before, after in product(words, words):
        told = found(change(**{field: before}), change(**{field: after}))
        known = "unheard-of" not in (before, after)
        if before == after or (known and words.index(after) < words.index(before)):
            assert told == ()
        else:
            assert len(told) == 1
            assert told[0].endswith(f"{field} is wider: {after} instead of {before}")


SCHEMA: Mapping[type, Mapping[str, Any]] = {
    Charter: weakening.CHARTER_FIELDS,
    ReadRule: weakening.READ_FIELDS,
    ActionRule: weakening.ACTION_FIELDS,
}


@pytest.mark.parametrize("record", list(SCHEMA))
def test_fields_when_compared_then_each_row_names_one_that_there_is(record: type) -> None:
    """A row of a field that was renamed would silently fall back to `other`."""
    assert set(SCHEMA[record]) <= {field.name for field in fields(record)}


def redrawn(random: Random, world: World) -> World:
    """One part of one charter drawn anew, or other forbids."""
    charters = dict(world.charters)
    name = random.choice(sorted(charters))
    part = random.choice(["sites", "clients", "reads", "proposes", "relationship", "rules"])
    rules = [rule for rule in world.rules if rule.cedar]
    if part == "rules":
        rules += [rule for rule in [draw_rule(random, "g1")] if rule]
        return compiled(charters, rules[random.randint(0, 1) :])
    drawn = draw_charter(random, name)
    if part == "relationship":
        reads = {t: replace(r, relationship=()) for t, r in charters[name].reads.items()}
        charters[name] = replace(charters[name], reads=reads, digest="other")
    else:
        changed: dict[str, Any] = {part: getattr(drawn, part)}
        charters[name] = replace(charters[name], digest=drawn.digest, **changed)
    return compiled(charters, rules, mfa_required=world.book.rulebook.mfa_required)


def test_decision_that_becomes_a_yes_always_comes_with_a_sentence() -> None:
    """Law: where nothing is said to be weaker, nothing is permitted that was not before."""
    random, silent, became = Random(4), 0, 0
    for _ in range(250):
        before = draw_world(random, forbids_max=3)
        after = redrawn(random, before)
        told = weakenings(before.book, after.book)
        silent += not told
        for _ in range(40):
            request = draw_request(random, before)
            yes = (
                not decide(before.book, request).permitted and decide(after.book, request).permitted
            )
            became += yes
            assert told or not yes, request
    assert silent > 20
    assert became > 30


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), index=st.integers(0, len(FORBID_TEXTS) - 1))
def test_forbid_that_is_added_never_weakens_and_taken_away_always_does(
    seed: int, index: int
) -> None:
    world = draw_world(Random(seed), forbids_max=0)
    charters = list(world.charters.values())
    strict = world.book.rulebook.mfa_required
    more = compile_book(charters, forbids=[FORBID_TEXTS[index]], mfa_required=strict)
    assert weakenings(world.book, more) == ()
    assert weakenings(more, world.book)


BOUNDED = replace(
    BOOK_RULE,
    review_each=True,
    fixed=(("Slot.status", "busy"),),
    never=("Slot.comment",),
    values=(ValueRule(path="Appointment.minutesDuration", most=60),),
    limits={"changes": 2},
)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"review_each": False}, "asks for one decision on all changes"),
        ({"fixed": ()}, "fixed has fewer: Slot.status"),
        ({"fixed": (("Slot.status", "free"),)}, "fixed has fewer: Slot.status"),
        ({"never": ()}, "never has fewer: Slot.comment"),
        (
            {"values": (ValueRule(path="Appointment.minutesDuration", most=90),)},
            "values has fewer: Appointment.minutesDuration",
        ),
        ({"links": ("https://x.example/",)}, "links has more: https://x.example/"),
        ({"through": {"north": "engine"}}, "through was changed"),
        ({"limits": {}}, "limits allows more: changes"),
        ({"limits": {"changes": 3}}, "limits allows more: changes"),
        ({"guards": BOUNDED.guards[1:]}, "guards has fewer: same Slot.status"),
        (
            {"writes": (replace(BOUNDED.writes[0], named=("supportingInformation",)),)},
            "writes more: create Appointment",
        ),
        (
            {"writes": (*BOUNDED.writes, WriteRule(interaction="cancel", resource_type="Slot"))},
            "writes more: cancel Slot",
        ),
        ({"on_conflict": "re-propose"}, None),
        ({"limits": {"changes": 1, "bytes": 9}}, None),
        ({"never": ("Slot.comment", "Slot.start")}, None),
        ({"guards": (*BOUNDED.guards, GuardRule(kind="fresh", feed="adt", within_s=9.0))}, None),
    ],
    ids=str,
)
def test_bounds_of_an_action_when_they_widen_then_a_sentence_says_so(
    change: dict[str, Any], sentence: str | None
) -> None:
    before = replace(SAMPLE, proposes={"book": BOUNDED})
    after = replace(SAMPLE, proposes={"book": replace(BOUNDED, **change)})
    told = found(before, after)
    if sentence is None:
        assert told == ()
    else:
        assert any(sentence in each for each in told), told
