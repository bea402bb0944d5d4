"""Attacks on the way to a write: around the review, into it, behind it, and back."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from chartgate.config import ReviewConfig
from chartgate.errors import ChartgateError
from chartgate.flows import deadlines, halts, people
from chartgate.flows.commits import commit_next, verify_next
from chartgate.flows.proposals import submit
from chartgate.model.proposal import Proposal, Status
from chartgate.web.app import ROUTES
from tests.attacks.contract import counts, nothing_happened, refused
from tests.flows.clinics import OPERATOR, PICKER
from tests.web.front_desk import PASSWORD, Answer, FrontDesk, Session

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def slots(desk: FrontDesk) -> Any:
    """Free slots, each for one attack."""
    return iter(desk.clinic.hospital.scenario.free_slots)


@pytest.fixture(scope="module")
async def sofia(desk: FrontDesk) -> Session:
    return await desk.sign_in("sofia")


@pytest.fixture
async def proposal(desk: FrontDesk, slots: Any) -> Proposal:
    """A booking that waits for its review."""
    return await desk.clinic.booked(next(slots))


def review(
    desk: FrontDesk,
    session: Session,
    proposal: Proposal,
    *,
    digest: str = "",
    verdict: str = "approve",
    headers: dict[str, str] | None = None,
) -> Callable[[], Awaitable[Answer]]:
    body = {"verdict": verdict, "digest": digest or proposal.content.digest, "reason": "no"}
    path = f"/v1/proposals/{proposal.id}/review"
    sent = session.changing if headers is None else headers
    return lambda: desk.ask("POST", path, headers=sent, json=body)


async def work(desk: FrontDesk) -> None:
    """What workers would do for the writes that wait."""
    for step in (commit_next, verify_next):
        while await step(desk.gate, "w1"):
            pass


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path", ["", "/Appointment", "/Slot/1", "/Patient/canary", "/Slot?status=free", "/$process"]
)
async def test_W_01_agent_writes_directly(
    desk: FrontDesk, bearer: dict[str, str], method: str, path: str
) -> None:
    body = {"resourceType": "Slot", "id": "1", "status": "busy"}
    way = lambda: desk.ask(method, f"/fhir/north-clinic{path}", headers=bearer, json=body)
    await refused(desk, way, status=(403, 404, 405))


async def test_W_02_approved_twice(desk: FrontDesk, sofia: Session, proposal: Proposal) -> None:
    assert (await review(desk, sofia, proposal)()).status == 200
    await refused(desk, review(desk, sofia, proposal), status=409)
    await work(desk)
    assert desk.clinic.effects(proposal) == 1


async def test_W_02_two_hundred_decisions_at_once(
    desk: FrontDesk, sofia: Session, proposal: Proposal
) -> None:
    """Approvals and refusals race; one wins, the rest are told, and there is one effect at most."""
    verdicts = ["approve", "refuse"] * 100
    ways = [review(desk, sofia, proposal, verdict=v) for v in verdicts]
    answers = await asyncio.gather(*(way() for way in ways))
    assert sorted(a.status for a in answers) == [200] + [409] * 199
    await work(desk)
    winner = next(v for v, a in zip(verdicts, answers, strict=True) if a.status == 200)
    assert desk.clinic.effects(proposal) == (1 if winner == "approve" else 0)


async def test_W_03_approval_of_what_was_withdrawn(
    desk: FrontDesk, sofia: Session, bearer: dict[str, str], proposal: Proposal
) -> None:
    await desk.ask("POST", f"/v1/proposals/{proposal.id}/withdraw", headers=bearer)
    await refused(desk, review(desk, sofia, proposal), status=409)
    way = lambda: desk.ask("POST", f"/v1/proposals/{proposal.id}/withdraw", headers=bearer)
    await refused(desk, way, status=409)


async def test_W_03_approval_of_another_version(
    desk: FrontDesk, sofia: Session, proposal: Proposal
) -> None:
    for digest in ("0" * 64, proposal.content.digest.upper(), proposal.content.digest[:-1]):
        await refused(desk, review(desk, sofia, proposal, digest=digest), status=409)


async def test_W_03_approval_after_the_deadline(
    desk: FrontDesk, sofia: Session, proposal: Proposal
) -> None:
    late = desk.clinic.clock() + timedelta(minutes=1)
    async with desk.gate.database.bookkeeping() as connection:
        await connection.execute(
            "UPDATE proposal SET due_at = $2 WHERE tenant = 'main' AND id = $1",
            proposal.id,
            desk.clinic.clock() - timedelta(seconds=1),
        )
    assert late > desk.clinic.clock()
    await refused(desk, review(desk, sofia, proposal), status=409)
    while await deadlines.expire_next(desk.gate, "w1"):
        pass
    await refused(desk, review(desk, sofia, proposal), status=409)
    await work(desk)
    assert desk.clinic.effects(proposal) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"X-CSRF-Token": "x" * 43},
        {"X-CSRF-Token": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Cookie": "chartgate_session=" + "A" * 43},
        {"Cookie": ""},
    ],
    ids=str,
)
async def test_W_04_stolen_or_forged_approval(
    desk: FrontDesk, sofia: Session, proposal: Proposal, change: dict[str, str]
) -> None:
    headers = sofia.changing | change
    way = review(desk, sofia, proposal, headers=headers)
    await refused(desk, way, status=(401, 403))
    assert (await desk.clinic.get(proposal)).status is Status.PENDING_REVIEW


async def test_W_04_replayed_after_signing_out(desk: FrontDesk, proposal: Proposal) -> None:
    """The whole request, with its cookie and its secret, sent again after the session ended."""
    session = await desk.sign_in("sofia")
    await desk.ask("DELETE", "/v1/session", headers=session.changing)
    await refused(desk, review(desk, session, proposal), status=401)


async def test_W_04_form_of_another_site(
    desk: FrontDesk, sofia: Session, proposal: Proposal
) -> None:
    """What a hidden form on another page would send; SameSite would keep the cookie back too."""
    form = {"verdict": "approve", "digest": proposal.content.digest}
    path = f"/proposals/{proposal.id}/review"
    for extra in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        way = lambda e=extra: desk.ask("POST", path, headers=sofia.headers | e, form=form)
        await refused(desk, way, status=403)


async def test_W_04_pages_are_in_no_frame_and_cookies_stay_on_our_site(
    desk: FrontDesk, sofia: Session, proposal: Proposal
) -> None:
    for path in ("/", "/login", f"/proposals/{proposal.id}", "/worklist"):
        answer = await desk.ask("GET", path, headers=sofia.headers)
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert "default-src 'none'" in policy
    body = {"name": "sofia", "password": PASSWORD}
    cookie = (await desk.ask("POST", "/v1/session", json=body)).headers["Set-Cookie"].lower()
    assert "samesite=strict" in cookie
    assert "httponly" in cookie


async def test_W_05_chart_that_changed_since_the_review(
    desk: FrontDesk, sofia: Session, proposal: Proposal
) -> None:
    """Nothing is written over it; the proposal goes back, and no worker tries again."""
    assert (await review(desk, sofia, proposal)()).status == 200
    desk.take_slot(proposal)
    before = await counts(desk)
    await work(desk)
    after = await counts(desk)
    assert after.effects == before.effects
    assert after.writes == before.writes
    assert (await desk.clinic.get(proposal)).status in (Status.PENDING_REVIEW, Status.HANDED_OFF)


async def test_W_05_clinical_field_is_never_rebased(
    desk: FrontDesk, sofia: Session, proposal: Proposal
) -> None:
    """Somebody lengthened the slot: a person looks again, at what is there now."""
    assert (await review(desk, sofia, proposal)()).status == 200
    hospital = desk.clinic.hospital
    reference = next(c.reference for c in proposal.content.changes if c.reference)
    hospital.edit(hospital.resource(reference) | {"end": "2031-01-01T00:00:00Z"})
    await work(desk)
    held = await desk.clinic.get(proposal)
    assert held.status in (Status.PENDING_REVIEW, Status.HANDED_OFF)
    assert desk.clinic.effects(proposal) == 0
    await refused(desk, review(desk, sofia, proposal), status=409)


async def test_W_07_submitted_twice_under_one_key(
    desk: FrontDesk, bearer: dict[str, str], slots: Any
) -> None:
    booking = await desk.clinic.booking(next(slots), idempotency_key="attack-1")
    first, second = await asyncio.gather(
        submit(desk.gate, PICKER, booking), submit(desk.gate, PICKER, booking)
    )
    assert first.id == second.id
    other = await desk.clinic.booking(next(slots))
    body = {
        "site": other.site, "action": other.action, "interaction": other.interaction,
        "changes": other.changes, "confidence": other.confidence, "rationale": "",
    }  # fmt: skip
    headers = bearer | {"Idempotency-Key": "attack-1"}
    way = lambda: desk.ask("POST", "/v1/proposals", headers=headers, json=body)
    await refused(desk, way, status=409)
    await desk.ask("POST", f"/v1/proposals/{first.id}/withdraw", headers=bearer)


PROTECTED = [
    [{"interaction": "delete", "reference": "Slot/1"}],
    [{"interaction": "create", "resource": {"resourceType": "MedicationRequest"}}],
    [{"interaction": "create", "resource": {"resourceType": "Appointment", "id": "x"}}],
    [{"interaction": "update", "resource": {"resourceType": "Patient", "id": "canary"}}],
    [{"interaction": "patch", "reference": "Patient/canary", "patch": []}],
    [{"interaction": "conditional-update", "resource": {"resourceType": "Slot"}}],
    [{"interaction": "create", "resource": {"resourceType": "Bundle", "type": "transaction"}}],
    [{"interaction": "create", "resource": {"resourceType": "Appointment"}, "ifNoneExist": "x"}],
    [], None, {}, "x", [None], [[]], [1],
]  # fmt: skip


@pytest.mark.parametrize("changes", PROTECTED, ids=range(len(PROTECTED)))
async def test_W_08_11_changes_that_no_charter_lets_an_agent_make(
    desk: FrontDesk, bearer: dict[str, str], desk_interaction: str, changes: Any
) -> None:
    """Deleting, conditions of its own, whole bundles, other types: refused as a class."""
    body = {
        "site": "north-clinic", "action": "book", "interaction": desk_interaction,
        "changes": changes, "confidence": 0.99, "rationale": "please",
    }  # fmt: skip
    way = lambda: desk.ask("POST", "/v1/proposals", headers=bearer, json=body)
    await refused(desk, way, status=(400, 422), action="proposal.submit")


@pytest.fixture(scope="module")
async def desk_interaction(desk: FrontDesk) -> str:
    """An interaction of slot-picker that has read what a booking needs."""
    return (await desk.clinic.booking()).interaction


@pytest.mark.parametrize("path", ["/id", "/meta/tag", "/text/div", "/contained",
                                  "/modifierExtension", "/resourceType", "/start", "/schedule"])  # fmt: skip
async def test_W_11_patch_of_what_the_charter_does_not_list(
    desk: FrontDesk, bearer: dict[str, str], slots: Any, path: str
) -> None:
    """Entered in error, moved, hidden: a patch reaches the elements that are listed, and no others."""
    booking = await desk.clinic.booking(desk.clinic.hospital.scenario.free_slots[-1])
    changes = list(booking.changes)
    changes[1] = {**changes[1], "patch": [{"op": "replace", "path": path, "value": "x"}]}
    body = {
        "site": booking.site, "action": booking.action, "interaction": booking.interaction,
        "changes": changes, "confidence": 0.9, "rationale": "",
    }  # fmt: skip
    way = lambda: desk.ask("POST", "/v1/proposals", headers=bearer, json=body)
    await refused(desk, way, status=422)


@pytest.mark.parametrize(
    "change",
    [
        {"start": "2031-01-01T09:00:00Z", "end": "2031-01-01T09:30:00Z"},
        {"participant": [{"actor": {"reference": "Patient/canary-2"}, "status": "accepted"}]},
        {"participant": [{"actor": {"reference": "Patient/none"}, "status": "accepted"}]},
        {"slot": [{"reference": "Slot/none"}]},
        {"status": "made-up"},
        {"minutesDuration": "thirty"},
        {"identifier": [{"system": "urn:chartgate:proposal", "value": "forged"}]},
        {"unknownElement": 1},
    ],
    ids=str,
)
async def test_W_12_content_that_rules_refuse(
    desk: FrontDesk, bearer: dict[str, str], change: dict[str, Any]
) -> None:
    """Outside the slot, another patient, no such slot, no such code, a marker of ours."""
    booking = await desk.clinic.booking(desk.clinic.hospital.scenario.free_slots[-1])
    changes = list(booking.changes)
    changes[0] = {**changes[0], "resource": {**changes[0]["resource"], **change}}
    body = {
        "site": booking.site, "action": booking.action, "interaction": booking.interaction,
        "changes": changes, "confidence": 0.9, "rationale": "",
    }  # fmt: skip
    way = lambda: desk.ask("POST", "/v1/proposals", headers=bearer, json=body)
    await refused(desk, way, status=(400, 422))


@pytest.mark.parametrize("name", ["dr-osei", "nora", "olu"])
async def test_W_14_reviewer_without_the_right(
    desk: FrontDesk, proposal: Proposal, name: str
) -> None:
    session = await desk.sign_in(name)
    await refused(desk, review(desk, session, proposal), status=(403, 404), reason="policy")


async def test_W_14_reviewer_of_another_site(desk: FrontDesk, proposal: Proposal) -> None:
    await people.add_person(desk.gate, "far", PASSWORD, ["scheduler"], ["south-clinic"])
    signed_in = await people.sign_in(desk.gate, "far", PASSWORD)
    session = Session(name="far", cookie=signed_in.cookie, csrf=signed_in.csrf)
    await refused(desk, review(desk, session, proposal), status=(403, 404), reason="policy")
    shown = lambda: desk.ask("GET", f"/v1/proposals/{proposal.id}", headers=session.headers)
    there = await refused(desk, shown, status=404)
    missing = await refused(
        desk,
        lambda: desk.ask(
            "GET", "/v1/proposals/00000000-0000-4000-8000-000000000000", headers=session.headers
        ),
        status=404,
    )
    assert there.body == missing.body


async def test_W_15_rollback_by_whom_it_does_not_belong_to(
    desk: FrontDesk, sofia: Session, bearer: dict[str, str], proposal: Proposal
) -> None:
    await review(desk, sofia, proposal)()
    await work(desk)
    assert (await desk.clinic.get(proposal)).status is Status.VERIFIED
    path = f"/v1/proposals/{proposal.id}/rollback"
    other = await desk.sign_in("nora")
    for headers in (other.changing, bearer):
        way = lambda h=headers: desk.ask("POST", path, headers=h, json={"reason": "x"})
        await refused(desk, way, status=(403, 404))
    no_reason = lambda: desk.ask("POST", path, headers=sofia.changing, json={"reason": "  "})
    await refused(desk, no_reason, status=400)
    assert (
        await desk.ask("POST", path, headers=sofia.changing, json={"reason": "wrong day"})
    ).status == 202
    again = lambda: desk.ask("POST", path, headers=sofia.changing, json={"reason": "twice"})
    await refused(desk, again, status=409)
    await desk.work()
    assert (await desk.clinic.get(proposal)).status is Status.ROLLED_BACK
    await refused(desk, again, status=409)


async def test_W_18_halt_while_approved_items_wait(
    desk: FrontDesk, sofia: Session, proposal: Proposal
) -> None:
    """Nothing is sent under a halt; after it a conflict that arose meanwhile is seen."""
    await review(desk, sofia, proposal)()
    await halts.halt(desk.gate, OPERATOR, reason="drill")
    try:
        before = await counts(desk)
        await work(desk)
        await nothing_happened_to_the_chart(desk, before)
        desk.take_slot(proposal)
        before = await counts(desk)
    finally:
        await halts.resume(desk.gate, OPERATOR, reason="drill over")
    desk.clinic.clock.advance(31)
    await work(desk)
    after = await counts(desk)
    assert (after.writes, after.effects) == (before.writes, before.effects)


async def nothing_happened_to_the_chart(desk: FrontDesk, before: Any) -> None:
    after = await counts(desk)
    assert (after.writes, after.effects) == (before.writes, before.effects)


@pytest.mark.parametrize("header", ["X-Stage", "Chartgate-Stage", "X-Chartgate-Shadow"])
async def test_W_19_stage_by_a_header_or_the_environment(
    desk: FrontDesk,
    bearer: dict[str, str],
    slots: Any,
    header: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stage is the store's, set by operators, in the audit; nothing else moves it."""
    monkeypatch.setenv("CHARTGATE_STAGE", "full")
    await halts.set_stage(desk.gate, OPERATOR, "clinic-booking", "shadow")
    try:
        booking = await desk.clinic.booking(desk.clinic.hospital.scenario.free_slots[-1])
        body = {
            "site": booking.site, "action": booking.action, "interaction": booking.interaction,
            "changes": booking.changes, "confidence": 0.99, "rationale": "",
        }  # fmt: skip
        before = await counts(desk)
        answer = await desk.ask(
            "POST", "/v1/proposals", headers=bearer | {header: "full"}, json=body
        )
        assert answer.json["status"] == "shadowed"
        await work(desk)
        await nothing_happened(desk, before)
        way = lambda: desk.ask(
            "POST", "/v1/proposals", headers=bearer, json={**body, "stage": "full"}
        )
        await refused(desk, way, status=400)
    finally:
        await halts.set_stage(desk.gate, OPERATOR, "clinic-booking", "suggest")


TAMPERINGS = {
    "a byte": "UPDATE proposal_content SET body = set_byte(body, octet_length(body) - 2, 1) "
    "WHERE tenant = 'main' AND proposal = $1 AND $2::uuid IS NOT NULL",
    "another proposal's": "UPDATE proposal_content SET body = (SELECT body FROM proposal_content "
    "WHERE tenant = 'main' AND proposal = $2) WHERE tenant = 'main' AND proposal = $1",
}


@pytest.mark.parametrize("when", ["before the review", "after the review"])
@pytest.mark.parametrize("how", TAMPERINGS)
async def test_W_20_row_that_was_edited_in_the_database(
    desk: FrontDesk, sofia: Session, slots: Any, proposal: Proposal, when: str, how: str
) -> None:
    """Somebody with a client for PostgreSQL changes what is proposed; nothing of it is written."""
    if when == "after the review":
        await review(desk, sofia, proposal)()
    other = await desk.clinic.booked(next(slots))
    async with desk.gate.database.bookkeeping() as connection:
        done = await connection.execute(TAMPERINGS[how], proposal.id, other.id)
    assert done == "UPDATE 1"
    if when == "before the review":
        answer = await review(desk, sofia, proposal)()
        assert answer.status in (403, 409, 500, 503), answer.text
    before = await counts(desk)
    with suppress(ChartgateError):
        await work(desk)
    await nothing_happened_to_the_chart(desk, before)
    assert desk.clinic.effects(proposal) == 0
    async with desk.gate.database.bookkeeping() as connection:
        # It would trip the workers of the attacks that follow.
        await connection.execute(
            "UPDATE proposal SET status = 'closed' WHERE tenant = 'main' AND id = $1", proposal.id
        )


def test_W_16_submission_cannot_say_what_it_is_not() -> None:
    """Half-applied bundles are told apart by reading back, in tests/flows/test_commits.py; here:
    what is sent is one transaction, never a batch."""
    source = Path(__file__).parents[2] / "src" / "chartgate" / "adapters" / "fhir_r4"
    text = "\n".join(p.read_text() for p in source.rglob("*.py"))
    assert '"transaction"' in text
    assert '"type": "batch"' not in text


async def test_W_12_confidence_that_is_none(desk: FrontDesk, bearer: dict[str, str]) -> None:
    booking = await desk.clinic.booking(desk.clinic.hospital.scenario.free_slots[-1])
    for value in (-0.1, 1.1, "0.9", True, None, 1e300):
        body = {
            "site": booking.site, "action": booking.action, "interaction": booking.interaction,
            "changes": booking.changes, "confidence": value, "rationale": "",
        }  # fmt: skip
        way = lambda b=body: desk.ask("POST", "/v1/proposals", headers=bearer, json=b)
        await refused(desk, way, status=400)
    assert replace(booking, confidence=0.5).confidence == 0.5


def test_W_13_deciding_on_many_at_once_surface_is_absent() -> None:
    """No route takes more than one proposal, and each decision needs the digest of what was shown."""
    deciding = {r.path for r in ROUTES if re.search(r"proposals.*/(review|approve|decide)", r.path)}
    assert deciding == {"/v1/proposals/{id}/review", "/proposals/{id}/review"}
    assert not [r.path for r in ROUTES if "batch" in r.path or "bulk" in r.path]


async def test_W_13_decision_without_what_was_shown(
    desk: FrontDesk, sofia: Session, proposal: Proposal
) -> None:
    path = f"/v1/proposals/{proposal.id}/review"
    for body in ({"verdict": "approve"}, {"verdict": "approve", "digest": ""}, {"verdict": "all"}):
        way = lambda b=body: desk.ask("POST", path, headers=sofia.changing, json=b)
        await refused(desk, way, status=400)


@pytest.fixture
def hours(desk: FrontDesk) -> Iterator[None]:
    """The gateway as it is outside of tests: who approves must have had time to look."""
    config = desk.gate.config
    object.__setattr__(desk.gate, "config", replace(config, review=ReviewConfig()))
    yield
    object.__setattr__(desk.gate, "config", config)


async def shown(desk: FrontDesk, session: Session, proposal: Proposal) -> float:
    """It is opened; the seconds that it takes."""
    answer = await desk.ask("GET", f"/v1/proposals/{proposal.id}", headers=session.headers)
    return float(answer.json["review"]["wait_s"])


@pytest.mark.usefixtures("hours")
async def test_W_13_fifty_approvals_within_a_minute(desk: FrontDesk) -> None:
    """All were opened long before. One look counts for one approval, so at most as many go through
    as looks fit in; the others are told to wait, and nothing of them is written."""
    doctor = await desk.sign_in("dr-osei")
    notes = [await desk.note(f"Seen in clinic, visit {n}; stable.") for n in range(50)]
    floor = min([await shown(desk, doctor, note) for note in notes])
    desk.clinic.clock.advance(600)
    answers = []
    for note in notes:
        answers.append(await review(desk, doctor, note)())
        desk.clinic.clock.advance(60 / 50)
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) <= 60 / floor + 1 < 10
    waits = [int(a.headers["Retry-After"]) for a in answers if a.status == 429]
    assert all(0 < wait <= floor + 1 for wait in waits)
    approved = [(await desk.clinic.get(note)).status is Status.APPROVED for note in notes]
    assert approved == [status == 200 for status in statuses]


@pytest.mark.usefixtures("hours")
async def test_W_13_fifty_approvals_at_the_same_moment(desk: FrontDesk) -> None:
    doctor = await desk.sign_in("dr-osei")
    notes = [await desk.note(f"At once, visit {n}; stable.") for n in range(20)]
    for note in notes:
        await shown(desk, doctor, note)
    desk.clinic.clock.advance(600)
    ways = [review(desk, doctor, note) for note in notes]
    answers = await asyncio.gather(*(way() for way in ways))
    assert sorted(a.status for a in answers) == [200] + [429] * 19


@pytest.mark.usefixtures("hours")
async def test_W_13_approval_faster_than_one_can_look(desk: FrontDesk, proposal: Proposal) -> None:
    """Not shown, too early, and a second too early: each is refused with why. Sent again when it
    says, it works."""
    sofia = await desk.sign_in("sofia")
    way = review(desk, sofia, proposal)
    answer = await refused(desk, way, status=409, action="proposal.review")
    assert "have not been shown" in answer.diagnostics
    floor = await shown(desk, sofia, proposal)
    assert floor >= 3
    answer = await refused(desk, way, status=429, reason="throttled", action="proposal.review")
    assert f"another {ceil(floor)} seconds" in answer.diagnostics
    desk.clinic.clock.advance(floor - 0.5)
    answer = await refused(desk, way, status=429, reason="throttled")
    assert answer.headers["Retry-After"] == "1"
    desk.clinic.clock.advance(1)
    assert (await way()).status == 200


@pytest.mark.usefixtures("hours")
async def test_W_13_header_or_field_that_says_it_was_looked_at(
    desk: FrontDesk, proposal: Proposal
) -> None:
    """How long somebody looked is what we know, not what they say."""
    sofia = await desk.sign_in("sofia")
    await shown(desk, sofia, proposal)
    headers = sofia.changing | {"X-Dwell": "60", "Date": "Fri, 01 Jan 2100 00:00:00 GMT"}
    await refused(desk, review(desk, sofia, proposal, headers=headers), status=429)
    path = f"/v1/proposals/{proposal.id}/review"
    body = {"verdict": "approve", "digest": proposal.content.digest, "dwell_s": 60}
    way = lambda: desk.ask("POST", path, headers=sofia.changing, json=body)
    await refused(desk, way, status=400)
