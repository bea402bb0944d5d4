"""What one reader may see of copies of resources: all that policy, scopes, labels, relationship,
consent and minimisation leave of them, or why nothing is left.

What follows from the copy and the running charters alone (its labels, whom it names, how it looks
when minimised) is worked out once and kept by the copy's digest. What follows from consents, time
and relationship is asked each time.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import orjson

from chartgate.errors import Denied
from chartgate.flows.consents import Asked, decide_for
from chartgate.flows.read_walk import Walk, forbids_ask
from chartgate.flows.relationships import relationships_of
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.formats.compartment import SOMEBODY, is_unattributed, patients_named
from chartgate.model.charter import RELATIONSHIPS
from chartgate.model.consent import ConsentAnswer
from chartgate.model.decision import Decision, at_release
from chartgate.model.disclosure import Piece
from chartgate.model.label import Labels, security_of
from chartgate.model.resource import Resource
from chartgate.policy.consent_part2 import NOTICE
from chartgate.policy.consent_question import question_about
from chartgate.policy.decide import decide
from chartgate.policy.labels import can_show, labels_of
from chartgate.policy.minimise import ViewSettings, minimise
from chartgate.policy.scopes import Scope, any_matches
from chartgate.store.caches import Minimised

BOOK_DIGEST_SHOWN = 12  # hex digits in an ETag


class Held(Protocol):
    """A copy from a system of record or from our own record."""

    @property
    def version(self) -> str: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def body(self) -> bytes | None: ...
    @property
    def as_of(self) -> datetime: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Visible:
    """One copy as this reader may see it now. `hidden` says why not, as a code for the audit;
    empty: they may."""

    reference: str
    as_of: datetime
    shown: Minimised
    decision: Decision  # at release
    consent: ConsentAnswer | None  # None: nobody had to be asked
    hidden: str


async def look(walk: Walk, copies: Sequence[tuple[str, Held]], *, epoch: int) -> list[Visible]:
    """For each copy, with its reference; `epoch` is what the store said in this walk. Raises
    Unavailable, ConfigError."""
    found = [(r, copy.as_of, minimised(walk, r, copy)) for r, copy in copies]
    asked = [shown for _, _, shown in found if not shown.hidden and shown.patients]
    related = await _related(walk, asked)
    answers = iter(await _consented(walk, asked, epoch))
    return [
        _visible(
            walk,
            reference,
            as_of,
            shown,
            next(answers) if not shown.hidden and shown.patients else None,
            related.get(shown.patients, frozenset()),
        )
        for reference, as_of, shown in found
    ]


async def _related(walk: Walk, asked: Sequence[Minimised]) -> dict[frozenset[str], frozenset[str]]:
    """By whom a resource names: what the client is known to be to each of them."""
    kinds: Sequence[str] = walk.rule.relationship
    if "relationship" in forbids_ask(walk.gate, walk.book, walk.verb):
        kinds = RELATIONSHIPS
    if not kinds:
        return {}
    patients = sorted({patient for each in asked for patient in each.patients})
    found = await asyncio.gather(
        *(relationships_of(walk.gate, walk.connection, p, walk.client, kinds) for p in patients)
    )
    known = dict(zip(patients, found, strict=True))
    return {
        named: frozenset(kinds).intersection(*(known[patient] for patient in named))
        for named in {each.patients for each in asked}
    }


async def _consented(walk: Walk, asked: Sequence[Minimised], epoch: int) -> Sequence[ConsentAnswer]:
    if not asked:
        return ()
    questions = [Asked(patients=each.patients, question=each.question) for each in asked]
    return await decide_for(
        walk.gate, walk.site, walk.client.id, questions, at=walk.at, epoch=epoch
    )


def _visible(
    walk: Walk,
    reference: str,
    as_of: datetime,
    shown: Minimised,
    consent: ConsentAnswer | None,
    relationship: frozenset[str],
) -> Visible:
    decision = decide(walk.book, at_release(walk.request, shown.labels, relationship))
    hidden = shown.hidden
    if not hidden and not decision.permitted:
        hidden = "policy"
    if not hidden and consent is not None and not consent.permitted:
        hidden = "consent"
    return Visible(
        reference=reference,
        as_of=as_of,
        shown=shown,
        decision=decision,
        consent=consent,
        hidden=hidden,
    )


def consent_digest(shown: Sequence[Visible]) -> str | None:
    """Of all consents by which these were looked at, for the audit."""
    digests = [v.consent.digest for v in shown if v.consent is not None]
    if len(set(digests)) <= 1:
        return digests[0] if digests else None
    return digest("/".join(digests).encode()).hex()


def notice_of(shown: Sequence[Visible]) -> str:
    """What must travel with them by 42 CFR 2.32: the notice, and what the consents cover."""
    under = [v.consent for v in shown if v.consent is not None and v.consent.notice]
    if not under:
        return ""
    scopes = sorted({answer.scope for answer in under if answer.scope})
    return " ".join([NOTICE, *(f"({scope})" for scope in scopes)])


def known(walk: Walk, reference: str) -> Minimised | None:
    """What was worked out before about some version of this resource, under these charters."""
    return walk.gate.caches.minimised.get(_key(walk, reference))


def minimised(walk: Walk, reference: str, copy: Held) -> Minimised:
    """The copy as the charter shows it; out of memory where its digest is known."""
    kept = known(walk, reference)
    if kept is not None and kept.digest == copy.digest:
        return kept
    assert copy.body is not None, "the body was left out, so its digest was known"
    entry = _worked_out(walk, copy, orjson.loads(copy.body))
    walk.gate.caches.keep_minimised(_key(walk, reference), entry)
    return entry


def _key(walk: Walk, reference: str) -> tuple[str, str, str, tuple[Scope, ...]]:
    narrowed = walk.scopes if any(scope.conditions for scope in walk.scopes) else ()
    by = f"{walk.book.digest}/{walk.charter.name}"
    if walk.rule.view != "identified":
        by += f"/{walk.at.year}"  # who is over 89 depends on it
    return (walk.connection, reference, by, narrowed)


def _worked_out(walk: Walk, copy: Held, resource: Resource) -> Minimised:
    """What follows from the copy and the running charters alone."""
    named = patients_named(resource)
    if is_unattributed(resource, named):
        named = frozenset({SOMEBODY})
    labels = labels_of(resource, walk.book.labels)
    body, hidden = b"", _hidden(walk, resource, labels)
    if not hidden:
        try:
            settings = ViewSettings(year=walk.at.year)
            body = canonical_bytes(minimise(labelled(resource, labels), walk.rule, settings))
        except Denied:
            hidden = "minimise"  # it cannot be shown without being misread
    if not hidden and copy.body:
        share = len(body) / len(copy.body)
        walk.gate.metrics.minimised(walk.charter.name, walk.request.resource_type or "", share)
    patients = sorted(named)
    return Minimised(
        digest=copy.digest,
        version=copy.version,
        piece=Piece(
            digest=digest(body),
            body=body,
            patient=patients[0] if len(patients) == 1 and patients[0] != SOMEBODY else None,
        ),
        etag=f'W/"{copy.version}-{walk.book.digest[:BOOK_DIGEST_SHOWN]}"',
        patients=named,
        labels=labels,
        question=question_about(
            resource,
            patient="",
            purpose=walk.charter.purpose_of_use,
            actors=frozenset(),
            labels=labels,
            at=walk.at,
        ),
        hidden=hidden,
    )


def _hidden(walk: Walk, resource: Resource, labels: Labels) -> str:
    if not any_matches(walk.scopes, resource):
        return "scope"
    permitted, _ = can_show(labels, walk.rule)
    return "" if permitted else "label"


def labelled(resource: Resource, labels: Labels) -> Resource:
    """The resource with what was found out about it in meta.security, beside what stood there."""
    found = security_of(labels)
    if not found:
        return resource
    held = resource.get("meta")
    meta: Resource = held if isinstance(held, dict) else {}
    said = meta.get("security")
    stated = said if isinstance(said, list) else []
    codes = {c.get("code") for c in stated if isinstance(c, dict)}
    security = [*stated, *(c for c in found if c["code"] not in codes)]
    return {**resource, "meta": {**meta, "security": security}}
