"""The walk of a read: an AI client sees one resource, or what a search finds, of one site.

charter → decide → (refused: audited, then as if it were not there) → the record, or the live
system of record → scopes, labels, relationship, consent → minimise → read set and audit durable →
nothing was taken away meanwhile? → answer. Whatever goes wrong before the audit is durable, nothing
is answered.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from chartgate.errors import (
    ChartgateError,
    Invalid,
    Moved,
    NotFound,
    SourceUnreachable,
    Throttled,
)
from chartgate.flows.patient_budgets import spend
from chartgate.flows.read_walk import (
    SAY_MOVED,
    SAY_NOT_FOUND,
    Walk,
    check_still,
    enter,
    record,
    record_denied,
    record_failure,
    with_decision,
)
from chartgate.flows.visibility import Held, Visible, consent_digest, known, look, notice_of
from chartgate.gate import Gate
from chartgate.model.disclosure import Shown
from chartgate.model.interaction import Seen
from chartgate.model.label import codes_of
from chartgate.model.principal import Client
from chartgate.model.resource import NotModified
from chartgate.store.audit import Still
from chartgate.store.caches import Minimised
from chartgate.store.lookups import Current, Key, Looked
from chartgate.store.record import RecordStore

__all__ = ["SAY_NOT_FOUND", "Answer", "check_names", "read"]

ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9\-.]{1,64}")
TYPE = re.compile(r"[A-Z][A-Za-z]{1,40}")
# A live read that found nothing new says so in the record at most this often: other readers
# gain by it, and a write for each read would halve the speed.
TOUCH_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What goes back. `body` is empty where `not_modified`."""

    body: bytes
    etag: str  # weak: of the version and of the charters, since they change what is shown
    as_of: datetime
    interaction: str
    not_modified: bool
    decision: str
    stale: bool
    notice: str = ""  # that must travel with it: 42 CFR 2.32


async def read(
    gate: Gate,
    client: Client,
    site: str,
    resource_type: str,
    id_: str,
    *,
    interaction: str | None,
    if_none_match: str | None,
) -> Answer:
    """FHIR `read`. Raises Invalid, NotFound (also for what is denied), SourceUnreachable,
    Throttled, Unavailable, and Moved where it has to begin anew."""
    check_names(resource_type, id_)
    walk = await enter(gate, client, site, "read", resource_type, interaction)
    reference = f"{resource_type}/{id_}"
    kept = known(walk, reference)
    key = (walk.connection, resource_type, id_)
    looked = _remembered(walk, key, kept)
    is_remembered = looked is not None
    if looked is None:
        looked = await gate.lookups.current(*key, known=kept.digest if kept else None)
    current, epoch = looked
    stale = False
    held: Held
    if current and _is_fresh(walk, current):
        held, as_of = current, current.as_of
    else:
        held, as_of, stale = await _read_live(walk, reference, current)
    (visible,) = await look(walk, [(reference, held)], epoch=epoch)
    if (
        visible.hidden and is_remembered
    ):  # a right given elsewhere a moment ago may not be known here
        gate.lookups.forget(*key)
        raise Moved(SAY_MOVED)
    if visible.hidden:
        raise await record_denied(
            walk, reference, reason=visible.hidden, consent=consent_digest([visible])
        )
    await spend(walk, reference, visible.shown.patients)
    shown = visible.shown
    not_modified = if_none_match is not None and _matches(if_none_match, shown.etag)
    sent = None if not_modified else Shown(connection=walk.connection, pieces=(shown.piece,))
    reason = "stale" if stale else None
    still = (*key, held.digest) if is_remembered and held is current else None
    try:
        now = await _record_shown(walk, visible, as_of, sent, reason=reason, still=still)
        check_still(walk, epoch, now)
    except Moved:
        gate.lookups.forget(*key)  # so that it is looked up when the read begins anew
        raise
    return Answer(
        body=b"" if sent is None else shown.piece.body,
        etag=shown.etag,
        as_of=as_of,
        interaction=walk.interaction.id,
        not_modified=not_modified,
        decision=visible.decision.id,
        stale=stale,
        notice=notice_of([visible]),
    )


def _remembered(walk: Walk, key: Key, kept: Minimised | None) -> Looked | None:
    """What a look-up found before, where nothing but its being out of date stands against it.
    What is hidden is looked up each time, as what is not there is."""
    if kept is None or kept.hidden:
        return None
    looked = walk.gate.lookups.remembered(*key)
    if looked is None or looked.current is None or looked.current.digest != kept.digest:
        return None
    if looked.epoch != walk.gate.audit.epoch:
        return None
    usable = walk.rule.fresh_s == 0 or _is_fresh(walk, looked.current)
    return looked if usable else None


def _is_fresh(walk: Walk, current: Current) -> bool:
    since = walk.at - timedelta(seconds=walk.rule.fresh_s)
    return walk.rule.fresh_s > 0 and current.as_of >= since


def check_names(resource_type: str, id_: str = "x") -> None:
    """Raises Invalid for what can be no resource type or id, before anything else is asked."""
    if not TYPE.fullmatch(resource_type):
        raise Invalid("that is not the name of a FHIR resource type")
    if not ID.fullmatch(id_):
        raise Invalid("a FHIR id has 1 to 64 characters out of A-Z a-z 0-9 - .")


async def _read_live(
    walk: Walk, reference: str, current: Current | None
) -> tuple[Held, datetime, bool]:
    """Asks the system of record, conditionally where we hold a version; True: it is stale."""
    source = walk.gate.source(walk.connection)
    try:
        answer = await source.read(reference, if_none_match=current.version if current else None)
    except (SourceUnreachable, Throttled) as error:
        if current and walk.rule.when_unreachable == "stale":
            return current, current.as_of, True
        await record_failure(walk, reference, error)
        raise
    except ChartgateError as error:
        await record_failure(walk, reference, error)
        if isinstance(error, NotFound):
            raise with_decision(NotFound(SAY_NOT_FOUND), walk) from error
        raise
    if isinstance(answer, NotModified):
        assert current is not None, "a 304 without a version asked about"
        if answer.as_of - current.as_of > TOUCH_AFTER:
            resource_type, _, id_ = reference.partition("/")
            walk.gate.lookups.note_current(
                walk.connection, resource_type, id_, version=answer.version, as_of=answer.as_of
            )
        return current, answer.as_of, False
    if current is None or answer.digest != current.digest:
        await RecordStore(walk.gate.database).keep(walk.connection, [answer])
    return answer, answer.as_of, False


async def _record_shown(
    walk: Walk,
    visible: Visible,
    as_of: datetime,
    sent: Shown | None,
    *,
    reason: str | None,
    still: Still | None,
) -> int:
    """The read set, the bytes that are sent and the event, durable; the epoch then."""
    shown = visible.shown
    seen = Seen(
        reference=visible.reference, version=shown.version, digest=shown.digest, as_of=as_of
    )
    event = walk.event(
        visible.reference,
        patients=shown.patients,
        reason=reason,
        labels=codes_of(shown.labels),
        consent=consent_digest([visible]),
        decision=visible.decision,
        disclosed=sent.digest.hex() if sent else None,
    )
    return await record(walk, event, [seen], disclosed=sent, still=still)


def _matches(if_none_match: str, etag: str) -> bool:
    """Weak comparison with a list of entity tags. Source: RFC 9110, section 13.1.2"""
    strong = etag.removeprefix("W/")
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return if_none_match.strip() == "*" or strong in tags
