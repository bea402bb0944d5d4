"""Each key of a charter arrives where it is read; left out, it means what the reference says."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from chartgate.errors import ConfigError
from chartgate.model.charter import Charter, ReadRule, Stage
from chartgate.model.roster import Calendar
from chartgate.policy.charters import parse_charter

MODEL = b'model: finder\nversion: "2.1"\nattributes: {(B)(1)(i): us}\n'
LEAST = """
charter: least
revision: 7
purpose_of_use: TREAT
sites: {north-clinic: north-ehr}
clients: [finder]
model: models/finder.yaml
reads:
  Patient: {elements: [name]}
rollout: [{stage: full}]
"""
PROPOSES = """
proposes:
  tell:
    writes: [create Communication]
    review: {by: nurse, within: 1h}
    otherwise: {handoff: front-desk, within: 2h}
"""


def parsed(text: str) -> Charter:
    return parse_charter(text.encode(), file="a.yaml", read_model=lambda _: MODEL)


def action(**more: str) -> Any:
    """What it proposes, with more said in `review`, in `otherwise` or beside them (`rule`)."""
    text = PROPOSES
    for place, said in more.items():
        if place == "rule":
            text += f"    {said}\n"
        else:
            begin, _, rest = text.partition(f"{place}: {{")
            text = f"{begin}{place}: {{{said}, {rest}"
    return parsed(LEAST + text).proposes["tell"]


# What is left out.


def test_charter_of_only_what_it_needs_proposes_nothing_and_has_no_limits() -> None:
    charter = parsed(LEAST)
    assert (charter.name, charter.revision) == ("least", 7)
    assert (charter.model_name, charter.model_version) == ("finder", "2.1")
    assert (charter.proposes, charter.events, charter.hours) == ({}, (), None)
    assert (charter.budgets, charter.halt_when, charter.retention_s) == ({}, {}, {})
    assert (charter.official_process, charter.data_use_agreement) == (None, "")
    assert charter.reads == {"Patient": ReadRule(elements=("name",))}
    assert charter.rollout == (Stage(name="full"),)
    assert (charter.rollout[0].for_s, charter.rollout[0].share) == (0, 1)


def test_read_that_says_no_more_asks_live_refuses_when_away_and_searches_nothing() -> None:
    """The strictest of each, so that a forgotten key shows less."""
    rule = parsed(LEAST).reads["Patient"]
    assert (rule.fresh_s, rule.when_unreachable) == (0, "refuse")
    assert (rule.search, rule.relationship, rule.sensitive) == ((), (), ())
    assert (rule.text, rule.view, rule.extensions, rule.identifiers) == (
        "keep",
        "identified",
        None,
        None,
    )


def test_action_of_only_what_it_needs_asks_one_person_for_each_proposal() -> None:
    told = action()
    assert (told.guards, told.rules, told.fixed, told.never) == ((), (), (), ())
    assert (told.values, told.links, told.limits, told.through) == ((), (), {}, {})
    assert told.provenance is False
    assert told.on_conflict == "review"
    assert (told.review_by, told.review_within_s, told.auto) == ("nurse", 3_600, None)
    assert (told.review_people, told.review_roles, told.review_acknowledge) == (1, (), ())
    assert (told.review_relationship, told.review_each) == ((), False)
    assert (told.review_dwell_s, told.review_seeds) == (0, 0)


def test_action_of_only_what_it_needs_hands_off_nothing_for_its_confidence() -> None:
    told = action()
    assert (told.handoff_to, told.handoff_within_s, told.handoff_below) == ("front-desk", 7_200, 0)
    assert (told.handoff_as, told.handoff_code, told.handoff_priority) == ("console", "", "routine")
    assert (told.handoff_when, told.handoff_worklists, told.handoff_escalate) == ((), (), ())


# What is said.


@pytest.mark.parametrize(
    ("said", "name", "meant"),
    [
        ("search: [name, _id]", "search", ("name", "_id")),
        ("fresh: 12h", "fresh_s", 43_200),
        ("when_unreachable: stale", "when_unreachable", "stale"),
        ("when_unreachable: refuse", "when_unreachable", "refuse"),
        ("relationship: [encounter, care-team]", "relationship", ("encounter", "care-team")),
        ("sensitive: [PSY, R]", "sensitive", ("PSY", "R")),
        ("text: cut", "text", "cut"),
        ("extensions: [http://x/race]", "extensions", ("http://x/race",)),
        ("identifiers: [http://npi]", "identifiers", ("http://npi",)),
        ("view: safe-harbor", "view", "safe-harbor"),
    ],
)
def test_key_of_a_read_has_its_meaning(said: str, name: str, meant: Any) -> None:
    rule = parsed(LEAST.replace("[name]}", f"[name], {said}}}")).reads["Patient"]
    assert getattr(rule, name) == meant


@pytest.mark.parametrize(
    ("place", "said", "name", "meant"),
    [
        ("review", "relationship: [appointment]", "review_relationship", ("appointment",)),
        ("review", "each: true", "review_each", True),
        ("review", "dwell: 20s", "review_dwell_s", 20),
        ("review", "seeds: 2%", "review_seeds", 0.02),
        ("review", "seeds: 0.15", "review_seeds", 0.15),
        ("review", "acknowledge: [payload]", "review_acknowledge", ("payload",)),
        ("rule", "rules: [same-patient]", "rules", ("same-patient",)),
        ("rule", "through: {north-clinic: engine}", "through", {"north-clinic": "engine"}),
        ("rule", "provenance: true", "provenance", True),
        ("rule", "never: [Communication.sent]", "never", ("Communication.sent",)),
        (
            "rule",
            "fixed: {Communication.status: completed}",
            "fixed",
            (("Communication.status", "completed"),),
        ),
        ("rule", "links: [https://x.example/]", "links", ("https://x.example/",)),
        ("rule", "limits: {changes: 2}", "limits", {"changes": 2}),
        ("rule", "on_conflict: hand-off", "on_conflict", "hand-off"),
        ("otherwise", "priority: urgent", "handoff_priority", "urgent"),
        ("otherwise", "as: task", "handoff_as", "task"),
    ],
)
def test_key_of_an_action_has_its_meaning(place: str, said: str, name: str, meant: Any) -> None:
    assert getattr(action(**{place: said}), name) == meant


@pytest.mark.parametrize(
    ("said", "name", "meant"),
    [
        ("budgets: {patients_per_hour: 9}", "budgets", {"patients_per_hour": 9}),
        ("events: [SIU^S12]", "events", ("SIU^S12",)),
        ('halt_when: {n: "> 1"}', "halt_when", {"n": "> 1"}),
        ("retention: {payload: 2d}", "retention_s", {"payload": 172_800}),
        ("official_process: visit.bpmn", "official_process", "visit.bpmn"),
        ("data_use_agreement: DUA-1", "data_use_agreement", "DUA-1"),
    ],
)
def test_key_of_a_charter_has_its_meaning(said: str, name: str, meant: Any) -> None:
    assert getattr(parsed(LEAST + said), name) == meant


def test_hours_are_those_of_its_own_zone_and_holidays() -> None:
    """A clinic that is closed on Christmas in Berlin is open on it in no other zone."""
    hours = parsed(LEAST + "hours: {zone: Europe/Berlin, holidays: [2026-12-25]}").hours
    assert hours is not None
    assert hours.calendar == Calendar(
        zone=ZoneInfo("Europe/Berlin"), holidays=frozenset({"2026-12-25"})
    )
    open_then = parsed(LEAST + "hours: {zone: Europe/Berlin}").hours
    assert open_then is not None
    assert open_then.calendar == Calendar(zone=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize("said", [">= 0.90", ">=0.90"])
def test_gate_of_a_stage_is_read_with_or_without_a_space(said: str) -> None:
    text = LEAST.replace("{stage: full}", f'{{stage: full, for: 2d, gate: {{n: "{said}"}}}}')
    stage = parsed(text).rollout[0]
    assert (stage.gate, stage.for_s) == ((("n", ">= 0.90"),), 172_800)


# What cannot be read.


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            FileNotFoundError(2, "No such file", "/srv/models/a.yaml"),
            "cannot be read: No such file",
        ),
        (OSError("outside of the charters"), "cannot be read: outside of the charters"),
    ],
)
def test_model_file_that_cannot_be_read_is_named_as_the_charter_names_it(
    error: OSError, said: str
) -> None:
    """Without the path on the machine, which says nothing to who wrote the charter."""

    def read_model(name: str) -> bytes:
        raise error

    with pytest.raises(ConfigError) as caught:
        parse_charter(LEAST.encode(), file="a.yaml", read_model=read_model)
    assert str(caught.value) == f"a.yaml: model: models/finder.yaml {said}"


def test_mistakes_stand_on_a_line_each_with_the_file() -> None:
    def read_model(name: str) -> bytes:
        raise OSError(2, "No such file")

    with pytest.raises(ConfigError) as caught:
        parse_charter(
            LEAST.replace("[finder]", "[]").encode(), file="a.yaml", read_model=read_model
        )
    assert str(caught.value).split("\n") == [
        "a.yaml: clients must not be empty",
        "a.yaml: model: models/finder.yaml cannot be read: No such file",
    ]
