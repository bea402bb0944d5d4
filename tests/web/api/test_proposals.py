"""Proposals over JSON, from the token to the rollback, and every way to be refused."""

from typing import Any

from chartgate.config import WebConfig
from chartgate.model.proposal import Proposal
from tests.flows.clinics import SITE, booking_changes
from tests.web.api.promised import Api
from tests.web.front_desk import FORM, Answer, FrontDesk, Session


async def read(desk: FrontDesk, headers: dict[str, str], *references: str) -> str:
    """Reads these over FHIR in one interaction; its id."""
    sent = dict(headers)
    for reference in references:
        answer = await desk.ask("GET", f"/fhir/{SITE}/{reference}", headers=sent)
        assert answer.status == 200, answer.text
        sent["Chartgate-Interaction"] = answer.headers["Chartgate-Interaction"]
    return sent["Chartgate-Interaction"]


async def booking(desk: FrontDesk, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    """The body that proposes to book the first free slot."""
    scenario = desk.clinic.hospital.scenario
    slot, patient = scenario.free_slots[0], scenario.booking_patient
    interaction = await read(desk, headers, patient, slot, scenario.schedule)
    return {
        "site": SITE,
        "action": "book",
        "interaction": interaction,
        "changes": booking_changes(
            desk.clinic.hospital.resource(slot), patient, scenario.practitioner
        ),
        "confidence": 0.93,
        "rationale": "First free slot.",
    } | changes


async def decide(
    api: Api, session: Session, proposal: Proposal, *, headers: Any = None, **body: Any
) -> Answer:
    sent = {"verdict": "approve", "digest": proposal.content.digest} | body
    path = f"/v1/proposals/{proposal.id}/review"
    return await api("POST", path, headers=headers or session.changing, json=sent)


async def test_walk_from_token_to_rollback(desk: FrontDesk, api: Api) -> None:
    agent = await desk.bearer()
    sent = await api("POST", "/v1/proposals", headers=agent, json=await booking(desk, agent))
    assert (sent.status, sent.json["status"]) == (201, "pending-review")
    place = sent.headers["Location"]

    listed = await api("GET", "/v1/proposals?status=pending-review&limit=5", headers=agent)
    assert [p["id"] for p in listed.json["proposals"]] == [sent.json["id"]]

    sofia = await desk.sign_in("sofia")
    shown = (await api("GET", place, headers=sofia.headers)).json
    assert {p["action"]: p["permitted"] for p in shown["permissions"]}["approve"]
    assert all(guard["holds"] for guard in shown["guards"])
    assert desk.clinic.hospital.scenario.practitioner in shown["mentions"]

    body = {"verdict": "approve", "digest": shown["content"]["digest"]}
    approved = await api("POST", f"{place}/review", headers=sofia.changing, json=body)
    assert approved.json["status"] == "approved"
    await desk.work()
    verified = (await api("GET", place, headers=agent)).json
    assert verified["status"] == "verified"
    created, patched = verified["receipt"]["effects"]
    assert (created["version_before"], patched["version_after"]) == (None, "2")
    assert desk.clinic.hospital.resource(patched["reference"])["status"] == "busy"

    reason = {"reason": "The patient called: cannot come."}
    asked = await api("POST", f"{place}/rollback", headers=sofia.changing, json=reason)
    assert (asked.status, asked.json["status"]) == (202, "rolling-back")
    await desk.work()
    assert (await api("GET", place, headers=agent)).json["status"] == "rolled-back"
    assert desk.clinic.hospital.resource(patched["reference"])["status"] == "free"


async def test_ai_client_is_shown_its_own_words_and_nothing_it_did_not_read(
    desk: FrontDesk, api: Api
) -> None:
    agent = await desk.bearer()
    sent = await api("POST", "/v1/proposals", headers=agent, json=await booking(desk, agent))
    shown = (await api("GET", sent.headers["Location"], headers=agent)).json
    assert shown["rationale"] == "First free slot."
    assert shown["mentions"] == {}
    assert shown["guards"] == []
    assert [p["action"] for p in shown["permissions"]] == ["withdraw"]
    assert "telecom" in next(
        s["resource"] for s in shown["read_set"] if s["reference"].startswith("Patient/")
    )


async def test_sent_again_with_its_key_it_stays_one_proposal(desk: FrontDesk, api: Api) -> None:
    agent = await desk.bearer()
    body = await booking(desk, agent)
    keyed = agent | {"Idempotency-Key": "k1"}
    first, second = [await api("POST", "/v1/proposals", headers=keyed, json=body) for _ in "12"]
    assert first.json["id"] == second.json["id"]
    other = body | {"changes": body["changes"][1:], "confidence": 0.9}
    refused = await api("POST", "/v1/proposals", headers=keyed, json=other)
    assert refused.status in (409, 422)


async def test_withdrawn_by_its_author(desk: FrontDesk, api: Api) -> None:
    agent = await desk.bearer()
    sent = await api("POST", "/v1/proposals", headers=agent, json=await booking(desk, agent))
    path = f"{sent.headers['Location']}/withdraw"
    assert (await api("POST", path, headers=agent)).json["status"] == "withdrawn"
    again = await api("POST", path, headers=agent)
    assert again.status == 409


async def test_another_clients_proposal_is_not_there(desk: FrontDesk, api: Api) -> None:
    proposal = await desk.note()
    agent = await desk.bearer("slot-picker")
    path = f"/v1/proposals/{proposal.id}"
    assert (await api("GET", path, headers=agent)).status == 404
    assert (await api("POST", f"{path}/withdraw", headers=agent)).status == 404
    assert (await api("GET", "/v1/proposals", headers=agent)).json == {"proposals": []}


async def test_edit_is_a_new_version_to_be_decided_anew(desk: FrontDesk, api: Api) -> None:
    proposal = await desk.note()
    osei = await desk.sign_in("dr-osei")
    path = f"/v1/proposals/{proposal.id}"
    shown = (await api("GET", path, headers=osei.headers)).json
    changes = shown["content"]["changes"]
    changes[0]["resource"]["docStatus"] = "final"
    body = {"changes": changes, "digest": shown["content"]["digest"]}
    edited = await api("POST", f"{path}/edit", headers=osei.changing, json=body)
    assert edited.json["content"]["version"] == 2
    stale = await decide(api, osei, proposal)
    assert stale.status == 409
    assert "look at it again" in stale.diagnostics
    fresh = await decide(api, osei, proposal, digest=edited.json["content"]["digest"])
    assert fresh.json["status"] == "approved"


WRONG_SUBMISSIONS: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"confidense": 0.9}, 400, "did you mean confidence"),
    ({"zzz": 1}, 400, "known: site"),
    ({"site": ""}, 400, "site must be a text"),
    ({"action": 7}, 400, "action must be a text"),
    ({"interaction": "not-a-uuid"}, 400, "interaction must be the UUID"),
    ({"confidence": True}, 400, "confidence must be a number"),
    ({"confidence": "0.9"}, 400, "confidence must be a number"),
    ({"confidence": 1.5}, 400, "from 0 to 1"),
    ({"changes": []}, 400, "at least one change"),
    ({"changes": [{"interaction": "delete", "reference": "Slot/1"}]}, 400, "may not delete"),
    ({"rationale": "x" * 4001}, 400, "at most 4000 characters"),
    ({"charter": "visit-note"}, 403, "clinic-booking only"),
    ({"action": "cancel"}, 403, "no proposal named cancel"),
    ({"site": "south-clinic"}, 403, "does not hold at the site"),
)
WRONG_KEYS = ("", "x" * 201, "a\tb")


async def test_submission_that_is_wrong_is_refused_with_a_sentence(
    desk: FrontDesk, api: Api
) -> None:
    agent = await desk.bearer()
    right = await booking(desk, agent)
    for change, status, sentence in WRONG_SUBMISSIONS:
        refused = await api("POST", "/v1/proposals", headers=agent, json=right | change)
        assert refused.status == status, change
        assert sentence in refused.diagnostics
    for missing in ("site", "action", "interaction", "changes", "confidence"):
        body = {name: value for name, value in right.items() if name != missing}
        refused = await api("POST", "/v1/proposals", headers=agent, json=body)
        assert (refused.status, missing in refused.diagnostics) == (400, True), missing
    for key in WRONG_KEYS:
        keyed = agent | {"Idempotency-Key": key}
        refused = await api("POST", "/v1/proposals", headers=keyed, json=right)
        assert (refused.status, "printable" in refused.diagnostics) == (400, True), key
    assert (await api("GET", "/v1/proposals", headers=agent)).json == {"proposals": []}


WRONG_QUERIES = (
    ("?stauts=approved", "did you mean status"),
    ("?status=aproved", "pending-review"),
    ("?limit=0", "from 1 to 500"),
    ("?limit=501", "from 1 to 500"),
    ("?limit=%F0%9D%9F%8F", "from 1 to 500"),  # a digit, but none of ours
    ("?limit=1&limit=2", "stands twice"),
)


async def test_list_with_a_wrong_query_is_refused_with_a_sentence(
    desk: FrontDesk, api: Api
) -> None:
    agent = await desk.bearer()
    for query, sentence in WRONG_QUERIES:
        refused = await api("GET", f"/v1/proposals{query}", headers=agent)
        assert (refused.status, sentence in refused.diagnostics) == (400, True), query


async def test_decision_that_is_wrong_is_refused_with_a_sentence(desk: FrontDesk, api: Api) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    for body, status, sentence in (
        ({"verdict": "aprove"}, 400, "approve, refuse or hand-back"),
        ({"verdict": "refuse"}, 400, "say why"),
        ({"digest": "0" * 64}, 409, "look at it again"),
        ({"digest": ""}, 400, "digest must be a text"),
        ({"reason": 7}, 400, "reason must be a text"),
        ({"reasn": "x"}, 400, "did you mean reason"),
    ):
        refused = await decide(api, sofia, proposal, **body)
        assert refused.status == status, body
        assert sentence in refused.diagnostics
    assert (await desk.clinic.get(proposal)).status.value == "pending-review"


async def test_change_without_the_sessions_secret_is_refused(desk: FrontDesk, api: Api) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    other = await desk.sign_in()
    for secret in (None, "", "x", other.csrf):
        headers = sofia.headers | ({} if secret is None else {"X-CSRF-Token": secret})
        refused = await decide(api, sofia, proposal, headers=headers)
        assert (refused.status, "own pages" in refused.diagnostics) == (403, True)


async def test_decision_sent_from_another_site_is_refused(desk: FrontDesk, api: Api) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    for origin in ("https://evil.example", "null"):
        refused = await decide(api, sofia, proposal, headers=sofia.changing | {"Origin": origin})
        assert refused.status == 403


async def test_ai_client_can_decide_nothing(desk: FrontDesk, api: Api) -> None:
    proposal = await desk.clinic.booked()
    agent = await desk.bearer()
    path = f"/v1/proposals/{proposal.id}"
    for verb, body in (
        ("review", {"verdict": "approve", "digest": proposal.content.digest}),
        ("edit", {"changes": [], "digest": proposal.content.digest}),
        ("rollback", {"reason": "x"}),
    ):
        refused = await api("POST", f"{path}/{verb}", headers=agent, json=body)
        assert (refused.status, "only a person" in refused.diagnostics) == (403, True)


async def test_person_can_propose_nothing(desk: FrontDesk, api: Api) -> None:
    sofia = await desk.sign_in()
    body = await booking(desk, await desk.bearer())
    refused = await api("POST", "/v1/proposals", headers=sofia.changing, json=body)
    assert refused.status == 401
    assert "access token" in refused.diagnostics
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")


async def test_person_of_another_role_is_told_it_is_not_there_and_may_not_decide(
    desk: FrontDesk, api: Api
) -> None:
    proposal, nora = await desk.clinic.booked(), await desk.sign_in("nora")
    path = f"/v1/proposals/{proposal.id}"
    assert (await api("GET", path, headers=nora.headers)).status == 404
    refused = await decide(api, nora, proposal)
    assert (refused.status, "for a scheduler" in refused.diagnostics) == (403, True)


async def test_proposal_that_is_not_there_is_not_found(desk: FrontDesk, api: Api) -> None:
    sofia = await desk.sign_in()
    for id_ in ("nope", "00000000-0000-4000-8000-000000000000", "%2e%2e", "a%00b", "%ff"):
        answer = await api("GET", f"/v1/proposals/{id_}", headers=sofia.headers)
        assert answer.status == 404, id_


async def test_rollback_of_what_was_never_written_is_refused(desk: FrontDesk, api: Api) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in()
    path = f"/v1/proposals/{proposal.id}/rollback"
    refused = await api("POST", path, headers=sofia.changing, json={"reason": "x"})
    assert refused.status == 409
    assert "not verified" in refused.diagnostics


WRONG_BODIES = (
    (b"{", "application/json", 400, "brackets must match"),
    (b'{"site": }', "application/json", 400, "line 1, column"),
    (b"[1]", "application/json", 400, "must be a JSON object"),
    (b"", "application/json", 400, "not JSON"),
    (b"\xff\xfe", "application/json", 400, "not JSON"),
    (b'{"site":"\\ud800"}', "application/json", 400, "not JSON"),
    (b"a=b", FORM, 415, "application/json"),
    (b"{}", "text/plain", 415, "application/json"),
)


async def test_body_that_cannot_be_read_is_refused(desk: FrontDesk, api: Api) -> None:
    agent = await desk.bearer()
    for data, kind, status, sentence in WRONG_BODIES:
        headers = agent | {"Content-Type": kind}
        refused = await api("POST", "/v1/proposals", headers=headers, data=data)
        assert (refused.status, sentence in refused.diagnostics) == (status, True), data


async def test_body_over_its_limits_is_refused_before_anyone_is_asked_who_they_are(
    desk: FrontDesk, api: Api
) -> None:
    json = {"Content-Type": "application/json"}
    web: WebConfig = desk.gate.config.web
    deep = b"[" * (web.json_depth_max + 1) + b"]" * (web.json_depth_max + 1)
    refused = await api("POST", "/v1/proposals", headers=json, data=deep)
    assert (refused.status, "nest 64 deep" in refused.diagnostics) == (400, True)
    large = {"Content-Length": str(web.body_bytes_max + 1)}
    refused = await api("POST", "/v1/proposals", headers=json | large, data=b"{}")
    assert (refused.status, "bytes" in refused.diagnostics) == (413, True)
