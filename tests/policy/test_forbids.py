"""Forbid files: what is read from them, which questions they can touch, and what is no forbid."""

import json
from typing import Any

import cedarpy
import pytest

from chartgate.errors import ConfigError
from chartgate.policy.forbids import (
    ACTIONS,
    EVERYWHERE,
    MAYBE_KNOWN,
    ONLY_BY_NAME,
    READ_ACTIONS,
    WORK_ACTIONS,
    Forbid,
    ForbidFile,
    guard_id,
    parse_forbids,
    policy_set,
    unknown_keys,
)

OURS = ("chartgate/own-proposal", "chartgate/second-factor", "chartgate/clients-never-decide")
ANYTHING = "principal, action, resource"


def text(head: str = ANYTHING, condition: str = "", *, id_: str = "x", sentence: str = "no") -> str:
    return f'@id("{id_}") @sentence("{sentence}") forbid ({head}) {condition};'


def parsed(head: str = ANYTHING, condition: str = "") -> Forbid:
    return parse_forbids([text(head, condition)])[-1]


def told(*files: ForbidFile | str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_forbids(files)
    return str(caught.value).splitlines()


def test_our_own_stand_first_and_touch_every_site() -> None:
    ours = parse_forbids([])
    assert tuple(forbid.id for forbid in ours) == OURS
    assert {forbid.site for forbid in ours} == {EVERYWHERE}
    assert [sorted(forbid.asks & MAYBE_KNOWN["review"]) for forbid in ours] == [["author"], [], []]


def test_file_is_read_with_its_site_and_a_text_alone_is_the_tenants() -> None:
    body = text(id_="a/1", sentence="closed") + text(id_="a/2", sentence="closed too")
    files: list[ForbidFile | str] = [
        ForbidFile(text=body, site="north", name="n.cedar"),
        text(id_="b"),
    ]
    found = parse_forbids(files)[3:]
    assert [(f.id, f.sentence, f.site) for f in found] == [
        ("a/1", "closed", "north"),
        ("a/2", "closed too", "north"),
        ("b", "no", EVERYWHERE),
    ]
    for forbid in found:
        assert len(cedarpy.PolicySet.from_str(forbid.text)) == 1
        assert forbid.sentence in forbid.text


@pytest.mark.parametrize(
    ("head", "actions"),
    [
        (ANYTHING, ACTIONS - ONLY_BY_NAME),
        ('principal, action == Action::"read", resource', {"read"}),
        ('principal, action in Action::"read", resource', {"read"}),
        ('principal, action in [Action::"read", Action::"halt"], resource', {"read", "halt"}),
        ('principal, action in [Action::"submit"], resource', {"submit"}),
        ('principal == Client::"a", action, resource == ResourceType::"Slot"',
         ACTIONS - ONLY_BY_NAME),
    ],
)  # fmt: skip
def test_actions_are_those_of_the_head(head: str, actions: set[str]) -> None:
    assert parsed(head).actions == actions


SUBMIT = 'principal, action == Action::"submit", resource'
READ = 'principal, action in [Action::"read", Action::"search"], resource'


@pytest.mark.parametrize(
    ("head", "condition", "asks", "at_release"),
    [
        (ANYTHING, "", set(), False),
        (ANYTHING, 'when { context.site == Site::"a" }', {"site"}, False),
        (READ, 'when { context has stage && context.stage == "full" }', {"stage"}, False),
        (READ, 'when { context has relationship && context.relationship.isEmpty() }',
         {"relationship"}, True),
        (READ, 'when { context has sensitivities && context.sensitivities.contains("PSY") }',
         {"sensitivities"}, True),
        (READ, 'when { context has confidentiality && context.confidentiality == "V" }',
         {"confidentiality"}, True),
        (SUBMIT, 'when { context.production } unless { context has stage }',
         {"production", "stage"}, False),
    ],
)  # fmt: skip
def test_keys_of_the_context_that_it_looks_at(
    head: str, condition: str, asks: set[str], at_release: bool
) -> None:
    forbid = parsed(head, condition)
    assert (set(forbid.asks), forbid.at_release) == (asks, at_release)


def test_what_may_be_unknown_depends_on_what_is_asked() -> None:
    on_stage = parsed(READ, 'when { context has stage && context.stage == "full" }')
    assert unknown_keys(on_stage, "read") == {"stage"}
    assert unknown_keys(on_stage, "submit") == {"stage"}
    assert unknown_keys(on_stage, "halt") == frozenset()
    on_site = parsed(ANYTHING, 'when { context.site == Site::"a" }')
    assert {unknown_keys(on_site, action) for action in ACTIONS} == {frozenset()}
    for action in ACTIONS:
        labels = {"sensitivities", "confidentiality"} if action in READ_ACTIONS else set()
        always = {"stage", "relationship"} if action in READ_ACTIONS | WORK_ACTIONS else set()
        author = {"author"} if action in WORK_ACTIONS else set()
        assert MAYBE_KNOWN[action] == labels | always | author


ON_TWO = """when { context has stage && context.stage == "full"
  && context has sensitivities && context.sensitivities.contains("PSY") }"""


@pytest.mark.parametrize(
    ("known", "reasons"),
    [
        ({}, {"x?"}),
        ({"stage": "shadow"}, {"x?"}),
        ({"sensitivities": ["PSY"]}, {"x?"}),
        ({"stage": "shadow", "sensitivities": ["PSY"]}, set()),
        ({"stage": "full", "sensitivities": []}, set()),
        ({"stage": "full", "sensitivities": ["PSY"]}, {"x"}),
    ],
)
def test_guard_forbids_what_is_not_known(known: dict[str, Any], reasons: set[str]) -> None:
    """And the policy alone would have let it pass."""
    forbid = parsed(READ, ON_TWO)
    assert guard_id(forbid.id) == "x?"
    question = {
        "principal": {"type": "Client", "id": "a"},
        "action": {"type": "Action", "id": "read"},
        "resource": {"type": "ResourceType", "id": "Slot"},
        "context": json.dumps(known),
    }
    guarded = policy_set([forbid], guarded_for="read")
    assert (len(policy_set([forbid])), len(guarded)) == (1, 2)
    assert len(policy_set([forbid], guarded_for="halt")) == 1  # nothing of it may be unknown there
    found = cedarpy.is_authorized(question, guarded, "[]").diagnostics
    names = found.id_annotations_by_reason
    assert {r if r.endswith("?") else names.get(r, r) for r in found.reasons} == reasons
    plain = cedarpy.is_authorized(question, policy_set([forbid]), "[]").diagnostics
    assert bool(plain.reasons) == (reasons == {"x"})


@pytest.mark.parametrize(
    ("body", "mistake"),
    [
        ("forbid (", "f.cedar: it does not parse: "),
        ('forbid (principal, action, resource);',
         'f.cedar: every policy needs an id, e.g. @id("north-clinic/no-psychotherapy")'),
        (text(id_=""), 'f.cedar: every policy needs an id, e.g. @id("north-clinic'),
        (text(id_="x?"), "f.cedar: the id 'x?' must be printable and not end in ?"),
        (text(id_="x\\n"), "f.cedar: the id 'x\\n' must be printable and not end in ?"),
        (text().replace("forbid", "permit"), "f.cedar: x permits; a tenant or site may only forbid"),
        (text(sentence=""), "f.cedar: x needs a sentence that tells people why, e.g. @sentence("),
        ('@id("x") forbid (principal, action, resource);',
         "f.cedar: x needs a sentence that tells people why, e.g. @sentence("),
        (text('principal == ?principal, action, resource'), "f.cedar: a policy may not be a templ"),
        (text(READ, 'when { context has confidentiality && context.confidentiality == "R" }'),
         "f.cedar: x could forbid less where a resource is labelled more restricted"),
        (text(condition="when { context.nonsense }"), "f.cedar: "),
        (text('principal, action == Action::"reed", resource'), "f.cedar: "),
        (text() + text(), "f.cedar: two policies have the id x"),
        (text(id_=OURS[0]), f"f.cedar: two policies have the id {OURS[0]}"),
    ],
)  # fmt: skip
def test_what_is_no_forbid_is_refused_with_its_file(body: str, mistake: str) -> None:
    lines = told(ForbidFile(text=body, name="f.cedar"))
    assert lines[0].startswith(mistake)


def test_every_mistake_of_every_file_is_told() -> None:
    files: list[ForbidFile | str] = [
        ForbidFile(text=text(sentence="") + text(id_="y?"), name="a"),
        "forbid (",
    ]
    lines = told(*files)
    assert [line.partition(":")[0] for line in lines] == ["a", "a", "a policy"]
