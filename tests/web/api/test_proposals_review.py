"""Reviewing over JSON: what the view says of it, and what an approval must carry."""

from dataclasses import replace

import pytest

from chartgate.config import ReviewConfig
from tests.flows.test_review_care import MARA, approve, ask_for
from tests.web.api.promised import Api
from tests.web.api.test_proposals import decide
from tests.web.front_desk import FrontDesk


async def test_view_says_what_an_approval_takes(desk: FrontDesk, api: Api) -> None:
    ask_for(desk.clinic, review_people=2, review_acknowledge=("status",))
    object.__setattr__(desk.gate, "config", replace(desk.gate.config, review=ReviewConfig()))
    proposal = await desk.clinic.booked()
    sofia = await desk.sign_in("sofia")
    place = f"/v1/proposals/{proposal.id}"
    review = (await api("GET", place, headers=sofia.headers)).json["review"]
    slot = proposal.content.changes[1].reference
    keys = ["Appointment (new)#status", f"{slot}#status"]
    assert review == {
        "people": 2,
        "approvals": [],
        "still": "2 more people",
        "floor_s": 14.0,
        "wait_s": 14.0,
        "acknowledge": keys,
    }
    early = await decide(api, sofia, proposal, acknowledged=keys)
    assert (early.status, early.headers["Retry-After"]) == (429, "14")
    assert early.json["issue"][0]["code"] == "throttled"
    desk.clinic.clock.advance(14)
    short = await decide(api, sofia, proposal, acknowledged=keys[:1])
    assert short.status == 422
    first = await decide(api, sofia, proposal, acknowledged=keys)
    assert (first.status, first.json["status"]) == (200, "pending-review")
    review = (await api("GET", place, headers=sofia.headers)).json["review"]
    assert [(a["person"], a["roles"]) for a in review["approvals"]] == [
        ("person:sofia", ["scheduler"])
    ]
    again = await decide(api, sofia, proposal, acknowledged=keys)
    assert again.status == 409
    assert "you have approved it already" in again.text


async def test_agent_is_told_nothing_of_the_review(desk: FrontDesk, api: Api) -> None:
    agent = await desk.bearer()
    proposal = await desk.clinic.booked()
    view = await api("GET", f"/v1/proposals/{proposal.id}", headers=agent)
    assert view.json["review"] is None


@pytest.mark.parametrize("value", ["all", 1, {"status": True}, [1], ["x"] * 101])
async def test_acknowledgement_that_is_none_is_refused(
    desk: FrontDesk, api: Api, value: object
) -> None:
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in("sofia")
    answer = await decide(api, sofia, proposal, acknowledged=value)
    assert answer.status == 400
    assert "acknowledged must" in answer.text


async def test_acknowledgement_of_what_is_no_risk_is_refused(desk: FrontDesk, api: Api) -> None:
    """Whoever ticks everything off without looking is found out."""
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in("sofia")
    answer = await decide(api, sofia, proposal, acknowledged=["Appointment (new)#status"])
    assert answer.status == 422


async def test_second_persons_approval_over_the_api_writes_it(desk: FrontDesk, api: Api) -> None:
    ask_for(desk.clinic, review_people=2)
    proposal, sofia = await desk.clinic.booked(), await desk.sign_in("sofia")
    await approve(desk.clinic, proposal, MARA)
    answer = await decide(api, sofia, proposal)
    assert answer.json["status"] == "approved"
    await desk.work()
    assert (await desk.clinic.get(proposal)).status.value == "verified"
