"""Two people for what weakens a rule, on a real store."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

import chartgate
from chartgate.config import ClientConfig, Config, ConnectionConfig, PeopleConfig
from chartgate.errors import ConfigError, Denied, InvalidTransition, NotFound
from chartgate.flows import changes, charters, halts
from chartgate.gate import Gate, Running
from chartgate.model.principal import Client, Person, Principal, Process
from chartgate.store.audit import AuditWriter
from chartgate.store.changes import Change, ChangeStore
from chartgate.store.database import Database
from chartgate.store.stages import StageStore
from chartgate.testing.clock import FakeClock

SAMPLES = Path(chartgate.__file__).parent / "cli" / "samples"
SITES = ("north-clinic",)
ADA = Person(id="ada", roles=("administrator",), sites=SITES)
PIA = Person(id="pia", roles=("privacy-officer",), sites=SITES)
SOFIA = Person(id="sofia", roles=("scheduler", "operator"), sites=SITES)
WORKER = Process(id="cli/root")
PICKER = Client(id="slot-picker", charter="clinic-booking")
ELEMENTS = "[name, birthDate, telecom, communication]"
MORE = "[name, birthDate, telecom, communication, address]"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for name in ("charters", "models"):
        shutil.copytree(SAMPLES / name, tmp_path / name)
    clients = ("slot-picker", "scribe", "auth-clerk")
    return Config(
        folder=tmp_path,
        charters_dir=tmp_path / "charters",
        people=PeopleConfig(two_people="required"),
        connections={"north-ehr": ConnectionConfig(name="north-ehr", adapter="fhir_r4")},
        clients={n: ClientConfig(name=n, jwks_file="x") for n in clients},
    )


@pytest.fixture
async def audit(database: Database) -> AsyncIterator[AuditWriter]:
    writer = AuditWriter(database)
    await writer.start()
    yield writer
    await writer.close()


@pytest.fixture
def gate(config: Config, database: Database, clock: FakeClock, audit: AuditWriter) -> Gate:
    return opened(config, database, clock, audit)


def opened(config: Config, database: Database, clock: FakeClock, audit: AuditWriter) -> Gate:
    """A process that has just started on the files as they are."""
    return Gate(
        config=config,
        clock=clock,
        database=database,
        audit=audit,
        running=Running(charters=charters.load_book(config)),
        sources={},
        sinks={},
    )


def again(gate: Gate) -> Gate:
    """Another process on the same store, or this one after a new start."""
    running = Running(charters=charters.load_book(gate.config))
    return replace(gate, running=running)


def change_booking(gate: Gate, old: str, new: str) -> None:
    path = gate.config.charters_dir / "clinic-booking.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


async def looks(gate: Gate) -> None:
    """Looks until a look finds nothing to do."""
    await charters.watch(gate)
    while gate.running.stamps == ():
        await charters.watch(gate)


def shown(gate: Gate) -> tuple[str, ...]:
    return gate.charters.get("clinic-booking").reads["Patient"].elements


async def waiting(gate: Gate) -> Change:
    found = [c for c in await changes.listed(gate, ADA) if c.status == "waiting"]
    assert len(found) == 1, found
    return found[0]


async def events(gate: Gate, action: str) -> list[dict[str, Any]]:
    rows = await gate.database.fetch(
        "SELECT body FROM audit_event WHERE tenant = $1 AND action = $2 ORDER BY id", action
    )
    return [orjson.loads(row["body"]) for row in rows]


async def weakened(gate: Gate) -> Change:
    """The first charters run, and their files ask for more."""
    await looks(gate)
    change_booking(gate, ELEMENTS, MORE)
    await looks(gate)
    return await waiting(gate)


async def test_reload_when_it_weakens_then_the_old_charters_run_on_and_it_is_told_once(
    gate: Gate,
) -> None:
    change = await weakened(gate)
    assert "address" not in shown(gate)
    assert change.sentences == ("clinic-booking: reads.Patient.elements has more: address",)
    await looks(again(gate))
    await charters.watch(gate)
    told = await events(gate, "change.await")
    assert len(told) == 1
    assert told[0]["entities"] == [f"Change/{change.digest}"]
    assert "has more: address" in told[0]["reason"]


async def test_reload_when_two_people_approved_it_then_it_runs_everywhere(gate: Gate) -> None:
    change = await weakened(gate)
    other = again(gate)
    await charters.settle(other)
    assert "address" not in shown(other)
    await changes.approve(gate, ADA, change.digest)
    await looks(gate)
    assert "address" not in shown(gate)
    approved = await changes.approve(gate, PIA, change.digest)
    assert (approved.status, approved.approved_by) == ("approved", ("person:ada", "person:pia"))
    await looks(gate)
    await looks(other)
    assert "address" in shown(gate)
    assert "address" in shown(other)
    assert (await changes.show(gate, ADA, change.digest)).status == "adopted"
    assert len(await events(gate, "change.adopt")) == 1
    assert [e["agent"] for e in await events(gate, "change.approve")] == [
        "person:ada",
        "person:pia",
    ]


async def test_approval_when_one_person_gives_it_twice_then_it_counts_once(gate: Gate) -> None:
    change = await weakened(gate)
    await changes.approve(gate, ADA, change.digest)
    assert (await changes.approve(gate, ADA, change.digest)).status == "waiting"
    promoted = replace(ADA, roles=("privacy-officer", "administrator"))
    assert (await changes.approve(gate, promoted, change.digest)).status == "waiting"


@pytest.mark.parametrize("who", [SOFIA, WORKER, PICKER])
async def test_approval_when_somebody_without_the_office_gives_it_then_it_is_denied_and_audited(
    gate: Gate, who: Principal
) -> None:
    change = await weakened(gate)
    for verb in (
        changes.approve(gate, who, change.digest),
        changes.refuse(gate, who, change.digest, reason="no"),
        changes.listed(gate, who),
        changes.show(gate, who, change.digest),
    ):
        with pytest.raises(Denied):
            await verb
    assert [e["outcome"] for e in await events(gate, "change.approve")] == ["denied"]
    assert (await waiting(gate)).approved_by == ()


async def test_approval_when_a_second_factor_is_required_then_one_without_it_does_not_count(
    gate: Gate,
) -> None:
    change = await weakened(gate)
    people = replace(gate.config.people, mfa="required")
    strict = replace(gate, config=replace(gate.config, people=people))
    with pytest.raises(Denied, match="second factor"):
        await changes.approve(strict, ADA, change.digest)
    await changes.approve(strict, replace(ADA, mfa=True), change.digest)


async def test_approval_when_the_files_change_after_it_then_it_is_for_nothing_else(
    gate: Gate,
) -> None:
    change = await weakened(gate)
    await changes.approve(gate, ADA, change.digest)
    await changes.approve(gate, PIA, change.digest)
    change_booking(gate, "fresh: 5m", "fresh: 6m")
    await looks(gate)
    assert "address" not in shown(gate)
    other = await waiting(gate)
    assert other.digest != change.digest
    assert any("fresh_s was raised" in sentence for sentence in other.sentences)


async def test_approval_when_the_same_files_come_back_later_then_it_is_used_up(
    gate: Gate,
) -> None:
    """An old weak set of files, put back after it was tightened, is not the approved change."""
    change = await weakened(gate)
    for person in (ADA, PIA):
        await changes.approve(gate, person, change.digest)
    await looks(gate)
    assert "address" in shown(gate)
    change_booking(gate, MORE, ELEMENTS)
    await looks(gate)
    assert "address" not in shown(gate)
    change_booking(gate, ELEMENTS, MORE)
    await looks(gate)
    assert "address" not in shown(gate)
    assert (await waiting(gate)).digest != change.digest


async def test_change_when_it_lapses_then_it_can_be_approved_no_more_and_is_asked_for_anew(
    gate: Gate, clock: FakeClock
) -> None:
    change = await weakened(gate)
    await changes.approve(gate, ADA, change.digest)
    clock.advance(3600 * gate.config.people.change_within_h)
    with pytest.raises(InvalidTransition, match="lapsed"):
        await changes.approve(gate, PIA, change.digest)
    await looks(gate)
    assert "address" not in shown(gate)
    assert (await waiting(gate)).approved_by == ()
    assert (await changes.approve(gate, PIA, change.digest)).status == "waiting"


async def test_change_when_it_was_approved_and_lapsed_then_it_is_not_adopted(
    gate: Gate, clock: FakeClock
) -> None:
    change = await weakened(gate)
    for person in (ADA, PIA):
        await changes.approve(gate, person, change.digest)
    clock.advance(3600 * gate.config.people.change_within_h)
    await looks(gate)
    assert "address" not in shown(gate)


async def test_change_when_one_person_refuses_it_then_it_is_over(gate: Gate) -> None:
    change = await weakened(gate)
    await changes.approve(gate, ADA, change.digest)
    await changes.refuse(gate, PIA, change.digest, reason="why would it need an address")
    with pytest.raises(InvalidTransition, match="is refused"):
        await changes.approve(gate, PIA, change.digest)
    await looks(gate)
    assert "address" not in shown(gate)
    assert (await events(gate, "change.refuse"))[0]["reason"] == "why would it need an address"


async def test_change_when_it_is_not_there_then_it_is_not_found(gate: Gate) -> None:
    with pytest.raises(NotFound):
        await changes.approve(gate, ADA, "0" * 64)


async def test_reload_when_it_restricts_then_it_runs_at_once(gate: Gate) -> None:
    await looks(gate)
    change_booking(gate, ELEMENTS, "[name]")
    await looks(gate)
    assert shown(gate) == ("name",)
    assert await changes.listed(gate, ADA) == ()


async def test_reload_when_a_policy_goes_then_it_waits(gate: Gate) -> None:
    policies = gate.config.folder / "policies"
    policies.mkdir()
    forbid = policies / "hours.cedar"
    forbid.write_text('@id("hours") @sentence("closed") forbid (principal, action, resource);')
    again_ = again(gate)
    await looks(again_)
    forbid.unlink()
    await looks(again_)
    assert "hours" in again_.charters.rulebook.forbids
    assert (await waiting(again_)).sentences == ("the policy hours is gone",)


async def test_start_when_the_files_are_weaker_than_what_was_adopted_then_that_runs_on(
    gate: Gate,
) -> None:
    await looks(gate)
    change_booking(gate, ELEMENTS, MORE)
    restarted = again(gate)
    assert "address" in shown(restarted)
    await charters.settle(restarted)
    assert "address" not in shown(restarted)
    change = await waiting(restarted)
    for person in (ADA, PIA):
        await changes.approve(gate, person, change.digest)
    await looks(restarted)
    assert "address" in shown(restarted)


async def test_start_when_what_was_adopted_fits_no_more_then_it_says_what_to_do(
    gate: Gate,
) -> None:
    await looks(gate)
    change_booking(gate, ELEMENTS, MORE)
    clients = dict(gate.config.clients)
    del clients["scribe"]
    (gate.config.charters_dir / "visit-note.yaml").unlink()
    restarted = again(replace(gate, config=replace(gate.config, clients=clients)))
    with pytest.raises(ConfigError, match="do not fit"):
        await charters.settle(restarted)


async def test_reload_when_two_people_are_not_asked_for_then_it_runs_at_once(
    gate: Gate,
) -> None:
    loose = replace(gate, config=replace(gate.config, people=PeopleConfig()))
    await looks(loose)
    change_booking(loose, ELEMENTS, MORE)
    await looks(loose)
    assert "address" in shown(loose)


async def test_stage_when_it_goes_forward_then_two_others_than_who_asked_approve(
    gate: Gate,
) -> None:
    await looks(gate)
    who = replace(SOFIA, roles=("operator", "administrator"))
    change = await halts.set_stage(gate, who, "clinic-booking", "full")
    assert change is not None
    stages, charter = StageStore(gate.database), gate.charters.get("clinic-booking")
    assert await stages.current(charter) == "shadow"
    with pytest.raises(Denied, match="does not approve it"):
        await changes.approve(gate, who, change.digest)
    await changes.approve(gate, ADA, change.digest)
    assert await stages.current(charter) == "shadow"
    assert (await changes.approve(gate, PIA, change.digest)).status == "adopted"
    assert await stages.current(charter) == "full"
    assert (await events(gate, "charter.promote"))[-1]["reason"] == "full"


async def test_stage_when_it_was_set_since_then_the_old_approval_moves_nothing(
    gate: Gate,
) -> None:
    await looks(gate)
    change = await halts.set_stage(gate, WORKER, "clinic-booking", "full")
    assert change is not None
    await changes.approve(gate, ADA, change.digest)
    assert await halts.set_stage(gate, WORKER, "clinic-booking", "shadow") is None
    with pytest.raises(InvalidTransition, match="set since"):
        await changes.approve(gate, PIA, change.digest)
    asked_anew = await halts.set_stage(gate, WORKER, "clinic-booking", "full")
    assert asked_anew is not None
    assert (asked_anew.digest == change.digest, asked_anew.status) == (False, "waiting")


def loosened(gate: Gate) -> Gate:
    people = replace(gate.config.people, two_people="off", break_glass_minutes_max=90)
    return replace(gate, config=replace(gate.config, people=people))


async def test_settings_when_they_are_weaker_at_a_start_then_it_does_not_start(
    gate: Gate,
) -> None:
    """Turning two people off needs two people, too."""
    await changes.settle_config(gate)
    weaker = loosened(gate)
    with pytest.raises(ConfigError, match="two people must approve it") as caught:
        await changes.settle_config(weaker)
    assert "[people] two_people is off, and was required" in str(caught.value)
    change = await waiting(gate)
    assert change.digest in str(caught.value)
    for person in (ADA, PIA):
        await changes.approve(gate, person, change.digest)
    await changes.settle_config(weaker)
    adopted = await ChangeStore(gate.database).adopted("config")
    assert adopted is not None
    assert adopted.serial == 2


async def test_settings_when_a_process_brings_its_own_then_those_adopted_still_bind(
    gate: Gate,
) -> None:
    """A looser chartgate.toml beside the real one moves no stage, adopts no charter, and spares
    nobody the second factor."""
    people = replace(gate.config.people, mfa="required")
    gate = replace(gate, config=replace(gate.config, people=people))
    await changes.settle_config(gate)
    await looks(gate)
    own = replace(gate, config=replace(gate.config, people=PeopleConfig()))
    change = await halts.set_stage(own, WORKER, "clinic-booking", "full")
    assert change is not None
    with pytest.raises(Denied, match="second factor"):
        await changes.approve(own, ADA, change.digest)
    change_booking(own, ELEMENTS, MORE)
    own = again(own)
    await charters.settle(own)
    assert "address" not in shown(own)
    await looks(own)
    assert "address" not in shown(own)


async def test_settings_when_the_weaker_ones_come_back_then_the_approval_is_used_up(
    gate: Gate,
) -> None:
    weaker = replace(
        gate,
        config=replace(gate.config, people=replace(gate.config.people, break_glass_per_day=9)),
    )
    await changes.settle_config(gate)
    with pytest.raises(ConfigError):
        await changes.settle_config(weaker)
    change = await waiting(gate)
    for person in (ADA, PIA):
        await changes.approve(gate, person, change.digest)
    await changes.settle_config(weaker)
    await changes.settle_config(gate)
    with pytest.raises(ConfigError):
        await changes.settle_config(weaker)
    assert (await waiting(gate)).digest != change.digest


async def test_settings_when_they_are_as_strict_then_they_are_adopted_and_audited(
    gate: Gate,
) -> None:
    await changes.settle_config(gate)
    web = replace(gate.config.web, port=1, session_idle_s=60.0)
    for _ in range(2):
        await changes.settle_config(replace(gate, config=replace(gate.config, web=web)))
    assert len(await events(gate, "config.adopt")) == 2
    port = replace(gate.config.web, port=2, session_idle_s=60.0)
    await changes.settle_config(replace(gate, config=replace(gate.config, web=port)))
    assert len(await events(gate, "config.adopt")) == 2
