"""Errors as OperationOutcomes."""

import orjson
import pytest

from chartgate import errors as ours
from chartgate.web.errors import SAY_UNEXPECTED, headers_of, outcome_body, status_of

KINDS = [
    kind
    for kind in vars(ours).values()
    if isinstance(kind, type) and issubclass(kind, ours.ChartgateError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_of_our_errors_is_an_outcome_with_its_code_and_sentence(
    kind: type[ours.ChartgateError],
) -> None:
    error = kind("a sentence", operator_detail="for the log only")
    outcome = orjson.loads(outcome_body(error))
    (issue,) = outcome["issue"]
    assert outcome["resourceType"] == "OperationOutcome"
    assert (issue["severity"], issue["code"]) == ("error", error.issue)
    hidden = kind is ours.ConfigError
    assert issue["diagnostics"] == (SAY_UNEXPECTED if hidden else "a sentence")
    assert "for the log only" not in outcome_body(error).decode()
    assert 400 <= status_of(error) < 600


def test_status_brings_the_headers_that_it_calls_for() -> None:
    assert headers_of(ours.Unauthenticated("x")) == {"www-authenticate": 'Bearer realm="chartgate"'}
    assert headers_of(ours.Throttled("x", retry_after_s=0.2)) == {"retry-after": "1"}
    assert headers_of(ours.Unavailable("x")) == {"retry-after": "2"}
    assert headers_of(ours.NotAllowed("x", allow="GET")) == {"allow": "GET"}
    assert headers_of(ours.NotFound("x")) == {}
