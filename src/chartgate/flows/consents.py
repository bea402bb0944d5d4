"""Asking a patient's consents.

What the system of record said is believed for `consent_fresh_s` of the site, then it is asked
again. No answer, half an answer or another patient's means that not all is known, and then nothing
is permitted that needs to be. An answer is kept for a question only while the store says that no right was taken away
(the epoch, see store/governance.py), no period begins or ends, and what was heard is fresh.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import orjson

from chartgate.config import Config, SiteConfig
from chartgate.errors import ChartgateError
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent
from chartgate.model.consent import ConsentAnswer, ConsentMode, ConsentQuestion
from chartgate.model.resource import Copy, SearchPage, split_reference
from chartgate.policy.consent import (
    Consents,
    all_of,
    compile_consents,
    decide_consent,
    same_until,
)
from chartgate.policy.consent_codes import Match
from chartgate.policy.consent_references import same_reference
from chartgate.policy.consent_times import BEGINNING, END
from chartgate.store.caches import KeptAnswer
from chartgate.store.consents import ConsentStore, Known
from chartgate.store.database import promptly

CONSENTS_MAX = 200  # of one patient; with more, not all are known
ASKED_AT_ONCE = 8  # patients of one search whom the system of record is asked about
AGENT = "process:consents"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One resource: whom it names, and what it asks of each of them. The question's patient,
    actors, time and zone are filled in here."""

    patients: frozenset[str]  # each has a say; one that cannot be told is not known
    question: ConsentQuestion


async def decide_for(
    gate: Gate,
    site: str,
    client: str,
    asked: Sequence[Asked],
    *,
    at: datetime,
    epoch: int | None = None,
) -> tuple[ConsentAnswer, ...]:
    """An answer for each, out of one look at the store; out of memory where nothing was changed
    since: `epoch` is what the store said just now. Raises Unavailable, ConfigError."""
    kept = [_kept_answer(gate, site, client, each, at, epoch) for each in asked]
    rest = [each for each, answer in zip(asked, kept, strict=True) if answer is None]
    if not rest:
        return tuple(answer for answer in kept if answer is not None)
    own = gate.config.site(site)
    patients = sorted({patient for each in rest for patient in each.patients})
    heard = dict(zip(patients, await _hear(gate, site, patients, epoch), strict=True))
    actors, zone = actors_of(gate.config, site, client), zone_of(own)

    def answer(question: ConsentQuestion, patient: str) -> ConsentAnswer:
        filled = replace(question, patient=patient, actors=actors, zone=zone, at=at)
        mode, consents = cast(ConsentMode, own.consent), heard[patient].consents
        return decide_consent(consents, filled, mode, exceptions=own.consent_exceptions)

    def answered(each: Asked) -> ConsentAnswer:
        found = all_of([answer(each.question, patient) for patient in sorted(each.patients)])
        if epoch is not None:
            whose = [heard[patient] for patient in each.patients]
            untils = [same_until(one.consents, at, zone) for one in whose]
            entry = KeptAnswer(
                question=each.question,
                epoch=epoch,
                since=at,
                until=min([*untils, *(one.until for one in whose)]),
                answer=found,
            )
            gate.caches.consent_answers.put((site, client, id(each.question)), entry)
        return found

    return tuple(
        answered(each) if answer is None else answer
        for each, answer in zip(asked, kept, strict=True)
    )


def _kept_answer(
    gate: Gate, site: str, client: str, each: Asked, at: datetime, epoch: int | None
) -> ConsentAnswer | None:
    entry = gate.caches.consent_answers.get((site, client, id(each.question)))
    if entry is None or entry.question is not each.question or entry.epoch != epoch:
        return None
    return entry.answer if entry.since <= at < entry.until else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heard:
    """A patient's consents, and before when they need not be heard again."""

    consents: Consents
    until: datetime


async def consents_of(gate: Gate, site: str, patients: Sequence[str]) -> tuple[Consents, ...]:
    """All that is known of each patient's consents, asked anew where it is too old. One whose
    system of record does not answer is not complete. Raises Unavailable, ConfigError."""
    return tuple(heard.consents for heard in await _hear(gate, site, patients, None))


async def _hear(
    gate: Gate, site: str, patients: Sequence[str], epoch: int | None
) -> tuple[_Heard, ...]:
    own = gate.config.site(site)
    begun = gate.clock()
    since = begun - timedelta(seconds=own.consent_fresh_s) if own.consent_from else None
    known = await gate.consent_lookups.known(
        site, own.consent_from, patients, epoch=epoch, since=since
    )
    now = gate.clock()
    old = [
        p for p in dict.fromkeys(patients) if own.consent_from and not _is_fresh(own, known[p], now)
    ]
    asked = await _ask_all(gate, own, old) if old else {}
    return tuple(
        _Heard(
            consents=_compiled(own, known[p], asked.get(p), fresh=p not in old),
            until=_fresh_until(own, begun if p in asked else known[p].as_of),
        )
        for p in patients
    )


def actors_of(config: Config, site: str, client: str) -> frozenset[str]:
    """The names by which a consent at this site may mean an AI client: those that [sites] gives,
    and its own."""
    recipients = config.site(site).recipients
    listed = f"{recipients.get('*', '')} {recipients.get(client, '')}".split()
    return frozenset({*listed, f"client:{client}"})


def zone_of(site: SiteConfig) -> ZoneInfo | None:
    """Where dates without a zone are meant; None: nobody said."""
    return ZoneInfo(site.time_zone) if site.time_zone else None


def _is_fresh(own: SiteConfig, known: Known, now: datetime) -> bool:
    """One that is from the future is not: some clock is wrong."""
    kept = timedelta(seconds=own.consent_fresh_s)
    return known.as_of is not None and now - kept < known.as_of <= now + kept


def _fresh_until(own: SiteConfig, as_of: datetime | None) -> datetime:
    if not own.consent_from:
        return END
    return BEGINNING if as_of is None else as_of + timedelta(seconds=own.consent_fresh_s)


def _compiled(
    own: SiteConfig, known: Known, asked: tuple[bytes, ...] | None, *, fresh: bool
) -> Consents:
    """What was just heard, or what is fresh enough. Where neither is had, only what is known to
    deny counts."""
    heard = known.bodies if asked is None else asked
    complete = not own.consent_from or fresh or asked is not None
    return compile_consents(
        (*heard, *known.local), complete=complete and split_reference(known.patient) is not None
    )


async def _ask_all(
    gate: Gate, own: SiteConfig, patients: Sequence[str]
) -> dict[str, tuple[bytes, ...]]:
    """What the system of record says now, by patient; those whom it says nothing of in time are
    absent. Raises Unavailable where an answer cannot be kept: another process would not learn
    that it changed."""
    slots, pages = asyncio.Semaphore(ASKED_AT_ONCE), dict[str, SearchPage]()

    async def ask(patient: str) -> None:
        async with slots:
            page = await _ask(gate, own, patient)
        if page is not None:
            pages[patient] = page

    try:
        async with asyncio.timeout(own.consent_timeout_s):
            await _each(ask, patients)
    except TimeoutError:
        pass  # for all of them together: a registry that hangs must not hold a search for minutes

    async def keep(patient: str) -> None:
        async with slots, promptly():
            await _keep(gate, own, patient, pages[patient])

    await _each(keep, pages)
    return {patient: tuple(c.body for c in page.copies) for patient, page in pages.items()}


async def _each(act: Callable[[str], Coroutine[Any, Any, None]], patients: Iterable[str]) -> None:
    """All at once; what fails ends the others. No TaskGroup: until Python 3.11.3 one that fails
    leaves the request cancelled in part, and its next time-out ends it without an answer."""
    tasks = [asyncio.create_task(act(patient)) for patient in patients]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(gate: Gate, own: SiteConfig, patient: str) -> SearchPage | None:
    """None: no answer that holds."""
    if split_reference(patient) is None:
        return None
    try:
        page = await gate.source(own.consent_from).search(
            "Consent", [("patient", patient)], count_max=CONSENTS_MAX
        )
    except ChartgateError:
        return None
    return page if page.complete and all(_is_of(c, patient) for c in page.copies) else None


async def _keep(gate: Gate, own: SiteConfig, patient: str, page: SearchPage) -> None:
    event = AuditEvent(
        recorded=gate.clock(),
        action="consent.change",
        agent=AGENT,
        entities=tuple(copy.reference for copy in page.copies),
        patient=patient,
        site=own.name,
    )
    await ConsentStore(gate.database).keep(
        own.consent_from,
        patient,
        [copy.body for copy in page.copies],
        as_of=page.as_of,
        changed=event,
        # Elsewhere nothing was permitted while nothing was known: nothing is taken away now.
        first_counts=own.consent == "not-needed",
    )


def _is_of(copy: Copy, patient: str) -> bool:
    """Whether it is a Consent of this patient: else the system did not do what it was asked."""
    whose = orjson.loads(copy.body).get("patient")
    reference = whose.get("reference") if isinstance(whose, dict) else None
    return copy.resource_type == "Consent" and (
        not isinstance(reference, str) or same_reference(reference, patient) is not Match.NO
    )
