"""A question to policy is kept as plain values and asked again: nothing of it is lost on the way."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given

from chartgate.model.decision import Request
from chartgate.model.principal import Client, Person, Principal, Process, Service
from chartgate.policy.asked import question_of, request_of
from tests.policy.test_decide import requests

PERSON = Person(id="sofia", roles=("scheduler", "operator"), sites=("north", "south"))
FULL = Request(
    principal=PERSON,
    action="review",
    charter="clinic-booking",
    site="north",
    resource_type="Slot",
    proposes="book",
    stage="pilot",
    workflow="triage",
    relationship=frozenset({"encounter", "care-team"}),
    sensitivities=frozenset({"PSY", "ETH"}),
    confidentiality="R",
    break_glass=True,
    preliminary=True,
    context=(("author", "client:a"), ("b", "c")),
)


def back(request: Request) -> Request:
    return request_of(orjson.loads(orjson.dumps(question_of(request))))


@given(requests)
def test_question_that_comes_back_is_the_question(request: Request) -> None:
    assert back(request) == request


@pytest.mark.parametrize(
    "holder",
    [
        Client(id="a", charter="c"),
        Client(id="a", charter="c", sites=()),
        Client(id="a", charter="c", sites=("north", "south")),
        PERSON,
        replace(PERSON, mfa=True),
        replace(PERSON, sealed=True),
        replace(PERSON, roles=(), sites=()),
        Service(id="monitor", may=()),
        Process(id="worker"),
        Process(id="cli/a:b"),
    ],
)
def test_holder_that_comes_back_is_the_holder(holder: Principal) -> None:
    assert back(replace(FULL, principal=holder)) == replace(FULL, principal=holder)


def test_question_has_one_form_under_names_that_stay() -> None:
    """Old ones are read again by a later version, and equal ones are counted together."""
    assert question_of(FULL) == {
        "principal": "person:sofia",
        "holder": {
            "id": "sofia",
            "roles": ("scheduler", "operator"),
            "sites": ("north", "south"),
            "mfa": False,
            "sealed": False,
        },
        "action": "review",
        "charter": "clinic-booking",
        "site": "north",
        "resource_type": "Slot",
        "proposes": "book",
        "stage": "pilot",
        "workflow": "triage",
        "relationship": ["care-team", "encounter"],
        "sensitivities": ["ETH", "PSY"],
        "confidentiality": "R",
        "break_glass": True,
        "preliminary": True,
        "context": (("author", "client:a"), ("b", "c")),
    }


def test_question_of_an_earlier_version_is_read_without_what_came_later() -> None:
    whole = question_of(replace(FULL, principal=replace(PERSON, mfa=True, sealed=True)))
    holder: Any = whole["holder"]
    del holder["mfa"], holder["sealed"], whole["context"], whole["workflow"]
    assert request_of(whole) == replace(FULL, context=(), workflow=None)


def test_what_is_known_to_be_nothing_is_not_what_is_not_known() -> None:
    nothing = replace(FULL, relationship=frozenset(), sensitivities=frozenset())
    unknown = replace(FULL, relationship=None, sensitivities=None)
    assert (back(nothing), back(unknown)) == (nothing, unknown)
