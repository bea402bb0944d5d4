"""Two people over JSON, and the decision that each answer names."""

import re

from chartgate.flows import changes, people
from tests.flows.clinics import OPERATOR, SITE
from tests.web.api.promised import Api
from tests.web.front_desk import PASSWORD, FrontDesk, Session

DECISION = re.compile(r"[0-9a-f]{64}")


async def officer(desk: FrontDesk, name: str, role: str) -> Session:
    """Somebody with an office, signed in."""
    await people.add_person(desk.gate, name, PASSWORD, [role], [SITE])
    signed_in = await people.sign_in(desk.gate, name, PASSWORD)
    return Session(name=name, cookie=signed_in.cookie, csrf=signed_in.csrf)


async def waiting(desk: FrontDesk) -> str:
    """A step forward that waits for two people."""
    change = await changes.ask_stage(desk.gate, "visit-note", "full", asked_by=OPERATOR.agent)
    return change.digest


async def test_change_when_two_officers_approve_it_then_it_is_adopted(
    desk: FrontDesk, api: Api
) -> None:
    digest = await waiting(desk)
    ada = await officer(desk, "ada", "administrator")
    pia = await officer(desk, "pia", "privacy-officer")
    (listed,) = (await api("GET", "/v1/changes", headers=ada.headers)).json["changes"]
    assert (listed["digest"], listed["status"]) == (digest, "waiting")
    assert listed["weaker"] == ["visit-note goes on to the stage full"]
    path = f"/v1/changes/{digest}"
    one = await api("POST", f"{path}/approve", headers=ada.changing)
    assert (one.json["status"], one.json["approved_by"]) == ("waiting", ["person:ada"])
    two = await api("POST", f"{path}/approve", headers=pia.changing)
    assert two.json["status"] == "adopted"
    assert (await api("GET", path, headers=pia.headers)).json == two.json
    late = await api("POST", f"{path}/approve", headers=ada.changing)
    assert (late.status, "waits for nobody" in late.diagnostics) == (409, True)


async def test_change_when_somebody_without_the_office_asks_then_it_is_refused(
    desk: FrontDesk, api: Api
) -> None:
    digest = await waiting(desk)
    sofia, agent = await desk.sign_in(), await desk.bearer()
    for method, path in (
        ("GET", "/v1/changes"),
        ("GET", f"/v1/changes/{digest}"),
        ("POST", f"/v1/changes/{digest}/approve"),
    ):
        refused = await api(method, path, headers=sofia.changing)
        assert refused.status == 403
        assert "administrator or privacy-officer" in refused.diagnostics
        assert (await api(method, path, headers=agent)).status == 403
    ada = await officer(desk, "ada", "administrator")
    forged = await api("POST", f"/v1/changes/{digest}/approve", headers=ada.headers)
    assert forged.status == 403


async def test_change_when_it_is_refused_then_a_reason_is_asked_for(
    desk: FrontDesk, api: Api
) -> None:
    path = f"/v1/changes/{await waiting(desk)}/refuse"
    ada = await officer(desk, "ada", "administrator")
    for reason in ("", "  ", "two\nlines"):
        empty = await api("POST", path, headers=ada.changing, json={"reason": reason})
        assert empty.status == 400
    done = await api("POST", path, headers=ada.changing, json={"reason": "too early"})
    assert done.json["status"] == "refused"
    gone = await api("POST", "/v1/changes/nothing/approve", headers=ada.changing)
    assert gone.status == 404


async def test_answer_when_policy_decided_then_it_names_the_decision(
    desk: FrontDesk, api: Api
) -> None:
    proposal = await desk.clinic.booked()
    sofia, osei = await desk.sign_in(), await desk.sign_in("dr-osei")
    path = f"/v1/proposals/{proposal.id}"
    shown = await api("GET", path, headers=sofia.headers)
    again = await api("GET", path, headers=sofia.headers)
    assert DECISION.fullmatch(shown.headers["chartgate-decision"])
    assert again.headers["chartgate-decision"] == shown.headers["chartgate-decision"]
    verdict = {"verdict": "approve", "digest": proposal.content.digest}
    refused = await api("POST", f"{path}/review", headers=osei.changing, json=verdict)
    assert refused.status in (403, 404)
    reviewed = await api("POST", f"{path}/review", headers=sofia.changing, json=verdict)
    assert reviewed.headers["chartgate-decision"] != shown.headers["chartgate-decision"]
    rows = await desk.gate.database.fetch(
        "SELECT convert_from(body, 'UTF8')::jsonb ->> 'decision' AS decision FROM audit_event"
        " WHERE tenant = $1 AND action = 'proposal.review' AND outcome = 'success'"
    )
    assert reviewed.headers["chartgate-decision"] in {row["decision"] for row in rows}


async def test_refusal_when_a_proposal_is_anothers_or_nowhere_then_no_decision_tells_which(
    desk: FrontDesk, api: Api
) -> None:
    proposal = await desk.clinic.booked()
    osei = await desk.sign_in("dr-osei")
    hidden = await api("GET", f"/v1/proposals/{proposal.id}", headers=osei.headers)
    nowhere = "/v1/proposals/00000000-0000-4000-8000-000000000000"
    missing = await api("GET", nowhere, headers=osei.headers)
    assert (hidden.status, hidden.body) == (missing.status, missing.body)
    assert set(hidden.headers) == set(missing.headers)
