"""The walk of a read: an AI client sees one resource, or what a search finds, of one site.

charter → decide → (refused: audited, then as if it were not there) → the record, or the live
system of record → minimise → read set and audit durable → answer. Whatever goes wrong before the
audit is durable, nothing is answered.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlencode
from uuid import UUID, uuid4

import orjson

from chartgate.errors import ChartgateError, Denied, Invalid, NotFound, SourceUnreachable, Throttled
from chartgate.formats.canonical import canonical_bytes
from chartgate.formats.compartment import patient_of
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import Charter, ReadRule
from chartgate.model.decision import Decision, Request
from chartgate.model.interaction import Interaction, Seen
from chartgate.model.ports import Criteria
from chartgate.model.principal import Client
from chartgate.model.resource import Copy, NotModified, Resource, SearchPage
from chartgate.policy.decide import decide
from chartgate.policy.minimise import minimise
from chartgate.policy.search_guard import check_search
from chartgate.store.caches import Minimised
from chartgate.store.database import promptly
from chartgate.store.interactions import InteractionStore
from chartgate.store.lookups import Current
from chartgate.store.record import RecordStore

Verb = Literal["read", "search"]

# One sentence for "not there", "not yours" and "not in your charter": nobody learns which.
SAY_NOT_FOUND = "there is no such resource"
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
TYPE = re.compile(r"[A-Z][A-Za-z]{1,40}")
# A live read that found nothing new says so in the record at most this often: other readers
# gain by it, and a write for each read would halve the speed.
TOUCH_AFTER = timedelta(seconds=5)
CHARTER_DIGEST_SHOWN = 12  # hex digits in an ETag
SEARCH_KEPT_MAX = 500  # characters of a search in the read set


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What goes back. `body` is empty where `not_modified`."""

    body: bytes
    etag: str  # weak: of the version and of the charter, since a charter changes what is shown
    as_of: datetime
    interaction: str
    not_modified: bool
    decision: str
    stale: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """What is settled once the client may do it: under which charter, rule and interaction."""

    gate: Gate
    client: Client
    charter: Charter
    site: str
    connection: str
    verb: Verb
    rule: ReadRule
    decision: Decision
    interaction: Interaction
    opened: bool  # this walk opens the interaction
    at: datetime

    def event(
        self,
        *entities: str,
        outcome: Outcome = Outcome.SUCCESS,
        patient: str | None = None,
        reason: str | None = None,
        details: tuple[tuple[str, str], ...] = (),
    ) -> AuditEvent:
        """The audit event of this walk."""
        return AuditEvent(
            recorded=self.at,
            action=f"fhir.{self.verb}",
            agent=self.client.agent,
            outcome=outcome,
            entities=entities,
            patient=patient,
            site=self.site,
            charter=self.charter.name,
            charter_digest=self.charter.digest,
            purpose=self.charter.purpose_of_use,
            interaction=self.interaction.id,
            rule=self.decision.rule,
            decision=self.decision.id,
            reason=reason,
            details=details,
        )


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
    Throttled, Unavailable."""
    check_names(resource_type, id_)
    walk = await _enter(gate, client, site, "read", resource_type, interaction)
    key = (walk.connection, f"{resource_type}/{id_}", walk.charter.digest)
    kept = gate.caches.minimised.get(key)
    current, epoch = await gate.lookups.current(
        walk.connection, resource_type, id_, known=kept.digest if kept else None
    )
    fresh_since = walk.at - timedelta(seconds=walk.rule.fresh_s)
    stale = False
    try:
        if current and walk.rule.fresh_s > 0 and current.as_of >= fresh_since:
            shown, as_of = _shown_current(walk, key, kept, current), current.as_of
        else:
            shown, as_of, stale = await _read_live(walk, key, kept, current)
    except Denied as error:
        # It cannot be minimised without being misread; the client learns no more than for others.
        await _record(walk, walk.event(key[1], outcome=Outcome.DENIED, reason="minimise"))
        raise NotFound(SAY_NOT_FOUND) from error
    seen = Seen(reference=key[1], version=shown.version, digest=shown.digest, as_of=as_of)
    reason = "stale" if stale else None
    await _record(walk, walk.event(key[1], patient=shown.patient, reason=reason), [seen])
    not_modified = if_none_match is not None and _matches(if_none_match, shown.etag)
    return Answer(
        body=b"" if not_modified else shown.body,
        etag=shown.etag,
        as_of=as_of,
        interaction=walk.interaction.id,
        not_modified=not_modified,
        decision=walk.decision.id,
        stale=stale,
    )


async def search(
    gate: Gate,
    client: Client,
    site: str,
    resource_type: str,
    criteria: Criteria,
    *,
    interaction: str | None,
    count: int | None = None,
) -> Answer:
    """FHIR type search; the Bundle holds at most `count` matches, and at most what the config
    allows. Raises Denied, and as `read`."""
    check_names(resource_type)
    walk = await _enter(gate, client, site, "search", resource_type, interaction)
    await _check_search(walk, resource_type, criteria)
    count_max = min(count or gate.config.web.search_count_max, gate.config.web.search_count_max)
    page = await _search_live(walk, resource_type, criteria, count_max)
    copies = [c for c in page.copies if c.resource_type == resource_type]
    await RecordStore(gate.database).keep(walk.connection, copies)
    pairs = [(c, m) for c in copies if (m := _shown_or_none(walk, c))]
    asked = _search_text(resource_type, criteria)
    seen = [
        Seen(reference=c.reference, version=c.version, digest=c.digest, as_of=c.as_of, search=asked)
        for c, _ in pairs
    ]
    patients = {m.patient for _, m in pairs}
    event = walk.event(
        resource_type,
        *(c.reference for c, _ in pairs),
        patient=patients.pop() if len(patients) == 1 else None,
    )
    await _record(walk, event, seen)
    return Answer(
        body=_bundle(
            walk,
            resource_type,
            criteria,
            pairs,
            complete=page.complete and len(pairs) == len(page.copies),
        ),
        etag="",
        as_of=page.as_of,
        interaction=walk.interaction.id,
        not_modified=False,
        decision=walk.decision.id,
        stale=False,
    )


async def _check_search(walk: Walk, resource_type: str, criteria: Criteria) -> None:
    """What may not be read may not be searched by. Raises Denied, audited."""
    try:
        check_search(walk.rule, resource_type, criteria)
    except ChartgateError:
        names = ",".join(sorted({name for name, _ in criteria}))[:SEARCH_KEPT_MAX]
        details = (("parameters", names),)  # their values may be about a patient
        denied = walk.event(
            resource_type, outcome=Outcome.DENIED, reason="search-guard", details=details
        )
        await _record(walk, denied)
        raise


def check_names(resource_type: str, id_: str = "x") -> None:
    """Raises Invalid for what can be no resource type or id, before anything else is asked."""
    if not TYPE.fullmatch(resource_type):
        raise Invalid("that is not the name of a FHIR resource type")
    if not ID.fullmatch(id_):
        raise Invalid("a FHIR id has 1 to 64 characters out of A-Z a-z 0-9 - .")


async def _enter(
    gate: Gate, client: Client, site: str, verb: Verb, resource_type: str, interaction: str | None
) -> Walk:
    """The decision, and the interaction that the read joins. Raises Invalid, NotFound."""
    book = gate.charters
    at = gate.clock()
    charter = book.get(client.charter)
    decision = decide(
        book,
        Request(
            principal=client,
            action=verb,
            charter=charter.name,
            site=site,
            resource_type=resource_type,
        ),
    )
    joined = await _interaction_named(gate, interaction) if interaction else None
    new = joined or Interaction(
        id=str(uuid4()), client=client.id, charter=charter.name, site=site, started_at=at
    )
    walk = Walk(
        gate=gate,
        client=client,
        charter=charter,
        site=site,
        connection=charter.sites.get(site, ""),
        verb=verb,
        rule=charter.reads.get(resource_type) or ReadRule(elements=()),
        decision=decision,
        interaction=new,
        opened=interaction is None,
        at=at,
    )
    reason = _refusal(walk, resource_type, asked_to_join=interaction is not None, joined=joined)
    if reason:
        # The interaction may be another's, so a refused read neither joins nor opens one.
        event = walk.event(resource_type, outcome=Outcome.DENIED, reason=reason)
        await gate.audit.record(replace(event, interaction=None))
        raise NotFound(SAY_NOT_FOUND)
    return walk


def _refusal(
    walk: Walk, resource_type: str, *, asked_to_join: bool, joined: Interaction | None
) -> str | None:
    """Why this walk may not go on, as a code for the audit; None: it may."""
    if not walk.decision.permitted:
        return "policy"
    if not can_use_scope(walk.client, resource_type, walk.verb):
        return "scope"
    if not walk.connection or resource_type not in walk.charter.reads:
        return "charter"
    if asked_to_join and (
        joined is None
        or (joined.client, joined.charter, joined.site)
        != (walk.client.id, walk.charter.name, walk.site)
    ):
        return "interaction"
    return None


def can_use_scope(client: Client, resource_type: str, verb: Verb) -> bool:
    """Whether the token's scopes cover it: "system/Slot.rs" covers read and search of Slot."""
    letter = "r" if verb == "read" else "s"
    prefix = f"system/{resource_type}."
    return any(s.startswith(prefix) and letter in s[len(prefix) :] for s in client.scopes)


async def _interaction_named(gate: Gate, text: str) -> Interaction | None:
    """The interaction, out of memory where it is known: it never changes."""
    try:
        id_ = str(UUID(text))
    except ValueError:
        raise Invalid("Chartgate-Interaction must be a UUID that an earlier answer gave") from None
    known = gate.caches.interactions.get(id_)
    if known is None:
        async with promptly():
            known = await InteractionStore(gate.database).get(id_)
        if known is not None:
            gate.caches.interactions.put(id_, known)
    return known


async def _read_live(
    walk: Walk, key: tuple[str, str, str], kept: Minimised | None, current: Current | None
) -> tuple[Minimised, datetime, bool]:
    """Asks the system of record, conditionally where we hold a version; True: it is stale."""
    source = walk.gate.source(walk.connection)
    try:
        answer = await source.read(key[1], if_none_match=current.version if current else None)
    except (SourceUnreachable, Throttled) as error:
        if current and walk.rule.when_unreachable == "stale":
            return _shown_current(walk, key, kept, current), current.as_of, True
        await _record_failure(walk, key[1], error)
        raise
    except ChartgateError as error:
        await _record_failure(walk, key[1], error)
        if isinstance(error, NotFound):
            raise NotFound(SAY_NOT_FOUND) from error
        raise
    if isinstance(answer, NotModified):
        assert current is not None, "a 304 without a version asked about"
        if answer.as_of - current.as_of > TOUCH_AFTER:
            resource_type, _, id_ = key[1].partition("/")
            walk.gate.lookups.note_current(
                walk.connection, resource_type, id_, version=answer.version, as_of=answer.as_of
            )
        return _shown_current(walk, key, kept, current), answer.as_of, False
    if current is None or answer.digest != current.digest:
        await RecordStore(walk.gate.database).keep(walk.connection, [answer])
    return _shown(walk, key, answer, answer.body), answer.as_of, False


async def _search_live(
    walk: Walk, resource_type: str, criteria: Criteria, count_max: int
) -> SearchPage:
    try:
        return await walk.gate.source(walk.connection).search(
            resource_type, criteria, count_max=count_max
        )
    except ChartgateError as error:
        await _record_failure(walk, resource_type, error)
        raise


async def _record(walk: Walk, event: AuditEvent, seen: Sequence[Seen] = ()) -> None:
    """Durable before it returns; then the interaction is known to this process too."""
    await walk.gate.audit.record(event, seen=seen, opened=walk.interaction if walk.opened else None)
    if walk.opened:
        walk.gate.caches.interactions.put(walk.interaction.id, walk.interaction)


async def _record_failure(walk: Walk, entity: str, error: ChartgateError) -> None:
    await _record(walk, walk.event(entity, outcome=Outcome.FAILED, reason=error.issue))


def _key(walk: Walk, reference: str) -> tuple[str, str, str]:
    return (walk.connection, reference, walk.charter.digest)


def _shown_current(
    walk: Walk, key: tuple[str, str, str], kept: Minimised | None, current: Current
) -> Minimised:
    """The record's copy as this charter may see it."""
    if current.body is None:
        assert kept is not None, "the body was left out, so its digest was known"
        return kept
    return _shown(walk, key, current, current.body)


def _shown(walk: Walk, key: tuple[str, str, str], copy: Copy | Current, body: bytes) -> Minimised:
    """Minimises, or takes what was minimised before from the same bytes under the same charter."""
    kept = walk.gate.caches.minimised.get(key)
    if kept is not None and kept.digest == copy.digest:
        return kept
    resource: Resource = orjson.loads(body)
    shown = Minimised(
        digest=copy.digest,
        version=copy.version,
        body=canonical_bytes(minimise(resource, walk.rule)),
        etag=f'W/"{copy.version}-{walk.charter.digest[:CHARTER_DIGEST_SHOWN]}"',
        patient=patient_of(resource),
    )
    walk.gate.caches.keep_minimised(key, shown)
    return shown


def _shown_or_none(walk: Walk, copy: Copy) -> Minimised | None:
    """None for what cannot be minimised without being misread; it is then left out."""
    try:
        return _shown(walk, _key(walk, copy.reference), copy, copy.body)
    except Denied:
        return None


def _matches(if_none_match: str, etag: str) -> bool:
    """Weak comparison with a list of entity tags. Source: RFC 9110, section 13.1.2"""
    strong = etag.removeprefix("W/")
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return if_none_match.strip() == "*" or strong in tags


def _search_text(resource_type: str, criteria: Criteria) -> str:
    query = "&".join(f"{name}={value}" for name, value in criteria)
    return f"{resource_type}?{query}"[:SEARCH_KEPT_MAX]


def _bundle(
    walk: Walk,
    resource_type: str,
    criteria: Criteria,
    pairs: Sequence[tuple[Copy, Minimised]],
    *,
    complete: bool,
) -> bytes:
    """A searchset of the minimised bytes as they are. A total is given only where all is here."""
    base = f"{walk.gate.config.web.url}/fhir/{walk.site}"
    entries: list[dict[str, object]] = [
        {
            "fullUrl": f"{base}/{copy.reference}",
            "resource": orjson.Fragment(minimised.body),
            "search": {"mode": "match"},
        }
        for copy, minimised in pairs
    ]
    bundle: dict[str, object] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "self", "url": f"{base}/{resource_type}?{urlencode(criteria)}"}],
    }
    if complete:
        bundle["total"] = len(entries)
    else:
        entries.append({"resource": INCOMPLETE, "search": {"mode": "outcome"}})
    if entries:
        bundle["entry"] = entries  # FHIR has no empty arrays
    return orjson.dumps(bundle)


INCOMPLETE = {
    "resourceType": "OperationOutcome",
    "issue": [
        {
            "severity": "warning",
            "code": "too-costly",
            "diagnostics": "there are more matches than may be shown in one answer; "
            "narrow the search",
        }
    ],
}
