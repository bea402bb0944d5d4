"""Attacks on what governs a read beside the charter: granular scopes, revocation, labels,
consents, budgets and broken glass."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import orjson
import pytest

from chartgate.config import PeopleConfig, SiteConfig
from chartgate.gate import Gate
from chartgate.policy.charters import compile_book
from tests.attacks.chart import OTHER, PATIENT
from tests.attacks.contract import CANARY, check_alike, refused
from tests.flows.clinics import CHARTERS, EHR, sample_charter
from tests.web.front_desk import Answer, FrontDesk, Session

SITE = "north-clinic"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"


def get(
    desk: FrontDesk, headers: dict[str, str], path: str, **more: str
) -> Callable[[], Awaitable[Answer]]:
    return lambda: desk.ask("GET", f"/fhir/{SITE}{path}", headers=headers | more)


@contextmanager
def running(gate: Gate, name: str, *change: tuple[str, str]) -> Iterator[None]:
    """The sample charters, one of them with other words in it."""
    held = gate.running.charters
    charters = [sample_charter(n, change=change if n == name else ()) for n in CHARTERS]
    gate.running.charters = compile_book(charters)
    try:
        yield
    finally:
        gate.running.charters = held


@contextmanager
def configured(gate: Gate, **settings: Any) -> Iterator[None]:
    """Other settings for a while."""
    held = {name: getattr(gate.config, name) for name in settings}
    for name, value in settings.items():
        object.__setattr__(gate.config, name, value)
    try:
        yield
    finally:
        for name, value in held.items():
            object.__setattr__(gate.config, name, value)


def condition(id_: str, code: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": id_,
        "subject": {"reference": PATIENT},
        "code": {"coding": [{"system": ICD, "code": code, "display": CANARY}]},
        "clinicalStatus": {"coding": [{"code": "active"}]},
        **more,
    }


@pytest.mark.parametrize("path", ["busy", "none"])
async def test_T_11_granular_scope_asked_for_more(desk: FrontDesk, path: str) -> None:
    """A token for free slots reads no other one, and cannot tell it from one that is not there."""
    slot = desk.clinic.hospital.resource(desk.clinic.hospital.scenario.free_slots[9])
    desk.clinic.hospital.edit({**slot, "id": "busy-slot", "status": "busy"})
    token = await desk.bearer(scope="system/Slot.rs?status=free")
    free = f"/Slot/{slot['id']}"
    assert (await get(desk, token, free)()).status == 200
    busy = await refused(desk, get(desk, token, "/Slot/busy-slot"), status=404, asked_max=1)
    missing = await refused(desk, get(desk, token, f"/Slot/{path}-x"), status=404, asked_max=1)
    check_alike(busy, missing)
    found = await get(desk, token, "/Slot?status=free,busy")()
    assert "busy-slot" not in found.text
    by_id = await get(desk, token, "/Slot?_id=busy-slot")()
    assert "busy-slot" not in orjson.dumps(by_id.json.get("entry", [])).decode()


async def test_T_14_revoked_token_is_out_at_once(desk: FrontDesk) -> None:
    """Also where this process had kept it, and alike one that never was."""
    token = await desk.bearer()
    path = f"/{PATIENT}"
    assert (await get(desk, token, path)()).status == 200
    form = {"token": token["Authorization"].partition(" ")[2]}
    assert (await desk.ask("POST", "/oauth/revoke", headers=token, form=form)).status == 200
    out = await refused(desk, get(desk, token, path), status=401)
    none = {"Authorization": f"Bearer cg_{'Z' * 43}"}
    check_alike(out, await refused(desk, get(desk, none, path), status=401))


async def test_T_14_stranger_and_other_client_learn_nothing_of_a_token(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    other = await desk.bearer("scribe")
    form = {"token": bearer["Authorization"].partition(" ")[2]}
    told = await desk.ask("POST", "/oauth/introspect", headers=other, form=form)
    unknown = await desk.ask(
        "POST", "/oauth/introspect", headers=other, form={"token": f"cg_{'Y' * 43}"}
    )
    assert told.body == unknown.body
    way = lambda: desk.ask("POST", "/oauth/introspect", form=form)
    await refused(desk, way, status=401)
    await desk.ask("POST", "/oauth/revoke", headers=other, form=form)
    assert (await get(desk, bearer, f"/{PATIENT}")()).status == 200


SENSITIVE = {
    "psychiatry": condition("f22-psy", "F20.0"),
    "HIV": condition("f22-hiv", "B20"),
    "substance use": condition("f22-sud", "F11.20"),
    "marked restricted": condition(
        "f22-r",
        "J45.909",
        meta={
            "security": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
                    "code": "R",
                }
            ]
        },
    ),
    "marked by a label that nobody knows": condition(
        "f22-x", "J45.909", meta={"security": [{"system": "urn:x", "code": "X"}]}
    ),
}


@pytest.mark.parametrize("kind", SENSITIVE)
async def test_F_22_sensitive_by_content_is_as_if_it_were_not_there(
    desk: FrontDesk, scribe: dict[str, str], kind: str
) -> None:
    """By its codes, not only by its labels; read, and searched for."""
    resource = SENSITIVE[kind]
    desk.clinic.hospital.edit(resource)
    path = f"/Condition/{resource['id']}"
    hidden = await refused(desk, get(desk, scribe, path), status=404, asked_max=1)
    missing = await refused(desk, get(desk, scribe, "/Condition/none"), status=404, asked_max=1)
    check_alike(hidden, missing)
    found = await get(desk, scribe, f"/Condition?patient={PATIENT}")()
    assert resource["id"] not in found.text
    known = get(desk, scribe, path, **{"If-None-Match": 'W/"1"'})
    check_alike(hidden, await refused(desk, known, status=404, asked_max=1))


def consent(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Consent",
        "id": f"consent-{kind}",
        "status": "active",
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": OTHER},
        "dateTime": "2026-01-01T00:00:00Z",
        "policy": [{"uri": "http://example.org/policy"}],
        "provision": {"type": kind, **more},
    }


def asked_each_time(mode: str, **more: Any) -> dict[str, SiteConfig]:
    own: Any = {"name": SITE, "consent": mode, "consent_from": EHR, "consent_fresh_s": 0.0}
    return {SITE: SiteConfig(**{**own, **more})}


async def test_F_26_consent_missing_denying_revoked_and_out_of_reach(
    desk: FrontDesk, bearer: dict[str, str]
) -> None:
    """In a site where patients opt in, each of the four is a no, and all look alike."""
    path = f"/{OTHER}"
    refusals = []
    with configured(desk.gate, sites=asked_each_time("opt-in")):
        refusals.append(await refused(desk, get(desk, bearer, path), status=404, asked_max=4))
        desk.clinic.hospital.edit(consent("permit"))
        assert (await get(desk, bearer, path)()).status == 200
        desk.clinic.hospital.edit(consent("deny"))
        refusals.append(await refused(desk, get(desk, bearer, path), status=404, asked_max=4))
        desk.clinic.hospital.edit(consent("deny") | {"status": "inactive"})
        assert (await get(desk, bearer, path)()).status == 200
        desk.clinic.hospital.edit(consent("permit") | {"status": "inactive"})
        refusals.append(await refused(desk, get(desk, bearer, path), status=404, asked_max=4))
    for other in refusals[1:]:
        check_alike(refusals[0], other)
    lost = asked_each_time("opt-in", consent_from="gone")
    with configured(desk.gate, sites=lost):
        await refused(desk, get(desk, bearer, path), status=(404, 503), asked_max=4)


@pytest.mark.parametrize(
    ("provision", "status"),
    [
        ({"period": {"end": "2026-01-31"}}, 404),
        ({"period": {"start": "2027-01-01"}}, 404),
        ({"provision": [{"type": "deny", "purpose": [{"system": "x", "code": "TREAT"}]}]}, 404),
        ({"period": {"start": "2026-01-01", "end": "2036-01-01"}}, 200),
    ],
    ids=["over", "not yet", "an exception that cannot be read", "in time"],
)
async def test_F_27_edges_of_a_consent(
    desk: FrontDesk, bearer: dict[str, str], provision: dict[str, Any], status: int
) -> None:
    desk.clinic.hospital.edit(consent("permit", **provision))
    try:
        with configured(desk.gate, sites=asked_each_time("opt-in")):
            way = get(desk, bearer, f"/{OTHER}")
            if status == 200:
                assert (await way()).status == 200
            else:
                await refused(desk, way, status=status, asked_max=4)
    finally:
        desk.clinic.hospital.edit(consent("permit") | {"status": "inactive"})


async def test_F_27_of_two_consents_the_no_wins(desk: FrontDesk, bearer: dict[str, str]) -> None:
    for kind in ("permit", "deny"):
        desk.clinic.hospital.edit(consent(kind))
    try:
        with configured(desk.gate, sites=asked_each_time("opt-in")):
            way = get(desk, bearer, f"/{OTHER}")
            await refused(desk, way, status=404, asked_max=4)
    finally:
        for kind in ("permit", "deny"):
            desk.clinic.hospital.edit(consent(kind) | {"status": "inactive"})


async def test_L_13_salami_of_single_patients(desk: FrontDesk) -> None:
    """Each is allowed, but not so many in an hour; those met already may be gone on with."""
    patients = desk.clinic.hospital.scenario.patients[:6]
    with running(desk.gate, "clinic-booking", ("patients_per_hour: 200", "patients_per_hour: 4")):
        token = await desk.bearer()
        statuses = []
        for reference in patients:
            statuses.append((await get(desk, token, f"/{reference}")()).status)
        assert 429 in statuses, statuses
        first = statuses.index(429)
        answer = await refused(
            desk, get(desk, token, f"/{patients[-1]}"), status=429, reason="patient-budget",
            asked_max=1,
        )  # fmt: skip
        assert int(answer.headers["Retry-After"]) > 0
        assert (await get(desk, token, f"/{patients[0]}")()).status == 200 or first == 0


async def test_L_01_interaction_that_is_bound_to_its_patient(desk: FrontDesk) -> None:
    """A note asks for other patients; within one interaction there is only one."""
    budgets = ("patients_per_hour: 200", "patients_per_interaction: 1, patients_per_hour: 200")
    with running(desk.gate, "clinic-booking", budgets):
        token = await desk.bearer()
        patients = desk.clinic.hospital.scenario.patients
        first = await get(desk, token, f"/{patients[0]}")()
        assert first.status == 200
        joined = token | {"Chartgate-Interaction": first.headers["Chartgate-Interaction"]}
        other = await refused(desk, get(desk, joined, f"/{patients[1]}"), status=404, asked_max=1)
        missing = await refused(desk, get(desk, joined, "/Patient/none"), status=404, asked_max=1)
        check_alike(other, missing)


@pytest.fixture(scope="module")
async def osei(desk: FrontDesk) -> Session:
    return await desk.sign_in("dr-osei")


GLASS = {
    "site": SITE,
    "patient": PATIENT,
    "code": "ETREAT",
    "words": "Unconscious in A&E, no history.",
    "minutes": 30,
}


@pytest.mark.parametrize(
    "change",
    [
        {"words": ""}, {"words": "   "}, {"code": ""}, {"code": "TREAT"}, {"minutes": 61},
        {"minutes": 0}, {"patient": ""}, {"patient": "Patient/"}, {"patient": "*"},
        {"patient": "Patient/a,Patient/b"}, {"site": "elsewhere"}, {"extra": 1},
    ],
    ids=str,
)  # fmt: skip
async def test_E_15_glass_that_is_not_to_be_broken(
    desk: FrontDesk, osei: Session, change: dict[str, Any]
) -> None:
    """Without a reason, a known code, exactly one patient, or for longer than an hour."""
    with configured(desk.gate, people=PeopleConfig(break_glass_roles=("clinician",))):
        way = lambda: desk.ask(
            "POST", "/v1/break-glass", headers=osei.changing, json={**GLASS, **change}
        )
        await refused(desk, way, status=(400, 403, 422))


async def test_E_15_glass_by_an_agent_by_the_wrong_role_and_without_the_secret(
    desk: FrontDesk, osei: Session, bearer: dict[str, str]
) -> None:
    sofia = await desk.sign_in("sofia")
    with configured(desk.gate, people=PeopleConfig(break_glass_roles=("clinician",))):
        for headers, status in (
            (bearer, 403),
            (sofia.changing, 403),
            (osei.headers, 403),
            ({}, 401),
        ):
            way = lambda h=headers: desk.ask("POST", "/v1/break-glass", headers=h, json=GLASS)
            await refused(desk, way, status=status)


async def test_E_15_glass_of_others_is_ended_and_reviewed_by_nobody_it_does_not_concern(
    desk: FrontDesk, osei: Session
) -> None:
    sofia = await desk.sign_in("sofia")
    with configured(desk.gate, people=PeopleConfig(break_glass_roles=("clinician",))):
        opened = await desk.ask("POST", "/v1/break-glass", headers=osei.changing, json=GLASS)
        assert opened.status == 201, opened.text
        review = {"finding": "justified", "remark": "mine"}
        for session, verb, body in (
            (sofia, "end", {}),
            (osei, "review", review),
            (sofia, "review", review),
        ):
            path = f"/v1/break-glass/{opened.json['id']}/{verb}"
            way = lambda p=path, s=session, b=body: desk.ask("POST", p, headers=s.changing, json=b)
            await refused(desk, way, status=(403, 404, 409))
        unknown = f"/v1/break-glass/{uuid4()}/end"
        nobodys = lambda: desk.ask("POST", unknown, headers=osei.changing, json={})
        await refused(desk, nobodys, status=404)
