"""An EHR opens Chartgate for one patient, over sockets: nothing is asked of a system that is not
configured, and the session that comes of it knows of no other patient."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from chartgate.config import LaunchConfig
from chartgate.model.proposal import Proposal
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from tests.flows.clinics import PICKER, SITE, booking_changes
from tests.web.console.pages_of import Page
from tests.web.front_desk import FrontDesk, open_front_desk
from tests.web.provider import CLIENT_ID, Provider, Traveller, query_of, running_provider

MISSING = "3f8e0000-0000-4000-8000-000000000000"


@pytest.fixture
async def provider(clock: FakeClock) -> AsyncIterator[Provider]:
    async with running_provider(clock) as running:
        yield running


@pytest.fixture
async def desk(
    database: Database, clock: FakeClock, tmp_path: Path, provider: Provider
) -> AsyncIterator[FrontDesk]:
    ehr = LaunchConfig(
        name="north", iss=provider.url, client_id=CLIENT_ID, site=SITE, roles=("scheduler",)
    )
    other = replace(ehr, name="south", iss="https://south.example/fhir")
    launch = {"north": ehr, "south": other}
    async with open_front_desk(database, clock, tmp_path, launch=launch) as opened:
        provider.patient = opened.clinic.hospital.scenario.booking_patient.partition("/")[2]
        yield opened


@pytest.fixture
def ada(desk: FrontDesk) -> Traveller:
    return Traveller(desk=desk)


def path_of(provider: Provider, *, launch: str = "xyz123") -> str:
    return f"/launch?iss={quote(provider.url, safe='')}&launch={launch}"


async def other_booking(desk: FrontDesk) -> Proposal:
    """A proposal about another patient of the same site."""
    clinic = desk.clinic
    scenario = clinic.hospital.scenario
    mine = scenario.booking_patient
    other = next(r for r in clinic.hospital.chart.references("Patient") if r != mine)
    slot = scenario.free_slots[1]
    interaction = await clinic.see(PICKER, other, slot, scenario.schedule)
    changes = booking_changes(clinic.hospital.resource(slot), other, scenario.practitioner)
    return await clinic.booked(slot, interaction=interaction, changes=changes)


async def test_launched_session_is_for_that_patient_and_says_so(
    desk: FrontDesk, ada: Traveller, provider: Provider
) -> None:
    mine, other = await desk.clinic.booked(), await other_booking(desk)
    url = await ada.away(path_of(provider))
    asked = query_of(url)
    assert asked["launch"] == "xyz123"
    assert asked["aud"] == provider.url
    assert asked["scope"] == "launch openid fhirUser"
    assert asked["code_challenge_method"] == "S256"
    arrived = await ada.ask("GET", await ada.back(url))
    assert arrived.status == 200
    inbox = Page(await ada.ask("GET", "/"))
    patient = desk.clinic.hospital.scenario.booking_patient
    assert f"Opened from the EHR for {patient} at north-clinic." in inbox.text
    assert "1 to decide" in inbox.text
    links = [a["href"] for a in inbox.attributes("a")]
    assert f"/proposals/{mine.id}" in links
    assert f"/proposals/{other.id}" not in links
    (event,) = await desk.clinic.audited("person.sign-in")
    assert (event["patient"], event["details"]["way"]) == (patient, "launch:north")


async def test_proposal_of_another_patient_is_as_if_it_were_not_there(
    desk: FrontDesk, ada: Traveller, provider: Provider
) -> None:
    """W-14: a reviewer without the right to that patient."""
    other = await other_booking(desk)
    await ada.arrive(path_of(provider))
    csrf = Page(await ada.ask("GET", "/")).form("/logout").fields["csrf"]
    headers = {"X-CSRF-Token": csrf}
    form = {"csrf": csrf, "verdict": "approve", "digest": other.content.digest, "reason": "x"}
    body = {"verdict": "approve", "digest": other.content.digest}
    for verb in ("review", "rollback", "edit"):
        answers = [
            await ada.ask("POST", f"/proposals/{id_}/{verb}", form=form)
            for id_ in (other.id, MISSING)
        ]
        assert [a.status for a in answers] == [404, 404], verb
    seen = [await ada.ask("GET", f"/v1/proposals/{id_}") for id_ in (other.id, MISSING)]
    sent = [
        await ada.ask("POST", f"/v1/proposals/{id_}/review", json=body, headers=headers)
        for id_ in (other.id, MISSING)
    ]
    for first, second in (seen, sent):
        assert (first.status, first.body) == (second.status, second.body)
        assert first.status == 404
        assert first.headers.keys() == second.headers.keys()
    assert (await ada.ask("GET", "/v1/proposals")).json == {"proposals": []}
    assert (await desk.clinic.get(other)).status.value == "pending-review"


async def test_handoff_of_another_patient_is_not_in_the_worklist(
    desk: FrontDesk, ada: Traveller, provider: Provider
) -> None:
    other = await other_booking(desk)
    sofia = await desk.sign_in("sofia")
    await desk.ask(
        "POST",
        f"/v1/proposals/{other.id}/review",
        headers=sofia.changing,
        json={"verdict": "hand-back", "digest": other.content.digest},
    )
    (handoff,) = (await desk.ask("GET", "/v1/handoffs", headers=sofia.headers)).json["handoffs"]
    await ada.arrive(path_of(provider))
    page = Page(await ada.ask("GET", "/worklist"))
    assert "Nothing is waiting for staff." in page.text
    form = {"csrf": page.form("/logout").fields["csrf"]}
    assert (await ada.ask("POST", f"/worklist/{handoff['id']}/take", form=form)).status == 404


async def test_own_patients_proposal_is_decided(
    desk: FrontDesk, ada: Traveller, provider: Provider
) -> None:
    mine = await desk.clinic.booked()
    await ada.arrive(path_of(provider))
    page = Page(await ada.ask("GET", f"/proposals/{mine.id}"))
    form = page.form("/logout").fields | {"verdict": "approve", "digest": mine.content.digest}
    assert (await ada.ask("POST", f"/proposals/{mine.id}/review", form=form)).status == 303
    assert (await desk.clinic.get(mine)).decided_by == "person:subject-1"


@pytest.mark.parametrize(
    "iss",
    [
        "https://evil.example/fhir",
        "http://169.254.169.254/latest",
        "{url}/",
        "{url}/../x",
        "{upper}",
        "",
        "file:///etc/passwd",
        "https://south.example/fhir/",
    ],
)
async def test_unknown_ehr_is_refused_in_one_way_and_asked_nothing(
    desk: FrontDesk, ada: Traveller, provider: Provider, iss: str
) -> None:
    address = iss.format(url=provider.url, upper=provider.url.upper())
    answers = [
        await ada.ask("GET", f"/launch?iss={quote(address, safe='')}&launch=abc"),
        await ada.ask("GET", "/launch?launch=abc"),
        await ada.ask("GET", "/launch/unknown/callback?state=x&code=y"),
    ]
    assert {a.status for a in answers} == {403}
    alerts = {a.text.partition('role="alert">')[2].partition("<")[0] for a in answers}
    assert len(alerts) == 1
    assert "from no system that Chartgate knows" in alerts.pop()
    assert provider.asked == []
    assert ada.cookies == {}
    events = await desk.clinic.audited("person.sign-in")
    assert [e["reason"] for e in events] == ["unknown-ehr"] * 3


@pytest.mark.parametrize("patient", [None, 7, "", "7/8", "../7", "7 8", "x" * 65, ["7"]])
async def test_launch_without_one_sound_patient_opens_nothing(
    ada: Traveller, provider: Provider, patient: Any
) -> None:
    provider.patient = patient
    answer = await ada.arrive(path_of(provider))
    assert (answer.status, "chartgate_session" in ada.cookies) == (403, False)
    assert "The EHR named no patient" in Page(answer).text


async def test_code_of_one_ehr_is_not_taken_at_another(ada: Traveller, provider: Provider) -> None:
    path = await ada.back(await ada.away(path_of(provider)))
    answer = await ada.ask("GET", path.replace("/launch/north/", "/launch/south/"))
    assert (answer.status, provider.asked.count("/token")) == (403, 0)


@pytest.mark.parametrize("launch", ["", "x" * 4_001, "a%00b", "a%0Ab"])
async def test_launch_that_is_no_launch_is_refused(
    ada: Traveller, provider: Provider, launch: str
) -> None:
    assert (await ada.ask("GET", path_of(provider, launch=launch))).status == 403
    assert provider.asked == []
