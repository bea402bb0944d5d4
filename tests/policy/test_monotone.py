"""Forbids that could give more where a resource is labelled more restricted are not taken."""

from itertools import chain, combinations, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.errors import ConfigError
from chartgate.model.label import CONFIDENTIALITY
from chartgate.policy.forbids import parse_forbids
from chartgate.policy.monotone import WHOLE, keys_asked, only_restricts

KNOWN = "context has sensitivities && context has confidentiality"


def taken(condition: str) -> bool:
    text = (
        '@id("x/1") @sentence("no") forbid (principal is Client, action == Action::"read", '
        f"resource) {condition};"
    )
    try:
        parse_forbids([text])
    except ConfigError as error:
        if "labels only restrict" in str(error):
            return False
        raise
    return True


@pytest.mark.parametrize(
    "condition",
    [
        'context.sensitivities.contains("PSY")',
        'context.sensitivities.containsAny(["PSY", "ETH"])',
        '["PSY"].containsAny(context.sensitivities)',
        'context.sensitivities.containsAll(["PSY", "ETH"])',
        "!context.sensitivities.isEmpty()",
        '!(["PSY"].containsAll(context.sensitivities))',
        '["R", "V"].contains(context.confidentiality)',
        '!(["U", "L", "M", "N"].contains(context.confidentiality))',
        'context.confidentiality == "V"',
        'context.confidentiality != "U"',
        'context.confidentiality == "V" || context.sensitivities.contains("PSY")',
        'if context.purpose == "TREAT" then context.sensitivities.contains("PSY") else true',
        'context.purpose == "TREAT" && !(context.charter like "*-pilot")',
    ],
)
def test_condition_when_it_grows_with_the_labels_then_it_is_taken(condition: str) -> None:
    assert taken(f"when {{ {KNOWN} && ({condition}) }}")


@pytest.mark.parametrize(
    "condition",
    [
        '!context.sensitivities.contains("PSY")',
        "context.sensitivities.isEmpty()",
        '["PSY"].containsAll(context.sensitivities)',
        'context.sensitivities == ["PSY"]',
        '["R"].contains(context.confidentiality)',
        '["M", "V"].contains(context.confidentiality)',
        '["r", "v"].contains(context.confidentiality)',
        'context.confidentiality == "R"',
        'context.confidentiality == "N"',
        'context.confidentiality != "V"',
        'context.confidentiality like "R*"',
        'if context.sensitivities.contains("PSY") then false else true',
        '(if context.purpose == "TREAT" then context.sensitivities else ["A"]).contains("A")',
    ],
)
def test_condition_when_it_may_shrink_with_the_labels_then_it_is_refused(condition: str) -> None:
    assert not taken(f"when {{ {KNOWN} && ({condition}) }}")


def test_unless_when_it_stands_for_when_then_all_is_the_other_way_round() -> None:
    assert taken(f'unless {{ {KNOWN} && ["PSY"].containsAll(context.sensitivities) }}')
    assert not taken(f'unless {{ {KNOWN} && context.sensitivities.contains("PSY") }}')
    assert taken(f'unless {{ {KNOWN} && ["U", "L"].contains(context.confidentiality) }}')
    assert not taken(f'unless {{ {KNOWN} && ["U", "M"].contains(context.confidentiality) }}')


# The law itself: what is taken is asked of every resource, labelled less and labelled more.

Node = dict[str, Any]
Facts = dict[str, Any]
CODES = ("A", "B", "C")
CONTEXT: Node = {"Var": "context"}


def key(name: str) -> Node:
    return {".": {"left": CONTEXT, "attr": name}}


def literal(*texts: str) -> Node:
    return {"Set": [{"Value": text} for text in texts]}


def subsets(codes: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(codes, n) for n in range(len(codes) + 1)))


def binary(operator: str, left: Node, right: Node) -> Node:
    return {operator: {"left": left, "right": right}}


SENSITIVITIES, LEVEL = key("sensitivities"), key("confidentiality")
SOME = [literal(*codes) for codes in subsets(CODES) if 0 < len(codes) < len(CODES)]
ON_SETS = [binary(o, SENSITIVITIES, some) for o in ("containsAny", "containsAll") for some in SOME]
ON_SETS += [binary(o, some, SENSITIVITIES) for o in ("containsAny", "containsAll") for some in SOME]
ATOMS: list[Node] = [
    *ON_SETS,
    *(binary("contains", SENSITIVITIES, {"Value": code}) for code in CODES),
    {"isEmpty": {"arg": SENSITIVITIES}},
    *(binary("contains", literal(*some), LEVEL) for some in subsets(CONFIDENTIALITY)),
    *(binary("contains", {"Value": list(some)}, LEVEL) for some in subsets(CONFIDENTIALITY[:3])),
    binary("contains", {"Value": ["R", "V"]}, LEVEL),
    *(binary(o, LEVEL, {"Value": level}) for o in ("==", "!=") for level in CONFIDENTIALITY),
    *(binary(o, {"Value": level}, LEVEL) for o in ("==", "!=") for level in CONFIDENTIALITY),
    {"has": {"left": CONTEXT, "attr": "sensitivities"}},
    binary("==", key("purpose"), {"Value": "TREAT"}),
    {"!": {"arg": binary("==", key("purpose"), {"Value": "TREAT"})}},
]
LABELLED: list[Facts] = [
    {"sensitivities": frozenset(codes), "confidentiality": level, "purpose": "TREAT"}
    for codes, level in product(subsets(CODES), CONFIDENTIALITY)
]


def is_more(more: Facts, less: Facts) -> bool:
    rank = CONFIDENTIALITY.index
    return bool(
        more["sensitivities"] >= less["sensitivities"]
        and rank(more["confidentiality"]) >= rank(less["confidentiality"])
    )


def value_of(node: Node, facts: Facts) -> Any:
    """What Cedar makes of an expression; for the operators above alone."""
    ((operator, body),) = node.items()
    if operator == "Value":
        return body
    if operator == "Set":
        return frozenset(each["Value"] for each in body)
    if operator == ".":
        return facts[body["attr"]]
    if operator == "has":
        return body["attr"] in facts
    if operator == "if-then-else":
        return value_of(body["then" if value_of(body["if"], facts) else "else"], facts)
    operands = [value_of(each, facts) for each in body.values()]
    return OPERATORS[operator](*operands)


OPERATORS: dict[str, Any] = {
    "contains": lambda left, right: right in left,
    "containsAny": lambda left, right: bool(left & right),
    "containsAll": lambda left, right: left >= right,
    "isEmpty": lambda arg: not arg,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "!": lambda arg: not arg,
    "&&": lambda left, right: left and right,
    "||": lambda left, right: left or right,
}


def never_gives_more(node: Node, kind: str) -> bool:
    """Asked of every pair of labels, one way round."""
    forbids = {id(f): bool(value_of(node, f)) == (kind == "when") for f in LABELLED}
    pairs = ((less, more) for less in LABELLED for more in LABELLED if is_more(more, less))
    return all(forbids[id(more)] or not forbids[id(less)] for less, more in pairs)


@pytest.mark.parametrize("kind", ["when", "unless"])
@pytest.mark.parametrize("atom", ATOMS, ids=range(len(ATOMS)))
def test_condition_is_taken_exactly_where_it_never_gives_more(atom: Node, kind: str) -> None:
    for node in (atom, {"!": {"arg": atom}}):
        condition = {"kind": kind, "body": node}
        assert only_restricts(condition) == never_gives_more(node, kind), node


@st.composite
def nodes(draw: st.DrawFn, depth: int = 3) -> Node:
    operator = draw(st.sampled_from(["atom", "!", "&&", "||", "if-then-else"])) if depth else "atom"
    if operator == "atom":
        return draw(st.sampled_from(ATOMS))
    names = {"!": ("arg",), "if-then-else": ("if", "then", "else")}.get(operator, ("left", "right"))
    return {operator: {name: draw(nodes(depth - 1)) for name in names}}


@given(nodes(), st.sampled_from(["when", "unless"]))
def test_whatever_is_taken_never_gives_more(node: Node, kind: str) -> None:
    if only_restricts({"kind": kind, "body": node}):
        assert never_gives_more(node, kind)


@pytest.mark.parametrize(
    "node",
    [
        {"like": {"left": LEVEL, "pattern": ["Wildcard"]}},
        {"<": {"left": LEVEL, "right": {"Value": "R"}}},
        binary("==", SENSITIVITIES, literal("A")),
        binary("==", LEVEL, key("purpose")),
        binary("contains", SENSITIVITIES, LEVEL),
        binary("contains", literal("A"), SENSITIVITIES),
        binary("containsAny", LEVEL, SENSITIVITIES),
        binary("containsAny", SENSITIVITIES, SENSITIVITIES),
        binary("containsAll", SENSITIVITIES, SENSITIVITIES),
        binary("contains", {"Set": [{"Value": "V"}, key("purpose")]}, LEVEL),
        binary("contains", {"Set": [{"Value": "V"}, {"Value": 1}]}, LEVEL),
        binary("contains", key("purposes"), LEVEL),
        binary("==", LEVEL, {"Value": "v"}),
        {"isEmpty": {"arg": binary("&&", SENSITIVITIES, SENSITIVITIES)}},
        binary("==", CONTEXT, {"Value": "x"}),
        {"if-then-else": {"if": binary("==", LEVEL, {"Value": "V"}), "then": {"Value": True},
                          "else": {"Value": True}}},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_told_is_not_taken(node: Node) -> None:
    for kind in ("when", "unless"):
        assert not only_restricts({"kind": kind, "body": node})
        assert not only_restricts({"kind": kind, "body": {"!": {"arg": node}}})


def test_keys_are_found_wherever_they_stand() -> None:
    node = binary("&&", ATOMS[0], {"Set": [key("stage"), {"has": {"left": CONTEXT, "attr": "x"}}]})
    assert set(keys_asked(node)) == {"sensitivities", "stage", "x"}
    assert set(keys_asked([node, {"Record": {"a": CONTEXT}}])) == {
        "sensitivities", "stage", "x", WHOLE,
    }  # fmt: skip
    other = {".": {"left": {"Var": "principal"}, "attr": "mfa"}}
    assert set(keys_asked(binary("==", other, {"Value": "context"}))) == set()
    assert set(keys_asked({"Value": {"Var": "context"}})) == set()
