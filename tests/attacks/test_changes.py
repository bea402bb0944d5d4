"""Attacks on the change of rules itself: what weakens one takes two people, and no message, header
or repetition stands in for either."""

from dataclasses import replace

import pytest

from chartgate.config import PeopleConfig
from chartgate.flows import changes, people
from chartgate.flows.halts import set_stage
from chartgate.store.stages import StageStore
from tests.attacks.contract import refused
from tests.attacks.test_governance import configured
from tests.flows.clinics import OPERATOR, SITE
from tests.web.front_desk import PASSWORD, FrontDesk, Session

STRICT = PeopleConfig(two_people="required")
CHARTER = "visit-note"


async def officer(desk: FrontDesk, name: str, *roles: str) -> Session:
    await people.add_person(desk.gate, name, PASSWORD, roles, [SITE])
    signed_in = await people.sign_in(desk.gate, name, PASSWORD)
    return Session(name=name, cookie=signed_in.cookie, csrf=signed_in.csrf)


async def stage(desk: FrontDesk) -> str:
    return await StageStore(desk.gate.database).current(desk.gate.charters.get(CHARTER))


async def waiting(desk: FrontDesk) -> str:
    """Someone with a shell wants the charter at its last stage."""
    change = await set_stage(desk.gate, OPERATOR, CHARTER, "full")
    assert change is not None, "two people are needed"
    return f"/v1/changes/{change.digest}"


async def test_W_19_stage_takes_two_people_and_none_of_them_an_agent(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    before = await stage(desk)
    with configured(desk.gate, people=STRICT):
        path = await waiting(desk)
        sofia = await officer(desk, "sofia", "scheduler", "operator")
        ada = await officer(desk, "ada", "administrator")
        approve = f"{path}/approve"
        for headers, status in (
            (bearer, 403),
            (bearer | {"X-Approved-By": "person:ada", "X-Stage": "full"}, 403),
            (sofia.changing, 403),
            (ada.headers, 403),  # from a page of somebody else's
            ({}, 401),
        ):
            way = lambda headers=headers: desk.ask("POST", approve, headers=headers)
            await refused(desk, way, status=status)
        once = await desk.ask("POST", approve, headers=ada.changing)
        again = await desk.ask("POST", approve, headers=ada.changing)
        assert (once.json["status"], again.json["status"]) == ("waiting", "waiting")
    assert await stage(desk) == before


async def test_E_13_who_asks_for_a_weaker_rule_does_not_approve_it(desk: FrontDesk) -> None:
    with configured(desk.gate, people=STRICT):
        ada = await officer(desk, "ada", "administrator", "operator")
        asked = await changes.ask_stage(desk.gate, CHARTER, "canary", asked_by="person:ada")
        path = f"/v1/changes/{asked.digest}/approve"
        way = lambda: desk.ask("POST", path, headers=ada.changing)
        await refused(desk, way, status=403, action="change.approve", reason="own-change")


@pytest.mark.parametrize("digest", ["0" * 64, "../changes", "%2e%2e", "*", "x" * 500])
async def test_E_13_approval_of_what_nobody_asked_for(desk: FrontDesk, digest: str) -> None:
    ada = await officer(desk, "ada", "administrator")
    way = lambda: desk.ask("POST", f"/v1/changes/{digest}/approve", headers=ada.changing)
    await refused(desk, way, status=(400, 404, 405, 414))


async def test_E_18_approval_that_is_sent_again_is_used_up(desk: FrontDesk) -> None:
    """The same step, asked for again after it was taken back, is another change."""
    with configured(desk.gate, people=STRICT):
        path = await waiting(desk)
        officers = [
            await officer(desk, "ada", "administrator"),
            await officer(desk, "pia", "privacy-officer"),
        ]
        for each in officers:
            answer = await desk.ask("POST", f"{path}/approve", headers=each.changing)
        assert (answer.json["status"], await stage(desk)) == ("adopted", "full")
        assert await set_stage(desk.gate, OPERATOR, CHARTER, "shadow") is None
        for each in officers:
            way = lambda each=each: desk.ask("POST", f"{path}/approve", headers=each.changing)
            await refused(desk, way, status=409)
        assert await stage(desk) == "shadow"
        assert await waiting(desk) != path


async def test_E_13_mfa_is_not_spared_by_a_looser_file(desk: FrontDesk) -> None:
    """What was adopted last binds a process that brings other settings."""
    strict = replace(STRICT, mfa="required")
    with configured(desk.gate, people=strict):
        await changes.settle_config(desk.gate)
        path = await waiting(desk)
    with configured(desk.gate, people=PeopleConfig()):
        ada = await officer(desk, "ada", "administrator")
        way = lambda: desk.ask("POST", f"{path}/approve", headers=ada.changing)
        await refused(desk, way, status=403, action="change.approve")
