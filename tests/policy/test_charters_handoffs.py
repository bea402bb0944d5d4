"""What a charter says of handing work to staff: parsed, checked, and what of it weakens a rule."""

from typing import Any

import pytest

from chartgate.errors import ConfigError
from chartgate.model.charter import Charter
from chartgate.model.decision import Request
from chartgate.model.principal import Person
from chartgate.model.roster import Hours, Target
from chartgate.policy.charters import compile_book
from chartgate.policy.decide import decide
from chartgate.policy.weakening import weakenings
from tests.flows.clinics import SITE, sample_charter

OTHERWISE = "{handoff: front-desk, within: 30m, below: 0.60}"
EVENTS = "events: ["


def charter(more: str = "", *, hours: str = "") -> Charter:
    change = [(OTHERWISE, OTHERWISE[:-1] + (f", {more}" if more else "") + "}")]
    if hours:
        change.append((EVENTS, f"hours: {hours}\n{EVENTS}"))
    parsed: Charter = sample_charter("clinic-booking", change=change)
    return parsed


def weaker(before: Charter, after: Charter) -> list[str]:
    return list(weakenings(compile_book([before]), compile_book([after])))


def test_left_out_keys_are_as_they_were() -> None:
    action = charter().proposes["book"]
    assert (action.handoff_as, action.handoff_when, action.handoff_escalate) == ("console", (), ())
    assert (action.worklists, charter().hours) == (("front-desk",), None)


def test_every_key_has_its_meaning() -> None:
    action = charter(
        "as: task, priority: stat, code: 'urn:x|y', when: [invalid], worklists: [night-desk],"
        " escalate: [{after: 10m, to: charge-nurse}, {after: 1h, person: dr-osei}]"
    ).proposes["book"]
    assert (action.handoff_as, action.handoff_priority) == ("task", "stat")
    assert (action.handoff_code, action.handoff_when) == ("urn:x|y", ("invalid",))
    assert [(s.after_s, s.target) for s in action.handoff_escalate] == [
        (600, Target(worklist="charge-nurse")),
        (3_600, Target(person="dr-osei")),
    ]
    assert action.worklists == ("front-desk", "night-desk", "charge-nurse")
    hours = charter(hours='{zone: Europe/Berlin, days: [mon], from: "07:00"}').hours
    assert hours is not None
    assert hours.hours == Hours(days=("mon",), begin=420, end=1_440)


@pytest.mark.parametrize("role", ["front-desk", "night-desk", "charge-nurse", "scheduler"])
@pytest.mark.parametrize("verb", ["take", "close", "show"])
def test_who_may_get_the_work_may_see_and_do_it_and_decide_nothing(role: str, verb: str) -> None:
    more = "worklists: [night-desk], escalate: [{after: 10m, to: charge-nurse}]"
    book = compile_book([charter(more)])

    def may(action: str, role: str, site: str = SITE) -> bool:
        person = Person(id="p", roles=(role,), sites=(SITE,))
        asked = Request(
            principal=person, action=action, charter="clinic-booking", site=site, proposes="book"
        )
        return decide(book, asked).permitted

    assert may(verb, role)
    assert not may(verb, role, "south-clinic")
    assert role == "scheduler" or not may("review", role)
    assert not may(verb, "authorisations")
    before = compile_book([charter()])
    nobody = Person(id="p", roles=("night-desk",), sites=(SITE,))
    asked = Request(
        principal=nobody, action=verb, charter="clinic-booking", site=SITE, proposes="book"
    )
    assert not decide(before, asked).permitted


@pytest.mark.parametrize(
    ("more", "hours", "sentence"),
    [
        ("as: sharepoint", "", "as"),
        ("priority: now", "", "priority"),
        ("code: fulfill", "", "code"),
        ("when: [tired]", "", "when"),
        ("escalate: []", "", "escalate"),
        ("escalate: [{after: 10m}]", "", "escalate"),
        ("escalate: [{to: a}]", "", "after"),
        ("escalate: [{after: soon, to: a}]", "", "after"),
        ("", "{days: [mon]}", "zone is missing"),
        ("", "{zone: Nowhere}", "hours: zone must be one that is known"),
        ("", "{zone: UTC, days: [someday]}", "days"),
        ("", '{zone: UTC, from: "08:00", to: "08:00"}', "leave no time"),
        ("", "{zone: UTC, holidays: [2026-02-30]}", "holidays must be dates"),
    ],
)
def test_what_could_not_be_meant_is_refused(more: str, hours: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        charter(more, hours=hours)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("", "as: task", "handoff_as is wider: task instead of console"),
        ("", "when: [invalid]", "handoff_when has more: invalid"),
        ("", "worklists: [night-desk]", "handoff_worklists has more: night-desk"),
        ("", "escalate: [{after: 10m, to: a}]", "handoff_escalate was changed"),
        ("escalate: [{after: 10m, to: a}]", "", "handoff_escalate was changed"),
    ],
)
def test_what_gives_more_waits_for_two_people(before: str, after: str, sentence: str) -> None:
    (found,) = weaker(charter(before), charter(after))
    assert sentence in found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("as: task", ""),
        ("when: [invalid]", ""),
        ("worklists: [a]", ""),
        ("priority: stat", "code: 'urn:x|y'"),
    ],
)
def test_what_takes_away_or_gives_no_right_waits_for_nobody(before: str, after: str) -> None:
    assert weaker(charter(before), charter(after)) == []


def test_hours_restrict_where_there_were_none_and_weaken_where_they_change() -> None:
    some: dict[str, Any] = {"hours": "{zone: UTC, days: [mon]}"}
    assert weaker(charter(), charter(**some)) == []
    assert weaker(charter(**some), charter()) == ["clinic-booking: hours was changed"]
    assert weaker(charter(**some), charter(hours="{zone: UTC}")) == [
        "clinic-booking: hours was changed"
    ]
