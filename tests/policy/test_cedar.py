"""Charters as Cedar."""

import cedarpy

from chartgate.policy.cedar import charter_permits, general_permits, quoted
from chartgate.policy.forbids import OWN_FORBIDS, cedar_schema
from tests.policy.test_decide import CHARTERS


def test_permits_when_validated_against_the_schema_then_they_fit() -> None:
    for permit in (*general_permits(), *(p for c in CHARTERS for p in charter_permits(c))):
        result = cedarpy.validate_policies(permit.text, cedar_schema())
        assert result.validation_passed, (permit.id, [e.error for e in result.errors])


def test_own_forbids_when_parsed_then_they_are_three_forbids() -> None:
    assert OWN_FORBIDS.count("\nforbid (") == 3
    assert len(cedarpy.PolicySet.from_str(OWN_FORBIDS)) == 3


def test_rule_ids_when_collected_then_each_is_one_rule() -> None:
    ids = [p.id for c in CHARTERS for p in charter_permits(c)]
    assert len(ids) == len(set(ids))


def test_quoted_when_a_name_tries_to_break_out_then_it_stays_a_name() -> None:
    assert quoted('x"; permit (principal, action, resource); //') == (
        '"x\\"; permit (principal, action, resource); //"'
    )
