"""The roster: who has a worklist at some moment, and where work goes that nobody takes."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from chartgate.errors import ConfigError
from chartgate.model.roster import EscalationStep, Roster, Target
from chartgate.policy.roster import escalated, parse_roster, roster_notes, routed, steps_of
from tests.flows.clinics import sample_charter

ROSTER = b"""
zone: Europe/Berlin
holidays: [2026-12-25]
worklists:
  front-desk:
    on_call:
      - {days: [holiday], worklist: duty-nurse}
      - {days: [mon, tue, wed, thu, fri], from: "07:00", to: "18:00", person: dana}
      - {worklist: night-desk}
    escalate:
      - {after: 10m, to: charge-nurse}
      - {after: 5m, person: dr-osei}
  night-desk:
    on_call: [{person: emre}]
"""
NOON = datetime(2026, 11, 20, 11, tzinfo=UTC)  # a Friday
NIGHT = datetime(2026, 11, 20, 22, tzinfo=UTC)
CHRISTMAS = datetime(2026, 12, 25, 11, tzinfo=UTC)
ALL = ("front-desk", "night-desk", "duty-nurse", "charge-nurse")


@pytest.fixture(scope="module")
def roster() -> Roster:
    return parse_roster(ROSTER)


def test_first_entry_that_covers_the_moment_says_who_has_it(roster: Roster) -> None:
    def route(at: datetime) -> Target:
        return routed(roster, "front-desk", at, allowed=ALL)

    assert route(NOON) == Target(worklist="front-desk", person="dana")
    assert route(NIGHT) == Target(worklist="night-desk", person="emre")
    assert route(CHRISTMAS) == Target(worklist="duty-nurse")
    assert routed(roster, "authorisations", NOON, allowed=ALL) == Target(worklist="authorisations")
    assert routed(Roster(), "front-desk", NIGHT, allowed=ALL) == Target(worklist="front-desk")


def test_work_is_never_sent_where_the_charter_lets_nobody_see_it(roster: Roster) -> None:
    assert routed(roster, "front-desk", NIGHT, allowed=("front-desk",)).worklist == "front-desk"
    step = EscalationStep(after_s=1, target=Target(worklist="charge-nurse"))
    there = escalated(roster, step, "front-desk", NOON, allowed=("front-desk",))
    assert there == Target(worklist="front-desk", person="dana")


def test_step_leads_to_a_worklist_by_its_own_hours_or_to_a_person(roster: Roster) -> None:
    first, second = steps_of(roster, sample_charter("clinic-booking").proposes["book"])
    assert (first.after_s, second.after_s) == (600, 300)
    assert escalated(roster, first, "front-desk", NOON, allowed=ALL) == Target(
        worklist="charge-nurse"
    )
    assert escalated(roster, second, "charge-nurse", NOON, allowed=ALL) == Target(
        worklist="charge-nurse", person="dr-osei"
    )


def test_charters_own_chain_comes_before_the_rosters(roster: Roster) -> None:
    own = (EscalationStep(after_s=60, target=Target(worklist="elsewhere")),)
    action = replace(sample_charter("clinic-booking").proposes["book"], handoff_escalate=own)
    assert steps_of(roster, action) == own
    assert action.worklists == ("front-desk", "elsewhere")


def test_worklists_that_have_one_another_end_somewhere() -> None:
    round_and_round = parse_roster(
        b"zone: UTC\nworklists:\n  a: {on_call: [{worklist: b}]}\n  b: {on_call: [{worklist: a}]}\n"
    )
    assert routed(round_and_round, "a", NOON, allowed=("a", "b")).worklist == "b"


def test_names_that_no_charter_knows_are_said(roster: Roster) -> None:
    charter = sample_charter("clinic-booking")
    notes = roster_notes(roster, {charter.name: charter})
    assert [n.split(";")[0].split(":")[-1].strip() for n in notes] == [
        "no charter names the worklist charge-nurse",
        "no charter names the worklist duty-nurse",
        "no charter names the worklist night-desk",
    ]
    assert roster_notes(Roster(), {charter.name: charter}) == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "must be a mapping"),
        ("zone: UTC", "must be a mapping"),
        ("worklists: {}", "zone must be one that is known"),
        ("zone: Nowhere\nworklists: {}", "zone must be one that is known"),
        (
            "zone: UTC\nholiday: []\nworklists: {}",
            "there is no key holiday; did you mean holidays?",
        ),
        ("zone: UTC\nworklists: {a: []}", "worklists.a must have the keys on_call or escalate"),
        ("zone: UTC\nworklists: {a: {oncall: []}}", "did you mean on_call?"),
        ("zone: UTC\nworklists: {a: {on_call: {}}}", "worklists.a.on_call must be a list"),
        ("zone: UTC\nworklists: {a: {on_call: [{}]}}", "on_call[0] needs worklist or person"),
        ("zone: UTC\nworklists: {a: {on_call: [{person: 7}]}}", "needs worklist or person"),
        ("zone: UTC\nworklists: {a: {on_call: [{worklist: a}]}}", "it names itself"),
        ('zone: UTC\nworklists: {a: {on_call: [{from: "7", person: x}]}}', "must be times"),
        ("zone: UTC\nworklists: {a: {escalate: [{to: b}]}}", "after must be a duration"),
        ("zone: UTC\nworklists: {a: {escalate: [{after: 10m}]}}", "escalate[0] needs to or person"),
        ("zone: UTC\nzone: UTC\nworklists: {}", "stands twice"),
    ],
)
def test_wrong_roster_is_refused_with_what_to_mend(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_roster(text.encode(), file="policies/roster.yaml")
    assert sentence in str(raised.value)
    assert str(raised.value).startswith("policies/roster.yaml")


def test_every_mistake_is_said_at_once() -> None:
    body: Any = "zone: X\nworklists: {a: {on_call: [{}], escalate: [{after: soon, to: b}]}}"
    with pytest.raises(ConfigError) as raised:
        parse_roster(body.encode())
    assert len(str(raised.value).splitlines()) == 3
