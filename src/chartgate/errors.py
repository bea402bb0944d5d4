"""Errors that Chartgate raises on purpose.

`issue` is the FHIR R4 issue-type code and `status` the HTTP status, so that web/ can
answer with an OperationOutcome without a translation table per endpoint.
Source: https://hl7.org/fhir/R4/valueset-issue-type.html
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class ChartgateError(Exception):
    """Base of all our errors. The message is for the caller and never holds patient data."""

    issue = "exception"
    status = 500

    def __init__(self, message: str, *, operator_detail: str = "") -> None:
        super().__init__(message)
        self.operator_detail = operator_detail  # for the log only
        self.decision = ""  # id of policy's decision, where it came to one


class Invalid(ChartgateError):
    """What was sent does not parse, or breaks a rule that the sender can mend."""

    issue = "invalid"
    status = 400


class Unprocessable(Invalid):
    """Well-formed, but it breaks a rule of the charter or of FHIR."""

    issue = "business-rule"
    status = 422


class TooLarge(Invalid):
    """Over a configured limit of size, depth or count."""

    issue = "too-long"
    status = 413


class ConfigError(Invalid):
    """chartgate.toml, a charter or a file that they name is wrong. Says what to change."""


class Unauthenticated(ChartgateError):
    """No credential, or one that does not hold."""

    issue = "login"
    status = 401


class Denied(ChartgateError):
    """Policy says no; the message is the policy's own sentence."""

    issue = "forbidden"
    status = 403


class NotFound(ChartgateError):
    """It is not there, or the caller may not know that it is."""

    issue = "not-found"
    status = 404


class Erased(NotFound):
    """It was about a patient who has been erased: its key is gone, and with it what it said."""


class Damaged(ChartgateError):
    """What is stored is not what was written: its digest or its seal does not hold."""


class Gone(ChartgateError):
    """It was there for a while, for one caller; it is not there any more, or was another's."""

    issue = "not-found"
    status = 410


class NotAllowed(ChartgateError):
    """The method, or the form in which it was sent, is not one that stands here."""

    issue = "not-supported"
    status = 405

    def __init__(self, message: str, *, allow: str = "", operator_detail: str = "") -> None:
        super().__init__(message, operator_detail=operator_detail)
        self.allow = allow  # methods that do stand here, e.g. "GET, HEAD"


class NotAcceptable(ChartgateError):
    """The caller takes only forms that we do not serve."""

    issue = "not-supported"
    status = 406


class UnsupportedMedia(ChartgateError):
    """A media type or content coding that this route does not take."""

    issue = "not-supported"
    status = 415


class InvalidTransition(ChartgateError):
    """A record cannot move from its status to the one asked for."""

    issue = "business-rule"
    status = 409


class VersionConflict(ChartgateError):
    """The thing changed since it was read. Nothing was written."""

    issue = "conflict"
    status = 409


class Throttled(ChartgateError):
    """Over a budget or a rate; `retry_after_s` says when to come back."""

    issue = "throttled"
    status = 429

    def __init__(
        self, message: str, *, retry_after_s: float = 1.0, operator_detail: str = ""
    ) -> None:
        super().__init__(message, operator_detail=operator_detail)
        self.retry_after_s = retry_after_s


class Unavailable(ChartgateError):
    """Chartgate itself cannot serve now, e.g. the store is gone. Nothing was done."""

    issue = "transient"
    status = 503


class Moved(Unavailable):
    """A right was taken away, or other charters run, since this was begun: what was decided may
    not hold any more. Whoever began it begins anew, with the credential; nothing was shown."""


class LedgerRewound(ChartgateError):
    """The ledger in the store is not how the one that was signed began: cut, rewritten, or
    restored from an older copy. No head is signed until a person has settled it."""

    issue = "conflict"
    status = 503


class SourceUnreachable(ChartgateError):
    """A system of record did not answer, or its circuit breaker is open."""

    issue = "transient"
    status = 503


class SourceRefused(SourceUnreachable):
    """A system of record answered a read, but not with what was asked for: asking again will
    hardly help."""


class WriteRefused(ChartgateError):
    """The system of record definitely refused the write: nothing was written."""

    issue = "processing"
    status = 422


class OutcomeUnknown(ChartgateError):
    """A write was sent and its answer is not known; only reading can tell what happened."""

    issue = "transient"
    status = 503


ErrorMap = Mapping[type[Exception], type[ChartgateError]]


@contextmanager
def mapped(errors: ErrorMap, message: str) -> Iterator[None]:
    """Turns a library's exceptions into ours, at an adapter's edge."""
    try:
        yield
    except tuple(errors) as cause:
        kind = next(ours for theirs, ours in errors.items() if isinstance(cause, theirs))
        raise kind(message, operator_detail=_detail(cause)) from cause


def _detail(cause: Exception) -> str:
    """For the log: the first line alone, because a database's further ones may quote a row; and
    no words of what refused a value, because they quote it."""
    words = "" if isinstance(cause, ValueError) else str(cause).partition("\n")[0]
    return f"{type(cause).__name__}: {words}" if words else type(cause).__name__
