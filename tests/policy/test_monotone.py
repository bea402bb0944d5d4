"""Forbids that could give more where a resource is labelled more restricted are not taken."""

import pytest

from chartgate.errors import ConfigError
from chartgate.policy.forbids import parse_forbids

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
