"""Asking consents where they are kept: fresh, whole and the patient's own, or nothing is shown."""

import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from chartgate.errors import (
    ChartgateError,
    Denied,
    Invalid,
    NotFound,
    SourceUnreachable,
    Throttled,
    Unavailable,
)
from chartgate.flows import consents
from chartgate.flows.consent_records import bring_in, revoke
from chartgate.flows.consents import Asked, actors_of, consents_of, decide_for
from chartgate.model.label import Labels
from chartgate.model.principal import Client, Person, Principal, Process
from chartgate.policy import consent as policy
from chartgate.policy.consent_question import question_about
from chartgate.store import consent_lookups
from chartgate.store.consents import ConsentStore
from chartgate.store.database import Database, promptly
from chartgate.store.governance import current_epoch
from chartgate.testing.clock import FakeClock
from tests.flows.consulted import (
    ANN,
    BEN,
    CLIENT,
    SITE,
    Consulted,
    consent_of,
    open_consulted,
)

OPERATOR = Process(id="cli/test")
AGENT = Client(id=CLIENT, charter="clinic-booking")
NURSE = Person(id="nora", roles=("nurse",), sites=(SITE,))
OLU = Person(id="olu", roles=("operator",), sites=(SITE,))
ELSEWHERE = Person(id="eve", roles=("operator",), sites=("south-clinic",))
NEEDING = ["opt-in", "opt-out", "opt-in-with-exceptions"]


@pytest.fixture
async def there(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Consulted]:
    """An opt-in site whose registry has a consent of Ann's and none of Ben's."""
    async with open_consulted(database, clock, tmp_path) as opened:
        opened.registry.said[ANN] = [consent_of(ANN)]
        yield opened


async def test_consent_permits_and_silence_does_not(there: Consulted) -> None:
    answer = await there.ask(ANN)
    assert (answer.permitted, answer.rule) == (True, "Consent/c1#0")
    assert (await there.ask(BEN)).rule == "mode"
    assert there.registry.asked[0] == ("Consent", (("patient", ANN),))


async def test_answer_is_believed_for_a_while_and_then_asked_for_again(there: Consulted) -> None:
    for _ in range(3):
        assert await there.permits()
    assert len(there.registry.asked) == 1
    there.clock.advance(59)
    assert await there.permits()
    assert len(there.registry.asked) == 1
    there.registry.said[ANN] = [consent_of(ANN, "deny")]
    there.clock.advance(1)
    assert not await there.permits()
    assert len(there.registry.asked) == 2
    (event,) = await there.audited("consent.change")
    assert (event["patient"], event["site"], event["entities"]) == (ANN, SITE, ["Consent/c1"])
    assert await current_epoch(there.gate.database) > 0


async def test_freshness_of_nought_asks_each_time(there: Consulted) -> None:
    there.site(consent_fresh_s=0.0)
    assert await there.permits()
    there.registry.said[ANN] = []
    assert not await there.permits()


async def test_copy_from_the_future_is_asked_for_again(there: Consulted) -> None:
    there.clock.advance(1000)
    assert await there.permits()
    there.clock.advance(-1000)
    there.registry.said[ANN] = []
    assert not await there.permits()


FAULTS: list[tuple[str, ChartgateError | None]] = [
    ("hangs", None),
    ("half", None),
    ("another", None),
    ("kind", None),
    ("", SourceUnreachable("gone")),
    ("", Throttled("slow down")),
    ("", NotFound("no such search")),
    ("", Unavailable("elsewhere")),
]


@pytest.mark.parametrize("mode", NEEDING)
@pytest.mark.parametrize(("wrong", "fault"), FAULTS)
@pytest.mark.parametrize("asked_before", [False, True])
async def test_registry_that_gives_no_whole_answer_permits_nothing(
    there: Consulted, wrong: str, fault: ChartgateError | None, mode: str, asked_before: bool
) -> None:
    exceptions = ("TREAT",) if mode == "opt-in-with-exceptions" else ()
    there.site(consent=mode, consent_exceptions=exceptions)
    there.registry.said[BEN] = [consent_of(BEN)]
    if asked_before:
        assert await there.permits()
        there.clock.advance(61)
    there.registry.wrong, there.registry.fault = wrong, fault
    there.site(consent_timeout_s=0.1 if wrong == "hangs" else 60.0)
    answer = await there.ask()
    assert (answer.permitted, answer.rule) == (False, "missing")
    there.registry.wrong, there.registry.fault = "", None
    there.site(consent_timeout_s=60.0)
    assert await there.permits()


@pytest.mark.parametrize(("wrong", "fault"), FAULTS)
async def test_where_no_consent_is_needed_silence_permits_and_a_dissent_does_not(
    there: Consulted, wrong: str, fault: ChartgateError | None
) -> None:
    there.site(consent="not-needed", consent_timeout_s=0.1 if wrong == "hangs" else 60.0)
    there.registry.said[BEN] = [consent_of(BEN)]
    there.registry.wrong, there.registry.fault = wrong, fault
    assert await there.permits()
    assert not await there.permits(labels=Labels(sensitivities=frozenset({"SUD"})))
    there.registry.wrong, there.registry.fault = "", None
    there.site(consent_timeout_s=60.0)
    there.registry.said[ANN] = [consent_of(ANN, "deny")]
    assert not await there.permits()
    assert await current_epoch(there.gate.database) > 0, "whoever was permitted is asked again"
    there.clock.advance(61)
    there.registry.wrong, there.registry.fault = wrong, fault
    there.site(consent_timeout_s=0.1 if wrong == "hangs" else 60.0)
    assert not await there.permits(), "what was last heard of a dissent is not forgotten"


async def test_connection_that_is_not_there_permits_nothing(there: Consulted) -> None:
    there.site(consent_from="gone")
    assert (await there.ask()).rule == "missing"


async def test_site_without_a_registry_knows_what_was_brought_here(there: Consulted) -> None:
    there.site(consent_from="")
    assert (await there.ask()).rule == "mode"
    await bring_in(there.gate, OPERATOR, SITE, [consent_of(ANN)])
    assert await there.permits()
    assert there.registry.asked == []


async def test_each_patient_who_is_named_has_a_say(there: Consulted) -> None:
    assert not await there.permits(ANN, BEN)
    there.registry.said[BEN] = [consent_of(BEN)]
    there.clock.advance(61)
    assert await there.permits(ANN, BEN)
    assert not await there.permits(ANN, "Patient/?")
    there.registry.said["Patient/3"] = [consent_of("Patient/3", "deny")]
    assert (await there.ask(ANN, BEN, "Patient/3")).rule == "Consent/c3#0"


@pytest.mark.parametrize("mode", NEEDING)
async def test_patient_who_cannot_be_told_is_never_permitted(there: Consulted, mode: str) -> None:
    exceptions = ("TREAT",) if mode == "opt-in-with-exceptions" else ()
    there.site(consent=mode, consent_exceptions=exceptions)
    assert not await there.permits("Patient/?")
    there.site(consent_from="")
    assert not await there.permits("Patient/?")


async def test_patients_of_a_search_are_looked_up_in_one_query(
    there: Consulted, monkeypatch: pytest.MonkeyPatch
) -> None:
    patients = [f"Patient/{number}" for number in range(100, 200)]
    for patient in patients[::2]:
        there.registry.said[patient] = [{**consent_of(patient), "id": f"x{patient[8:]}"}]
    first = await consents_of(there.gate, SITE, patients)
    assert len(there.registry.asked) == 100
    queries = 0
    fetch = Database.fetch

    async def counted(database: Database, query: str, *parameters: Any) -> Any:
        nonlocal queries
        queries += 1
        return await fetch(database, query, *parameters)

    monkeypatch.setattr(Database, "fetch", counted)
    again = await consents_of(there.gate, SITE, patients)
    assert (queries, len(there.registry.asked)) == (1, 100)
    assert again == first
    assert [len(each.directives) for each in again] == [1, 0] * 50
    assert await decide_for(there.gate, SITE, CLIENT, [], at=there.clock()) == ()


async def test_registry_that_hangs_holds_a_search_no_longer_than_a_read(
    there: Consulted,
) -> None:
    there.registry.hangs_for = {f"Patient/{number}" for number in range(130, 200)}
    patients = [f"Patient/{number}" for number in range(100, 200)]
    there.site(consent_timeout_s=0.5)
    before = time.monotonic()
    found = await consents_of(there.gate, SITE, patients)
    assert time.monotonic() - before < 5, "0.5 s is what the site allows for it"
    complete = [each.complete for each in found]
    assert not any(complete[30:])
    assert sum(complete[:30]) > 0


async def test_client_is_known_to_consents_by_the_names_that_the_site_gives(
    there: Consulted,
) -> None:
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}  # fmt: skip
    actor = [{"role": role, "reference": {"reference": "Device/9"}}]
    there.registry.said[ANN] = [consent_of(ANN, provision={"type": "permit", "actor": actor})]
    assert not await there.permits()
    there.site(recipients={CLIENT: "Device/9 Device/10", "*": "Organization/1"})
    assert await there.permits()
    config = there.gate.config
    assert actors_of(config, SITE, "other") == {"Organization/1", "client:other"}


async def test_time_zone_of_the_site_settles_when_a_consent_ends(there: Consulted) -> None:
    period = {"end": "2026-06-15"}
    there.registry.said[ANN] = [consent_of(ANN, provision={"type": "permit", "period": period})]
    late = datetime(2026, 6, 15, 21, tzinfo=UTC)
    assert not await there.permits(at=late)
    there.site(time_zone="Europe/Berlin")
    assert await there.permits(at=late)
    assert not await there.permits(at=late.replace(hour=22))


async def test_revocation_holds_at_once_and_moves_the_epoch(there: Consulted) -> None:
    assert await there.permits()
    await revoke(there.gate, OPERATOR, SITE, ANN, reason="asked at the desk")
    asked = len(there.registry.asked)
    answer = await there.ask()
    assert not answer.permitted
    assert "consent was revoked" in answer.sentence
    assert len(there.registry.asked) == asked, "nobody had to be asked for it"
    assert await current_epoch(there.gate.database) > 0
    (event,) = await there.audited("consent.revoke")
    assert (event["agent"], event["patient"], event["site"]) == (OPERATOR.agent, ANN, SITE)
    assert await there.permits(BEN) is False
    later = there.clock.advance(3600)
    there.registry.said[ANN].append({**consent_of(ANN), "id": "c9", "dateTime": later.isoformat()})
    assert await there.permits(), "a consent that is given later"


@pytest.mark.parametrize("mode", [*NEEDING, "not-needed"])
async def test_revocation_holds_in_every_mode_and_whatever_the_registry_does(
    there: Consulted, mode: str
) -> None:
    exceptions = ("TREAT",) if mode == "opt-in-with-exceptions" else ()
    there.site(consent=mode, consent_exceptions=exceptions)
    await revoke(there.gate, NURSE, SITE, ANN, reason="said so")
    assert not await there.permits()
    there.registry.fault = SourceUnreachable("gone")
    there.clock.advance(61)
    assert not await there.permits()
    there.site(consent_from="")
    assert not await there.permits()


@pytest.mark.parametrize(
    ("who", "may_revoke", "may_bring"),
    [
        (OPERATOR, True, True),
        (OLU, True, True),
        (NURSE, True, False),
        (ELSEWHERE, False, False),
        (AGENT, False, False),
    ],
)
async def test_who_may_record_consents(
    there: Consulted, who: Principal, may_revoke: bool, may_bring: bool
) -> None:
    for action, may, act in (
        ("consent.revoke", may_revoke, revoke(there.gate, who, SITE, ANN, reason="x")),
        ("consent.import", may_bring, bring_in(there.gate, who, SITE, [consent_of(ANN)])),
    ):
        if may:
            await act
        else:
            with pytest.raises(Denied, match="staff of the site"):
                await act
        (event,) = await there.audited(action)
        assert (event["outcome"], event["agent"]) == ("success" if may else "denied", who.agent)
    local = await ConsentStore(there.gate.database).local(SITE, ANN)
    assert len(local) == may_revoke + may_bring


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 501])
async def test_revocation_needs_a_reason(there: Consulted, reason: str) -> None:
    with pytest.raises(Invalid, match="say why, in one line"):
        await revoke(there.gate, OPERATOR, SITE, ANN, reason=reason)


@pytest.mark.parametrize("patient", ["7", "Patient/", "Practitioner/7", "Patient/7/8", ""])
async def test_what_is_no_patient_is_refused(there: Consulted, patient: str) -> None:
    with pytest.raises(Invalid, match="name the patient"):
        await revoke(there.gate, OPERATOR, SITE, patient, reason="x")


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        ([], "bring in 1 to 100"),
        ([{"resourceType": "Patient", "id": "1"}], "that is no FHIR Consent"),
        ([consent_of(ANN, status="alive")], "cannot be understood: its status is none of FHIR's"),
        ([{k: v for k, v in consent_of(ANN).items() if k != "id"}], "a Consent needs an id"),
        ([consent_of(ANN, id="a b")], "a Consent needs an id"),
        ([consent_of(ANN, meta={"tag": []})], "leave out meta.tag"),
        ([consent_of("urn:uuid:1")], "name the patient"),
        ([consent_of(ANN), consent_of(ANN)], "two of the consents have one id"),
        ([consent_of(ANN), consent_of(BEN, modifierExtension=[{}])], "a modifier extension"),
    ],
)
async def test_what_cannot_be_brought_in_leaves_nothing(
    there: Consulted, resources: list[Any], sentence: str
) -> None:
    with pytest.raises(Invalid, match=sentence):
        await bring_in(there.gate, OPERATOR, SITE, resources)
    assert await there.audited("consent.import") == []
    assert await ConsentStore(there.gate.database).local(SITE, ANN) == ()


async def test_consent_that_is_brought_in_again_replaces_the_old_one(there: Consulted) -> None:
    there.site(consent_from="")
    await bring_in(there.gate, OPERATOR, SITE, [consent_of(ANN), consent_of(BEN)])
    assert await there.permits(ANN, BEN)
    before = await current_epoch(there.gate.database)
    await bring_in(there.gate, OPERATOR, SITE, [consent_of(ANN, status="inactive")])
    assert not await there.permits(ANN)
    assert await there.permits(BEN)
    assert await current_epoch(there.gate.database) > before > 0


# Attack F-26: the consent store killed, hanging, emptied; what was parsed forgotten.


async def test_store_that_is_gone_gives_no_answer(there: Consulted) -> None:
    assert await there.permits()
    await there.gate.audit.close()
    await there.gate.database.close()
    with pytest.raises(Unavailable):
        await there.ask()


@pytest.mark.parametrize("table", ["consent_state", "consent_local"])
async def test_store_that_hangs_gives_no_answer(
    there: Consulted, database_url: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await there.permits()
    monkeypatch.setattr(consent_lookups, "promptly", lambda: promptly(0.2))
    holding = await asyncpg.connect(database_url)
    try:
        async with holding.transaction():
            await holding.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(Unavailable):
                await there.ask()
    finally:
        await holding.close()
    assert await there.permits()


async def test_answer_that_cannot_be_kept_is_not_used(
    there: Consulted, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another process would not learn that it changed."""
    monkeypatch.setattr(consents, "promptly", lambda: promptly(0.2))
    holding = await asyncpg.connect(database_url)
    try:
        async with holding.transaction():
            await holding.execute("LOCK TABLE consent_state IN SHARE MODE")  # reading goes on
            with pytest.raises(Unavailable):
                await there.ask()
    finally:
        await holding.close()


async def test_emptied_store_permits_nothing_until_it_was_asked_again(there: Consulted) -> None:
    assert await there.permits()
    async with there.gate.database.bookkeeping() as transaction:
        await transaction.execute("DELETE FROM consent_state")
    there.registry.fault = SourceUnreachable("gone")
    assert not await there.permits()
    there.registry.fault = None
    assert await there.permits()


async def test_copy_that_somebody_altered_is_not_believed(there: Consulted) -> None:
    there.registry.said[ANN] = [consent_of(ANN, "deny")]
    there.site(consent="opt-out")
    assert not await there.permits()
    async with there.gate.database.bookkeeping() as transaction:
        await transaction.execute("UPDATE consent_state SET bodies = '{}'")
    assert not await there.permits()
    assert len(there.registry.asked) == 2


class World:
    """What a strict onlooker knows: whether anything may be permitted now."""

    def __init__(self, there: Consulted) -> None:
        self.there = there
        self.heard: str | None = None  # what the registry said last
        self.heard_at = there.clock()
        self.revoked = False

    def may_permit(self, *, answers: bool, says: str) -> bool:
        fresh = (self.there.clock() - self.heard_at).total_seconds() < 60
        if self.heard is None or not fresh:
            if not answers:
                return False
            self.heard, self.heard_at = says, self.there.clock()
        return self.heard == "permit" and not self.revoked


@pytest.mark.parametrize("seed", range(4))
async def test_no_order_of_faults_permits_what_nobody_surely_permitted(
    there: Consulted, seed: int
) -> None:
    chance, world = random.Random(seed), World(there)
    says, permitted, there.registry.wrong = "permit", 0, ""
    for step in range(150):
        match chance.randrange(9):
            case 0:
                there.registry.wrong = chance.choice(["half", "another", "kind"])
            case 1:
                there.registry.fault = SourceUnreachable("gone")
            case 2 | 3:
                there.registry.wrong, there.registry.fault = "", None
            case 4:
                says = chance.choice(["permit", "permit", "deny", "none", "broken"])
            case 5:
                there.clock.advance(chance.choice([1, 30, 61]))
            case 6:
                policy._compiled.cache_clear()
            case 7:
                async with there.gate.database.bookkeeping() as transaction:
                    await transaction.execute("DELETE FROM consent_state")
                world.heard = None
            case 8 if chance.random() < 0.05:
                await revoke(there.gate, OPERATOR, SITE, ANN, reason="drill")
                world.revoked = True
            case _:
                pass
        broken = consent_of(ANN, modifierExtension=[{"url": "u", "valueCode": "x"}])
        there.registry.said = {
            ANN: {"none": [], "broken": [broken]}.get(says, [consent_of(ANN, says)]),
            BEN: [consent_of(BEN)],
        }
        answers = not there.registry.wrong and there.registry.fault is None
        found = await there.permits()
        assert found is world.may_permit(answers=answers, says=says), f"step {step}"
        permitted += found
    assert permitted


async def asked_at(there: Consulted, asked: Asked, *, epoch: int | None) -> bool:
    at = there.clock()
    (answer,) = await decide_for(there.gate, SITE, CLIENT, [asked], at=at, epoch=epoch)
    return answer.permitted


def about(patient: str, at: datetime) -> Asked:
    resource = {"resourceType": "Observation", "id": "o", "subject": {"reference": patient}}
    question = question_about(
        resource,
        patient="",
        purpose="TREAT",
        actors=frozenset(),
        labels=Labels(),
        at=at,
    )
    return Asked(patients=frozenset({patient}), question=question)


async def test_kept_answer_is_given_only_while_nothing_moved(
    there: Consulted, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, epoch = about(ANN, there.clock()), await current_epoch(there.gate.database)
    assert await asked_at(there, asked, epoch=epoch)
    decided: list[str] = []

    def noted(*arguments: Any, **named: Any) -> Any:
        decided.append("again")
        return policy.decide_consent(*arguments, **named)

    monkeypatch.setattr(consents, "decide_consent", noted)
    assert await asked_at(there, asked, epoch=epoch)
    assert decided == []
    assert await asked_at(there, asked, epoch=epoch + 1)
    assert await asked_at(there, asked, epoch=None)
    assert await asked_at(there, about(ANN, there.clock()), epoch=epoch)
    assert len(decided) == 3, "another epoch, none, another question"


async def test_kept_answer_ends_with_the_period_of_the_consent(there: Consulted) -> None:
    end = there.clock() + timedelta(seconds=30)
    period = {"end": end.isoformat(timespec="seconds")}
    there.registry.said[ANN] = [consent_of(ANN, provision={"type": "permit", "period": period})]
    asked, epoch = about(ANN, there.clock()), await current_epoch(there.gate.database)
    assert await asked_at(there, asked, epoch=epoch)
    assert await asked_at(there, asked, epoch=epoch)
    there.clock.advance(32)
    assert not await asked_at(there, asked, epoch=epoch)


async def test_kept_answer_ends_when_the_registry_is_to_be_asked_again(there: Consulted) -> None:
    asked, epoch = about(ANN, there.clock()), await current_epoch(there.gate.database)
    assert await asked_at(there, asked, epoch=epoch)
    assert await asked_at(there, asked, epoch=epoch)
    there.registry.said[ANN] = [consent_of(ANN, "deny")]
    there.clock.advance(59)
    assert await asked_at(there, asked, epoch=epoch)
    there.clock.advance(1)
    assert not await asked_at(there, asked, epoch=epoch)
    assert await current_epoch(there.gate.database) > epoch
