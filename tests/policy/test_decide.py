"""Who may do what: the answers, their sentences, and the laws that hold for all of them."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartgate.model.charter import Charter
from chartgate.model.decision import Decision, Request, at_release
from chartgate.model.label import CONFIDENTIALITY, Labels
from chartgate.model.principal import Client, Person, Principal, Process
from chartgate.policy import decide as decide_module
from chartgate.policy.cedar import ADMINISTRATORS, CLIENT_ACTIONS, PERSON_ACTIONS
from chartgate.policy.charters import CharterBook, compile_book, parse_charter
from chartgate.policy.decide import DOING, decide
from chartgate.policy.forbids import ForbidFile

SAMPLES = Path(__file__).parents[2] / "src" / "chartgate" / "cli" / "samples"
PICKER = Client(id="slot-picker", charter="clinic-booking")
SOFIA = Person(id="sofia", roles=("scheduler",), sites=("north-clinic",))
OLU = Person(id="olu", roles=("operator",), sites=("north-clinic",))
DESK = Person(id="dee", roles=("front-desk",), sites=("north-clinic",))
AUTHOR = (("author", "client:slot-picker"),)


def sample_charters() -> list[Charter]:
    return [
        parse_charter(
            path.read_bytes(), file=path.name, read_model=lambda n: (SAMPLES / n).read_bytes()
        )
        for path in sorted((SAMPLES / "charters").glob("*.yaml"))
    ]


CHARTERS = sample_charters()
BOOK = compile_book(CHARTERS)


def asked(principal: Principal, action: str, *, book: CharterBook = BOOK, **about: Any) -> Decision:
    about = {"charter": "clinic-booking", "site": "north-clinic", **about}
    return decide(book, Request(principal=principal, action=action, **about))


@pytest.mark.parametrize(
    ("principal", "action", "about", "rule"),
    [
        (PICKER, "read", {"resource_type": "Slot"}, "clinic-booking/read/Slot"),
        (PICKER, "search", {"resource_type": "Slot"}, "clinic-booking/search/Slot"),
        (PICKER, "submit", {"proposes": "book"}, "clinic-booking/book/submit"),
        (PICKER, "withdraw", {"proposes": "book", "context": AUTHOR}, "clinic-booking/book/own"),
        (PICKER, "show", {"proposes": "book", "context": AUTHOR}, "clinic-booking/book/own"),
        (PICKER, "list", {}, "clinic-booking/list"),
        (SOFIA, "review", {"proposes": "book", "context": AUTHOR}, "clinic-booking/book/review"),
        (SOFIA, "edit", {"proposes": "book", "context": AUTHOR}, "clinic-booking/book/review"),
        (SOFIA, "rollback", {"proposes": "book", "context": AUTHOR}, "clinic-booking/book/review"),
        (SOFIA, "halt", {}, "clinic-booking/halt/scheduler"),
        (DESK, "take", {"proposes": "book"}, "clinic-booking/book/worklist"),
        (DESK, "close", {"proposes": "book"}, "clinic-booking/book/worklist"),
        (OLU, "promote", {}, "clinic-booking/operate"),
        (OLU, "halt", {"charter": "*", "site": ""}, "*/operate"),
        (OLU, "show", {"proposes": "book", "context": AUTHOR}, "clinic-booking/book/operate"),
        (Process(id="cli"), "halt", {"charter": "*", "site": ""}, "*/process"),
        (Process(id="cli"), "promote", {}, "clinic-booking/process"),
    ],
)
def test_request_when_the_charter_covers_it_then_it_is_permitted_by_a_named_rule(
    principal: Principal, action: str, about: dict[str, Any], rule: str
) -> None:
    decision = asked(principal, action, **about)
    assert decision.permitted
    assert decision.rule == rule


@pytest.mark.parametrize(
    ("principal", "action", "about", "sentence"),
    [
        (PICKER, "read", {"resource_type": "Observation"}, "does not list Observation"),
        (PICKER, "read", {"resource_type": None}, "does not list None"),
        (PICKER, "search", {"resource_type": "Patient"}, "no search parameter for Patient"),
        (PICKER, "read", {"resource_type": "Slot", "site": "south"}, "not cover the site south"),
        (PICKER, "read", {"resource_type": "Slot", "charter": "visit-note"}, "acts under charter"),
        (
            Client(id="stranger", charter="clinic-booking"),
            "read",
            {"resource_type": "Slot"},
            "does not name the client stranger",
        ),
        (
            Client(id="x", charter="nothing"),
            "read",
            {"resource_type": "Slot", "charter": "nothing"},
            "there is no charter nothing",
        ),
        (PICKER, "submit", {"proposes": "bok"}, "no proposal named bok"),
        (PICKER, "submit", {}, "no proposal named None"),
        (PICKER, "show", {"proposes": "book"}, "only its own proposals"),
        (
            PICKER,
            "withdraw",
            {"proposes": "book", "context": (("author", "client:scribe"),)},
            "only its own proposals",
        ),
        (SOFIA, "read", {"resource_type": "Slot"}, "not for person accounts"),
        (SOFIA, "promote", {}, "does not let person:sofia"),
        (SOFIA, "halt", {"charter": "*"}, "only an operator may do this for every charter"),
        (
            SOFIA,
            "review",
            {"proposes": "file-note", "charter": "visit-note", "context": AUTHOR},
            "for a clinician",
        ),
        (DESK, "review", {"proposes": "book", "context": AUTHOR}, "is for a scheduler"),
        (OLU, "review", {"proposes": "book", "context": AUTHOR}, "is for a scheduler"),
        (OLU, "take", {"proposes": "book"}, "for a scheduler or front-desk of that site"),
        (Process(id="worker"), "review", {"proposes": "book"}, "not for process accounts"),
        (OLU, "zap", {}, "there is no action zap"),
    ],
)
def test_request_when_nothing_permits_it_then_the_sentence_says_why(
    principal: Principal, action: str, about: dict[str, Any], sentence: str
) -> None:
    decision = asked(principal, action, **about)
    assert not decision.permitted
    assert decision.rule is None
    assert sentence in decision.sentence


@pytest.mark.parametrize("action", sorted(set(DOING) - CLIENT_ACTIONS))
def test_client_when_it_asks_for_a_persons_power_then_it_is_refused_by_its_kind(
    action: str,
) -> None:
    decision = asked(PICKER, action, proposes="book", context=AUTHOR)
    assert not decision.permitted
    assert "an AI client never decides" in decision.sentence


def test_review_when_the_person_is_at_another_site_then_it_is_refused() -> None:
    elsewhere = replace(SOFIA, sites=("south-clinic",))
    assert not asked(elsewhere, "review", proposes="book", context=AUTHOR).permitted


@pytest.mark.parametrize("author", ["client:sofia", "person:sofia"])
@pytest.mark.parametrize("action", ["review", "edit", "rollback"])
def test_decision_when_it_is_on_ones_own_proposal_then_it_is_forbidden(
    author: str, action: str
) -> None:
    decision = asked(SOFIA, action, proposes="book", context=(("author", author),))
    assert not decision.permitted
    assert decision.rule == "chartgate/own-proposal"
    assert decision.sentence == "nobody decides on a proposal of their own"


def test_site_forbid_when_it_matches_then_it_outweighs_the_charter() -> None:
    forbid = """@id("site/no-patients") @sentence("this clinic keeps patients out of it")
    forbid (principal, action == Action::"read", resource == ResourceType::"Patient")
    when { context.site == Site::"north-clinic" };"""
    book = compile_book(CHARTERS, forbids=[forbid])
    decision = asked(PICKER, "read", resource_type="Patient", book=book)
    assert (decision.permitted, decision.rule) == (False, "site/no-patients")
    assert decision.sentence == "this clinic keeps patients out of it"
    assert asked(PICKER, "read", resource_type="Slot", book=book).permitted


def test_policy_when_it_cannot_be_evaluated_then_the_answer_is_no() -> None:
    """A forbid that fails to evaluate is skipped by Cedar, which would permit; we do not."""
    forbid = """@id("site/purpose") forbid (principal, action, resource)
    when { context.purpose like "*" && context.stage == "shadow" };"""
    schema_free = compile_book(CHARTERS)
    broken = cedarpy.PolicySet.from_str('@id("p") permit (principal, action, resource);' + forbid)
    rulebook = replace(
        schema_free.rulebook,
        permits={("read", "clinic-booking", "Slot"): broken},
        answers={},
        digest="x",
    )
    book = replace(schema_free, rulebook=rulebook)
    decision = asked(PICKER, "read", resource_type="Slot", book=book)
    assert not decision.permitted
    assert "could not be evaluated" in decision.sentence


PSYCHIATRY = """@id("site/psy") @sentence("notes of psychotherapy stay where they are")
forbid (principal, action in [Action::"read", Action::"search"], resource)
when { context has sensitivities && context.sensitivities.contains("PSY") };"""


def test_forbid_on_labels_when_asked_before_the_resource_is_at_hand_then_it_waits() -> None:
    book = compile_book(CHARTERS, forbids=[PSYCHIATRY])
    early = Request(
        principal=PICKER,
        action="read",
        charter="clinic-booking",
        site="north-clinic",
        resource_type="Patient",
        preliminary=True,
    )
    none: frozenset[str] = frozenset()
    assert decide(book, early).permitted
    assert decide(book, at_release(early, Labels(), none)).permitted
    hidden = decide(book, at_release(early, Labels(sensitivities=frozenset({"PSY"})), none))
    assert (hidden.permitted, hidden.rule) == (False, "site/psy")
    unread = decide(book, at_release(early, Labels(unknown=True), none))
    assert (unread.permitted, unread.rule) == (False, "site/psy?")
    assert "what nobody knows means no" in unread.sentence
    assert not decide(book, replace(early, preliminary=False)).permitted


def test_forbid_of_a_site_when_another_site_is_asked_about_then_it_does_not_exist() -> None:
    """Whatever a site's file says, it can touch no other site."""
    everything = '@id("south/all") @sentence("closed") forbid (principal, action, resource);'
    charter = replace(CHARTERS[0], sites={"north-clinic": "north-ehr", "south": "south-ehr"})
    book = compile_book([charter], forbids=[ForbidFile(text=everything, site="south")])
    assert asked(PICKER, "read", resource_type="Slot", book=book).permitted
    assert asked(SOFIA, "halt", site="", book=book).permitted
    closed = asked(PICKER, "read", resource_type="Slot", site="south", book=book)
    assert (closed.permitted, closed.rule) == (False, "south/all")


def test_forbid_that_closes_everything_when_it_names_no_action_then_halting_is_left() -> None:
    """Nor does it keep anyone from taking it away again."""
    closed = '@id("closed") @sentence("closed") forbid (principal, action, resource);'
    book = compile_book(CHARTERS, forbids=[closed])
    everything: dict[str, Any] = {"charter": "*", "site": "", "book": book}
    assert not asked(PICKER, "read", resource_type="Slot", book=book).permitted
    assert not asked(OLU, "resume", **everything).permitted
    assert asked(OLU, "halt", **everything).permitted
    ada = Person(id="ada", roles=("administrator",), sites=())
    assert asked(ada, "administer", **everything).permitted
    named = closed.replace("action,", 'action == Action::"halt",')
    everything["book"] = compile_book(CHARTERS, forbids=[named])
    assert not asked(OLU, "halt", **everything).permitted


def test_relationship_when_the_charter_asks_for_one_then_only_a_known_one_permits() -> None:
    rule = replace(CHARTERS[0].reads["Patient"], relationship=("care-team", "encounter"))
    charter = replace(CHARTERS[0], reads={"Patient": rule})
    book = compile_book([charter])

    def permitted(**about: Any) -> bool:
        return asked(PICKER, "read", resource_type="Patient", book=book, **about).permitted

    assert permitted(preliminary=True)
    assert permitted(relationship=frozenset({"encounter"}))
    assert not permitted(relationship=frozenset({"appointment"}))
    assert not permitted(relationship=frozenset())
    assert not permitted()
    refused = asked(PICKER, "read", resource_type="Patient", book=book)
    assert "known by care-team or encounter" in refused.sentence


def test_relationship_when_a_review_asks_for_one_then_only_a_known_one_permits() -> None:
    rule = replace(CHARTERS[0].proposes["book"], review_relationship=("care-team",))
    book = compile_book([replace(CHARTERS[0], proposes={"book": rule})])
    about: dict[str, Any] = {"proposes": "book", "context": AUTHOR, "book": book}
    assert asked(SOFIA, "review", relationship=frozenset({"care-team"}), **about).permitted
    assert asked(SOFIA, "show", **about).rule == "clinic-booking/book/see"
    refused = asked(SOFIA, "review", **about)
    assert not refused.permitted
    assert "known by care-team" in refused.sentence


def test_administer_when_asked_then_only_two_roles_of_people_may() -> None:
    about: dict[str, Any] = {"charter": "*", "site": ""}
    for role in ADMINISTRATORS:
        person = Person(id="ada", roles=(role,), sites=("north-clinic",))
        assert asked(person, "administer", **about).rule == f"*/administer/{role}"
        assert not asked(person, "administer").permitted
    for other in (OLU, SOFIA, PICKER, Process(id="cli")):
        assert not asked(other, "administer", **about).permitted


def test_unknown_author_when_somebody_reviews_then_it_may_be_their_own() -> None:
    decision = asked(SOFIA, "review", proposes="book")
    assert (decision.permitted, decision.rule) == (False, "chartgate/own-proposal?")


def test_decision_id_when_the_question_is_the_same_then_it_is_the_same() -> None:
    again = compile_book(sample_charters())
    one = asked(PICKER, "read", resource_type="Slot")
    assert asked(PICKER, "read", resource_type="Slot", book=again).id == one.id
    assert asked(PICKER, "search", resource_type="Slot").id != one.id
    other = compile_book(CHARTERS[:1])
    assert asked(PICKER, "read", resource_type="Slot", book=other).id != one.id


principals = st.one_of(
    st.builds(
        Client,
        id=st.sampled_from(["slot-picker", "scribe", "auth-clerk", "stranger", '"x"']),
        charter=st.sampled_from(["clinic-booking", "visit-note", "nothing"]),
    ),
    st.builds(
        Person,
        id=st.sampled_from(["sofia", "olu", "slot-picker"]),
        roles=st.lists(
            st.sampled_from(["scheduler", "clinician", "operator", "front-desk", "administrator"]),
            max_size=2,
        ).map(tuple),
        sites=st.lists(st.sampled_from(["north-clinic", "south"]), max_size=2).map(tuple),
    ),
    st.builds(Process, id=st.just("worker")),
)
requests = st.builds(
    Request,
    principal=principals,
    action=st.sampled_from([*DOING, "zap"]),
    charter=st.sampled_from(["clinic-booking", "visit-note", "nothing", "*"]),
    site=st.sampled_from(["north-clinic", "south", ""]),
    resource_type=st.sampled_from([None, "Slot", "Patient", "Observation"]),
    proposes=st.sampled_from([None, "book", "file-note", "bok"]),
    stage=st.sampled_from([None, "shadow", "full"]),
    relationship=st.sampled_from([None, frozenset(), frozenset({"care-team"})]),
    sensitivities=st.sampled_from(
        [None, frozenset(), frozenset({"PSY"}), frozenset({"ETH", "PSY"})]
    ),
    confidentiality=st.sampled_from([None, *CONFIDENTIALITY]),
    preliminary=st.booleans(),
    context=st.sampled_from([(), AUTHOR, (("author", "person:sofia"),)]),
)
FORBIDS = (
    "forbid (principal, action, resource);",
    'forbid (principal, action == Action::"read", resource == ResourceType::"Slot");',
    'forbid (principal is Person, action, resource) when { context.site == Site::"south" };',
    'forbid (principal in Role::"scheduler", action, resource);',
    'forbid (principal, action, resource) when { context has stage && context.stage == "full" };',
    """forbid (principal, action == Action::"read", resource)
    when { context has sensitivities && context.sensitivities.contains("PSY") };""",
    """forbid (principal, action in [Action::"read", Action::"search"], resource)
    when { context has confidentiality && ["R", "V"].contains(context.confidentiality) };""",
    """forbid (principal, action == Action::"read", resource)
    unless { context has relationship && context.relationship.contains("care-team") };""",
    """forbid (principal, action == Action::"read", resource)
    unless { context has sensitivities && ["ETH"].containsAll(context.sensitivities) };""",
)
FORBID_TEXTS = [f'@id("site/x") @sentence("no") {text}' for text in FORBIDS]
FORBIDDING = [compile_book(CHARTERS, forbids=[text]) for text in FORBID_TEXTS]


@settings(max_examples=300, deadline=None)
@given(request=requests, index=st.integers(0, len(FORBIDS) - 1))
def test_adding_a_forbid_never_permits(request: Request, index: int) -> None:
    before, after = decide(BOOK, request), decide(FORBIDDING[index], request)
    assert before.permitted or not after.permitted


def unknown_about(request: Request, names: set[str]) -> Request:
    """The same question, of which these things are not known."""
    if "author" in names:
        request = replace(request, context=())
    gone: dict[str, Any] = dict.fromkeys(names - {"author"})
    return replace(request, **gone)


MAYBE_UNKNOWN = ["stage", "relationship", "sensitivities", "confidentiality", "author"]


@settings(max_examples=500, deadline=None)
@given(
    request=requests,
    index=st.integers(0, len(FORBIDS) - 1),
    names=st.sets(st.sampled_from(MAYBE_UNKNOWN)),
)
def test_what_nobody_knows_never_permits(request: Request, index: int, names: set[str]) -> None:
    whole = decide(FORBIDDING[index], request)
    assert whole.permitted or not decide(FORBIDDING[index], unknown_about(request, names)).permitted


@settings(max_examples=500, deadline=None)
@given(
    request=requests,
    index=st.integers(0, len(FORBIDS) - 1),
    more=st.frozensets(st.sampled_from(["PSY", "ETH", "HIV"])),
    steps=st.integers(0, 5),
)
def test_labels_only_restrict(
    request: Request, index: int, more: frozenset[str], steps: int
) -> None:
    if request.sensitivities is None or request.confidentiality is None:
        return
    level = min(CONFIDENTIALITY.index(request.confidentiality) + steps, len(CONFIDENTIALITY) - 1)
    restricted = replace(
        request,
        sensitivities=request.sensitivities | more,
        confidentiality=CONFIDENTIALITY[level],
    )
    book = FORBIDDING[index]
    assert decide(book, request).permitted or not decide(book, restricted).permitted


@settings(max_examples=300, deadline=None)
@given(request=requests, index=st.integers(0, len(FORBIDS) - 1))
def test_what_is_released_was_permitted_before(request: Request, index: int) -> None:
    book = FORBIDDING[index]
    before = decide(book, replace(request, preliminary=True))
    assert before.permitted or not decide(book, replace(request, preliminary=False)).permitted


@settings(max_examples=100, deadline=None)
@given(request=requests, index=st.integers(0, len(FORBIDS) - 1))
def test_same_question_has_the_same_id_and_another_has_another(
    request: Request, index: int
) -> None:
    book = FORBIDDING[index]
    again = compile_book(CHARTERS, forbids=[FORBID_TEXTS[index]])
    assert decide(book, request).id == decide(again, request).id
    assert decide(book, replace(request, site="elsewhere")).id != decide(book, request).id


@settings(max_examples=300, deadline=None)
@given(request=requests)
def test_what_is_unknown_is_never_permitted(request: Request) -> None:
    decision = decide(BOOK, request)
    if not decision.permitted:
        return
    assert decision.rule is not None
    assert request.charter in (*BOOK.charters, "*")
    assert request.action in DOING
    if isinstance(request.principal, Client):
        charter = BOOK.get(request.charter)
        assert request.action in CLIENT_ACTIONS
        assert request.principal.charter == charter.name
        assert request.principal.id in charter.clients
        if request.action in ("read", "search"):
            assert request.resource_type in charter.reads
            assert request.site in charter.sites
    elif isinstance(request.principal, Person):
        assert request.action in PERSON_ACTIONS


@settings(max_examples=100, deadline=None)
@given(request=requests)
def test_empty_book_permits_no_client_and_no_review(request: Request) -> None:
    decision = decide(compile_book([]), request)
    if decision.permitted:
        assert request.action in ("halt", "resume", "promote", "list", "administer")
        assert request.charter == "*"


def test_answers_when_there_are_very_many_then_memory_stays_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decide_module, "ANSWERS_MAX", 10)
    book = compile_book(CHARTERS)
    for number in range(50):
        asked(PICKER, "read", resource_type=f"Type{number}", book=book)
    assert len(book.rulebook.answers) == 10


def test_cached_decisions_when_timed_then_they_cost_next_to_nothing() -> None:
    """The floor is 10,000 a second; a hundredth of what is measured, so that it never wavers."""
    request = Request(
        principal=PICKER,
        action="read",
        charter="clinic-booking",
        site="north-clinic",
        resource_type="Slot",
    )
    decide(BOOK, request)
    started = time.perf_counter()
    for _ in range(10_000):
        decide(BOOK, request)
    assert time.perf_counter() - started < 1.0


DECIDING = ("review", "edit", "hand-back", "rollback")
RUNNING = ("halt", "resume", "promote")


def test_person_when_a_second_factor_is_required_and_missing_then_nothing_is_decided() -> None:
    book = compile_book(CHARTERS, mfa_required=True)
    say = "this needs a sign-in with a second factor: sign in again with one, and come back"
    for person, actions in ((SOFIA, DECIDING), (OLU, RUNNING)):
        for action in actions:
            request = Request(
                principal=person,
                action=action,
                charter="clinic-booking",
                site="north-clinic" if action in DECIDING else "",
                proposes="book" if action in DECIDING else None,
                context=(("author", "client:slot-picker"),) if action in DECIDING else (),
            )
            decision = decide(book, request)
            assert (decision.permitted, decision.sentence) == (False, say), action
            assert decision.rule == "chartgate/second-factor"
            assert decide(BOOK, request).permitted, action
            again = replace(request, principal=replace(person, mfa=True))
            assert decide(book, again).permitted, action
            assert decide(book, again).id != decision.id


def test_sealed_account_whatever_its_roles_then_no_charter_lets_it_do_anything() -> None:
    sealed = replace(SOFIA, roles=("scheduler", "operator", "break-glass"), sealed=True, mfa=True)
    for action in (*DECIDING, *RUNNING, "show", "list", "take", "close"):
        request = Request(
            principal=sealed,
            action=action,
            charter="clinic-booking",
            site="north-clinic",
            proposes="book",
        )
        decision = decide(BOOK, request)
        assert (decision.permitted, decision.rule) == (False, None), action
        assert decision.sentence == "a sealed account is for break-glass and for nothing else"
