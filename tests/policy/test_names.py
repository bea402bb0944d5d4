"""Names in forbids that nothing else knows are told, each once, with what was perhaps meant."""

from dataclasses import replace
from pathlib import Path

import pytest

from chartgate.config import Config
from chartgate.policy.charters import compile_book
from chartgate.policy.names import unknown_names
from tests.policy.test_decide import BOOK, CHARTERS, PICKER

CHARTER = next(c for c in CHARTERS if c.name == "clinic-booking")


def told(head: str, when: str = "", *, config: Config | None = None) -> list[str]:
    text = f'@id("x") @sentence("no") forbid ({head}){when};'
    forbid = compile_book(CHARTERS, forbids=[text]).rulebook.forbids["x"]
    return list(unknown_names(forbid, BOOK, config or Config(folder=Path())))


KNOWN = [
    'principal in Charter::"clinic-booking", action, resource',
    'principal == Client::"slot-picker", action, resource',
    'principal in Role::"scheduler", action, resource',
    'principal in Role::"front-desk", action, resource',
    'principal in Role::"operator", action, resource',
    'principal in Role::"administrator", action, resource',
    'principal in Role::"privacy-officer", action, resource',
    'principal, action == Action::"read", resource == ResourceType::"Slot"',
    'principal, action == Action::"submit", resource == ProposalKind::"clinic-booking/book"',
]


@pytest.mark.parametrize("head", KNOWN)
def test_name_that_a_charter_knows_is_passed_over(head: str) -> None:
    assert told(head) == []


@pytest.mark.parametrize(
    ("head", "kind", "name", "meant"),
    [
        (KNOWN[0], "Charter", "clinic-bookin", "clinic-booking"),
        (KNOWN[1], "Client", "slot-pickr", "slot-picker"),
        (KNOWN[2], "Role", "schedulr", "scheduler"),
        (KNOWN[7], "ResourceType", "Slott", "Slot"),
        (KNOWN[8], "ProposalKind", "clinic-booking/boo", "clinic-booking/book"),
    ],
)
def test_name_that_nothing_knows_is_told_with_what_was_meant(
    head: str, kind: str, name: str, meant: str
) -> None:
    (sentence,) = told(head.replace(f'"{meant}"', f'"{name}"'))
    assert sentence.startswith(f"x names the {kind} {name}, which nothing else knows")
    assert meant in sentence.removeprefix(f"x names the {kind} {name}")


def test_names_in_conditions_are_looked_at_each_once_and_in_order() -> None:
    when = (
        ' when { context.site == Site::"sought" || context.site == Site::"north-clinic"'
        ' || principal in Role::"ghost" || context.site == Site::"sought" }'
    )
    found = [s.partition(",")[0] for s in told("principal, action, resource", when)]
    assert found == ["x names the Role ghost", "x names the Site sought"]


def test_names_of_the_config_are_known_too() -> None:
    config = Config(folder=Path())
    known = replace(config, sites={"sought": object()}, clients={"bot": object()})  # type: ignore[dict-item]
    when = ' when { context.site == Site::"sought" }'
    head = 'principal == Client::"bot", action, resource'
    assert len(told(head, when, config=config)) == 2
    assert told(head, when, config=known) == []
    assert told('principal == Client::"slot-picker", action, resource', config=known) == []


def test_person_may_be_anybody() -> None:
    """Whom the staff's own directory knows, it does not tell us."""
    assert told('principal == Person::"who", action, resource') == []
    assert PICKER.id in BOOK.charters[CHARTER.name].clients
