"""A tenant's own tests of its rules: what is no test is refused with every mistake, and a case that
is answered otherwise is told with the answer."""

from typing import Any

import orjson
import pytest

from chartgate.errors import ConfigError
from chartgate.model.charter import RELATIONSHIPS
from chartgate.model.decision import Request
from chartgate.model.principal import Client, Person, Process
from chartgate.policy.cases import CASES_MAX, failures, parse_cases, request_from
from tests.policy.test_decide import BOOK

READ: dict[str, Any] = {
    "client": "slot-picker", "charter": "clinic-booking", "action": "read", "type": "Slot",
    "site": "north-clinic", "expect": "permitted",
}  # fmt: skip
NOT_CASES = "t.yaml: it is a mapping with the one key cases, which is a list"


def yaml(*rows: Any) -> bytes:
    return orjson.dumps({"cases": list(rows)})  # JSON is YAML


def told(body: bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_cases(body, file="t.yaml")
    return str(caught.value).splitlines()


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in READ.items() if name != key}


def test_cases_are_read_in_order_with_a_name_each() -> None:
    refused = {**READ, "says": "no", "expect": "refused", "rule": "x"}
    one, two = parse_cases(yaml(READ, refused), file="t.yaml")
    assert (one.says, one.permitted, one.rule) == ("cases[0]", True, None)
    assert (two.says, two.permitted, two.rule) == ("no", False, "x")
    assert one.request == two.request == request_from(READ)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"cases: 1", b"{cases: [], more: 1}", b"more: []", b"{}"]
)
def test_file_of_another_form_is_refused(body: bytes) -> None:
    assert told(body) == [NOT_CASES]


def test_file_that_is_no_yaml_is_refused_with_its_name() -> None:
    (line,) = told(b"cases: [")
    assert line.startswith("t.yaml: ")
    assert line != NOT_CASES


@pytest.mark.parametrize("count", [0, CASES_MAX + 1])
def test_cases_have_bounds(count: int) -> None:
    assert told(yaml(*[1] * count)) == [f"t.yaml: cases must be 1 to {CASES_MAX}"]


def test_cases_to_the_bound_are_looked_at() -> None:
    assert len(told(yaml(*[1] * CASES_MAX))) == CASES_MAX


@pytest.mark.parametrize(
    ("row", "mistake"),
    [
        (1, "it must be a mapping"),
        ({**READ, "clent": "x"}, "there is no key clent"),
        ({**READ, "says": 1}, "says must be a text"),
        ({**READ, "rule": None}, "rule must be a text"),
        ({**READ, "mfa": "yes"}, "mfa must be true or false"),
        ({**READ, "break_glass": 1}, "break_glass must be true or false"),
        ({**READ, "labels": "PSY"}, "labels must be a list of texts"),
        ({**READ, "labels": ["PSY", 1]}, "labels must be a list of texts"),
        ({**READ, "relationship": "care-team"}, "relationship must be a list of texts"),
        ({**READ, "relationship": ["care-team", "friend"]}, "relationship must be out of "),
        ({**READ, "stage": "shadowy"}, "stage must be one of shadow, suggest, pilot, canary, full"),
        ({**READ, "confidentiality": "X"}, "confidentiality must be one of "),
        ({**READ, "action": "reed"}, "action must be one of "),
        ({**READ, "expect": "yes"}, "expect must be one of permitted, refused"),
        ({**READ, "process": "cli"}, "one of client, person and process says who asks"),
        (without("client"), "one of client, person and process says who asks"),
        (without("action"), "the key action is missing"),
        (without("charter"), "the key charter is missing"),
        (without("expect"), "the key expect is missing"),
    ],
)
def test_row_with_a_mistake_is_told_with_its_place(row: Any, mistake: str) -> None:
    (line,) = told(yaml(READ, row))
    assert line.startswith(f"t.yaml: cases[1]: {mistake}")


@pytest.mark.parametrize(
    ("row", "meant"),
    [
        ({**READ, "clent": "x"}, "client"),
        ({**READ, "expect": "permited"}, "permitted"),
        ({**READ, "action": "reed"}, "read"),
    ],
)
def test_slip_of_the_pen_is_told_with_what_was_meant(row: Any, meant: str) -> None:
    (line,) = told(yaml(row))
    assert f"did you mean {meant}?" in line


def test_every_mistake_is_told_a_line_each() -> None:
    assert told(yaml({**without("expect"), "says": 1}, READ, 2)) == [
        "t.yaml: cases[0]: says must be a text",
        "t.yaml: cases[0]: the key expect is missing",
        "t.yaml: cases[2]: it must be a mapping",
    ]


def test_case_may_know_of_every_relationship() -> None:
    (case,) = parse_cases(yaml({**READ, "relationship": list(RELATIONSHIPS)}), file="t.yaml")
    assert case.request.relationship == frozenset(RELATIONSHIPS)


WHOLE: dict[str, Any] = {
    "says": "all", "person": ["scheduler", "operator"], "charter": "c", "action": "review",
    "type": "Slot", "proposes": "book", "site": "north", "sites": ["north", "south"],
    "stage": "pilot", "workflow": "w", "relationship": ["care-team"], "labels": ["PSY"],
    "confidentiality": "R", "break_glass": True, "preliminary": True, "author": "client:a",
    "mfa": True, "expect": "refused",
}  # fmt: skip


def test_each_key_is_a_part_of_the_question() -> None:
    (case,) = parse_cases(yaml(WHOLE), file="t.yaml")
    assert case.request == Request(
        principal=Person(
            id="somebody", roles=("scheduler", "operator"), sites=("north", "south"), mfa=True
        ),
        action="review",
        charter="c",
        site="north",
        resource_type="Slot",
        proposes="book",
        stage="pilot",
        workflow="w",
        relationship=frozenset({"care-team"}),
        sensitivities=frozenset({"PSY"}),
        confidentiality="R",
        break_glass=True,
        preliminary=True,
        context=(("author", "client:a"),),
    )


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"client": "a"}, Request(principal=Client(id="a", charter="c"), action="read", charter="c", site="")),
        ({"process": "cli"}, Request(principal=Process(id="cli"), action="read", charter="c", site="")),
        (
            {"person": []},
            Request(
                principal=Person(id="somebody", roles=(), sites=()),
                action="read", charter="c", site="",
            ),
        ),
        (
            {"person": ["r"], "site": "n", "labels": [], "relationship": []},
            Request(
                principal=Person(id="somebody", roles=("r",), sites=("n",)),
                action="read", charter="c", site="n",
                sensitivities=frozenset(), relationship=frozenset(),
            ),
        ),
    ],
)  # fmt: skip
def test_what_is_left_out_is_not_known(row: dict[str, Any], expected: Request) -> None:
    """And a person without sites is at the one that is asked about."""
    assert request_from({"charter": "c", "action": "read", **row}) == expected


def test_failures_are_the_cases_that_are_answered_otherwise() -> None:
    rule = "clinic-booking/read/Slot"
    cases = parse_cases(
        yaml(
            READ,
            {**READ, "rule": rule},
            {**READ, "expect": "refused"},
            {**READ, "rule": "another"},
            {**READ, "type": "Observation"},
            {**READ, "type": "Observation", "expect": "refused"},
            {**READ, "type": "Observation", "expect": "refused", "rule": "another"},
        ),
        file="t.yaml",
    )
    found = list(failures(BOOK, cases))
    assert [cases.index(case) for case, _, _ in found] == [2, 3, 4, 6]
    permitted, refused = found[0][1], found[2][1]
    assert (permitted.permitted, refused.permitted) == (True, False)
    assert [sentence for _, _, sentence in found] == [
        f"is permitted by {rule}: {permitted.sentence}",
        f"is decided by {rule}, not by another",
        f"is refused: {refused.sentence}",
        "is decided by no rule, not by another",
    ]
