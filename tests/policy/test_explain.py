"""Why an answer is as it is: each single change that turns it round is named, and no other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from chartgate.model.decision import Request
from chartgate.model.principal import Client, Principal, Process
from chartgate.policy.charters import CharterBook, compile_book
from chartgate.policy.explain import Explanation, explain
from chartgate.policy.forbids import ForbidFile
from tests.policy.test_decide import AUTHOR, BOOK, CHARTERS, DESK, OLU, PICKER, PSYCHIATRY, SOFIA

BOOKING = next(c for c in CHARTERS if c.name == "clinic-booking")
NONE: frozenset[str] = frozenset()
CLOSED = '@id("closed") @sentence("we are closed") forbid (principal, action, resource);'
SLOT: dict[str, Any] = {"resource_type": "Slot"}
PATIENT: dict[str, Any] = {"resource_type": "Patient"}
BOOK_IT: dict[str, Any] = {"proposes": "book", "context": AUTHOR}


def told(
    principal: Principal, action: str, *, book: CharterBook = BOOK, **about: Any
) -> Explanation:
    about = {"charter": "clinic-booking", "site": "north-clinic", **about}
    return explain(book, Request(principal=principal, action=action, **about))


def forbidding(*texts: str | ForbidFile, **strict: Any) -> CharterBook:
    return compile_book(CHARTERS, forbids=texts, **strict)


def on_patients(*relationship: str) -> CharterBook:
    rule = replace(BOOKING.reads["Patient"], relationship=relationship)
    return compile_book([replace(BOOKING, reads={"Patient": rule})])


@pytest.mark.parametrize(
    ("who", "action", "about", "turned_by"),
    [
        (PICKER, "read", SLOT, []),
        (PICKER, "list", {}, []),
        (PICKER, "read", {**SLOT, "site": "south"},
         ["at the site north-clinic", "if the charter covered south"]),
        (PICKER, "read", {"resource_type": "Observation"}, ["if the charter listed Observation"]),
        (PICKER, "search", {"resource_type": "Observation"}, ["if the charter listed Observation"]),
        (PICKER, "search", PATIENT, ["if the charter listed a search parameter of Patient"]),
        (replace(PICKER, id="stranger"), "read", SLOT,
         ["for the client slot-picker", "if the charter named stranger"]),
        (Client(id="x", charter="nothing"), "read", {**SLOT, "charter": "nothing"}, []),
        (replace(PICKER, charter="nothing"), "read", {**SLOT, "charter": "nothing"},
         ["under the charter clinic-booking"]),
        (PICKER, "submit", {"proposes": "bok"}, []),
        (SOFIA, "review", {"proposes": "book"}, ["if it was known that another is its author"]),
        (SOFIA, "review", BOOK_IT,
         ["under the charter prior-authorisation", "under the charter visit-note"]),
        (DESK, "review", BOOK_IT, ["with the role scheduler"]),
        (SOFIA, "promote", {}, ["with the role operator"]),
        (SOFIA, "administer", {"charter": "*", "site": ""},
         ["with the role administrator", "with the role privacy-officer"]),
        (replace(SOFIA, sites=()), "review", BOOK_IT, ["for a person of north-clinic"]),
        (Process(id="worker"), "review", BOOK_IT, []),
    ],
)  # fmt: skip
def test_changes_that_turn_an_answer_round_are_named(
    who: Principal, action: str, about: dict[str, Any], turned_by: list[str]
) -> None:
    assert list(told(who, action, **about).turned_by) == turned_by


ONLY_SO = """@id("only-so") @sentence("only so") forbid (principal, action, resource) unless {
  context.site == Site::"north" && context.charter == "clinic-booking" && context.break_glass
  && principal == Client::"one" && context has stage && context.stage == "pilot"
  && context has relationship && context.relationship.contains("care-team")
  && !context.relationship.contains("encounter") };"""


def test_everything_about_a_question_is_tried() -> None:
    """Permitted in one case alone, so that whatever is changed of it turns the answer round."""
    both: dict[str, Any] = {"sites": {"north": "e", "south": "e"}, "clients": ("one", "two")}
    charters = [replace(BOOKING, name=name, **both) for name in ("clinic-booking", "other")]
    charters.append(replace(BOOKING, name="of-two", sites={"west": "e"}, clients=("two",)))
    answer = told(
        Client(id="one", charter="clinic-booking"),
        "read",
        site="north",
        stage="pilot",
        relationship=frozenset({"care-team"}),
        break_glass=True,
        book=compile_book(charters, forbids=[ONLY_SO]),
        **SLOT,
    )
    assert answer.rules == ("clinic-booking/read/Slot",)
    assert answer.turned_by == (
        "at the site south",
        "at the site west",
        "under the charter other",
        "for the client two",
        "at the stage shadow",
        "at the stage suggest",
        "at the stage canary",
        "at the stage full",
        "with the relationship encounter",
        "without break-glass",
    )


@pytest.mark.parametrize(
    ("when", "turned_by"),
    [
        ("principal.mfa", ("with a second factor",)),
        *((f'principal in Role::"{role}"', (f"with the role {role}",))
          for role in ("administrator", "front-desk", "operator", "privacy-officer", "clinician")),
        ('context has author && context.author == "client:third"',
         ("if it was known that another is its author", "without the policy x")),
        ('context has relationship && context.relationship.contains("appointment")',
         ("with the relationship appointment",)),
        ('context has stage && context.stage == "canary"', ("at the stage canary",)),
        ("context.mfa_required", ()),
    ],
)  # fmt: skip
def test_everything_about_a_person_is_tried(when: str, turned_by: tuple[str, ...]) -> None:
    text = (
        f'@id("x") @sentence("x") forbid (principal is Person, action, resource) when {{ {when} }};'
    )
    answer = told(
        SOFIA, "hand-back", proposes="book", relationship=NONE, stage="full", book=forbidding(text)
    )
    assert tuple(w for w in answer.turned_by if not w.startswith("under the")) == turned_by


def test_facts_that_do_not_apply_are_not_tried() -> None:
    """A label says nothing on work, an author nothing on reading, nor what is known already."""
    labelled = told(PICKER, "read", book=forbidding(PSYCHIATRY), relationship=NONE, **PATIENT)
    assert "if the resource had no restricting label" in labelled.turned_by
    early = told(PICKER, "read", book=forbidding(PSYCHIATRY), preliminary=True, **PATIENT)
    assert early.turned_by == ()
    own = told(SOFIA, "review", proposes="book", context=(("author", "person:sofia"),))
    assert (own.rules, own.turned_by) == (("chartgate/own-proposal",), ())


def test_label_that_forbids_is_named_with_the_policy() -> None:
    about: dict[str, Any] = {
        "sensitivities": frozenset({"PSY"}), "relationship": NONE, "confidentiality": "R",
    }  # fmt: skip
    by_label = "if the resource had no restricting label"
    one = told(PICKER, "read", book=forbidding(PSYCHIATRY), **PATIENT, **about)
    assert one.rules == ("site/psy",)
    assert one.turned_by == (by_label, "without the policy site/psy")
    unknown = told(PICKER, "read", book=forbidding(PSYCHIATRY), **PATIENT)
    assert unknown.rules == ("site/psy?",)
    assert unknown.turned_by == (by_label, "without the policy site/psy")
    twice = forbidding(PSYCHIATRY, PSYCHIATRY.replace("site/psy", "site/two"))
    two = told(PICKER, "read", book=twice, **PATIENT, **about)
    assert two.rules == ("site/psy", "site/two")
    assert two.turned_by == (by_label,)
    very = """@id("v") @sentence("v") forbid (principal, action == Action::"read", resource)
    when { context has confidentiality && ["R", "V"].contains(context.confidentiality) };"""
    assert by_label in told(PICKER, "read", book=forbidding(very), **PATIENT, **about).turned_by
    usual = forbidding(very.replace('["R"', '["N", "R"'))  # the label of most of a chart, too
    assert by_label not in told(PICKER, "read", book=usual, **PATIENT, **about).turned_by


WITHOUT = ("without the policy closed",)
PRODUCTION = """@id("p") @sentence("p") forbid (principal, action, resource)
when { context.production };"""
ELSEWHERE = ForbidFile(text=CLOSED.replace("closed", "s"), site="south")
HERE = ForbidFile(text=CLOSED.replace("closed", "s"), site="north-clinic")


@pytest.mark.parametrize(
    ("more", "strict", "turned_by"),
    [
        ((), {}, WITHOUT),
        ((ELSEWHERE,), {}, WITHOUT),
        ((HERE,), {}, ()),  # without one of two the other still forbids
        ((PRODUCTION,), {"production": False}, WITHOUT),
        ((PRODUCTION,), {"production": True}, ()),
        ((), {"mfa_required": True}, ()),
    ],
)
def test_one_policy_is_taken_away_and_all_else_stays(
    more: Sequence[str | ForbidFile], strict: dict[str, bool], turned_by: tuple[str, ...]
) -> None:
    book = forbidding(CLOSED, *more, **strict)
    who = replace(SOFIA, mfa="mfa_required" not in strict)
    answer = told(who, "review", book=book, **BOOK_IT)
    assert "closed" in answer.rules
    assert tuple(words for words in answer.turned_by if words.startswith("without")) == turned_by


def test_rule_of_ours_cannot_be_taken_away() -> None:
    answer = told(SOFIA, "review", book=forbidding(mfa_required=True), **BOOK_IT)
    assert answer.rules == ("chartgate/second-factor",)
    assert answer.turned_by == ("with a second factor",)


def test_charter_is_changed_and_forbids_stay() -> None:
    text = """@id("no") @sentence("no") forbid (principal, action == Action::"read",
    resource == ResourceType::"Observation");"""
    answer = told(PICKER, "read", book=forbidding(text), resource_type="Observation")
    assert answer.turned_by == ()


def test_relationship_that_the_charter_asks_for_is_named() -> None:
    other = frozenset({"appointment"})
    refused = told(
        PICKER, "read", book=on_patients("care-team", "encounter"), relationship=other, **PATIENT
    )
    free = "if the charter asked for no relationship in reading Patient"
    assert refused.turned_by == (
        "with the relationship care-team",
        "with the relationship encounter",
        free,
    )
    held = told(PICKER, "read", book=on_patients("appointment"), relationship=other, **PATIENT)
    assert (held.decision.permitted, held.turned_by) == (True, ())
    # A search is refused for a reason of its own: no one change is enough.
    assert told(PICKER, "search", book=on_patients("care-team"), **PATIENT).turned_by == ()


def test_explanation_is_one_sentence() -> None:
    slot = told(PICKER, "read", **SLOT)
    assert slot.sentence == (
        f"permitted (rule clinic-booking/read/Slot): {slot.decision.sentence}; no single change of "
        "it would make it refused"
    )
    desk = told(DESK, "review", **BOOK_IT)
    assert desk.sentence == (
        f"refused: {desk.decision.sentence}; it would be permitted with the role scheduler"
    )
    assert told(OLU, "zap").sentence == (
        "refused: there is no action zap; no single change of it would make it permitted"
    )
    new = told(replace(PICKER, id="new"), "read", **SLOT)
    assert new.sentence == (
        f"refused: {new.decision.sentence}; it would be permitted for the client slot-picker, or if "
        "the charter named new"
    )
    sofia = told(SOFIA, "halt")
    assert sofia.sentence == (
        f"permitted (rule clinic-booking/halt/scheduler): {sofia.decision.sentence}; it would be "
        "refused under the charter prior-authorisation, or under the charter visit-note"
    )


def test_all_rules_that_forbid_are_named_in_the_sentence() -> None:
    book = forbidding(CLOSED, CLOSED.replace("closed", "shut"))
    assert told(PICKER, "read", book=book, **SLOT).sentence == (
        "refused (rule closed, shut): we are closed; no single change of it would make it permitted"
    )
