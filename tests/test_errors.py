"""Errors: what the caller reads and what only the log reads."""

import pytest

from chartgate import errors
from chartgate.errors import ChartgateError, SourceUnreachable, mapped

ISSUE_TYPES = {  # https://hl7.org/fhir/R4/valueset-issue-type.html
    "invalid", "structure", "required", "value", "invariant", "security", "login", "unknown",
    "expired", "forbidden", "suppressed", "processing", "not-supported", "duplicate",
    "multiple-matches", "not-found", "deleted", "too-long", "code-invalid", "extension",
    "too-costly", "business-rule", "conflict", "transient", "lock-error", "no-store", "exception",
    "timeout", "incomplete", "throttled", "informational",
}  # fmt: skip


def test_mapped_keeps_the_library_text_away_from_the_caller() -> None:
    with (
        pytest.raises(SourceUnreachable, match="north did not answer") as caught,
        mapped({TimeoutError: SourceUnreachable}, "north did not answer"),
    ):
        raise TimeoutError("10.0.0.7:6661 MRN 4411")
    assert "4411" not in str(caught.value)
    assert "4411" in caught.value.operator_detail


def test_mapped_lets_other_errors_pass() -> None:
    with pytest.raises(KeyError), mapped({TimeoutError: SourceUnreachable}, "x"):
        raise KeyError("k")


def test_every_error_has_an_issue_type_of_fhir() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type)]
    ours = [k for k in kinds if issubclass(k, ChartgateError)]
    assert len(ours) > 10
    for kind in ours:
        assert kind.issue in ISSUE_TYPES
        assert 400 <= kind.status < 600


@pytest.mark.parametrize(
    "theirs",
    [
        ValueError("invalid input for query argument $3: 'Ida Berg'"),
        OSError("duplicate key\nDETAIL:  Key (name)=(Ida Berg) already exists."),
    ],
)
def test_mapped_keeps_values_out_of_the_log(theirs: Exception) -> None:
    with (
        pytest.raises(SourceUnreachable) as caught,
        mapped({type(theirs): SourceUnreachable}, "north did not answer"),
    ):
        raise theirs
    assert "Berg" not in caught.value.operator_detail
    assert type(theirs).__name__ in caught.value.operator_detail
