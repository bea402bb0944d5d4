"""What a read or search has settled before anything is asked of a system of record: who reads,
under which charter and rule, by which decision, in which interaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeVar
from uuid import UUID, uuid4

from chartgate.errors import ChartgateError, Invalid, Moved, NotFound
from chartgate.formats.compartment import SOMEBODY
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import Charter, ReadRule
from chartgate.model.decision import Decision, Request
from chartgate.model.disclosure import Shown
from chartgate.model.interaction import Interaction, Seen
from chartgate.model.principal import Client
from chartgate.policy.charters import CharterBook
from chartgate.policy.decide import decide
from chartgate.policy.scopes import Scope, permitted_scopes
from chartgate.store.audit import Still
from chartgate.store.database import promptly
from chartgate.store.interactions import InteractionStore
from chartgate.store.stages import StageStore

Verb = Literal["read", "search"]
E = TypeVar("E", bound=ChartgateError)

# One sentence for "not there", "not yours" and "not in your charter": nobody learns which.
SAY_NOT_FOUND = "there is no such resource"
SAY_MOVED = "rights were changed just now, so nothing was answered; try again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """One try of a read or search."""

    gate: Gate
    book: CharterBook
    client: Client
    charter: Charter
    site: str
    connection: str
    verb: Verb
    request: Request
    rule: ReadRule
    scopes: tuple[Scope, ...]  # of the client, for this type and verb
    decision: Decision
    interaction: Interaction
    opened: bool  # this walk opens the interaction
    at: datetime

    def event(
        self,
        *entities: str,
        outcome: Outcome = Outcome.SUCCESS,
        patients: Iterable[str] = (),
        reason: str | None = None,
        labels: tuple[str, ...] | None = None,
        consent: str | None = None,
        disclosed: str | None = None,
        decision: Decision | None = None,
        details: tuple[tuple[str, str], ...] = (),
    ) -> AuditEvent:
        """The audit event of this walk."""
        named = tuple(sorted(set(patients) - {SOMEBODY}))
        return AuditEvent(
            recorded=self.at,
            action=f"fhir.{self.verb}",
            agent=self.client.agent,
            outcome=outcome,
            entities=entities,
            patient=named[0] if len(named) == 1 else None,
            patients=named if len(named) > 1 else None,
            site=self.site,
            charter=self.charter.name,
            charter_digest=self.charter.digest,
            purpose=self.charter.purpose_of_use,
            interaction=self.interaction.id,
            rule=(decision or self.decision).rule,
            decision=(decision or self.decision).id,
            reason=reason,
            labels=labels,
            consent=consent,
            disclosed=disclosed,
            details=details,
        )


async def enter(
    gate: Gate, client: Client, site: str, verb: Verb, resource_type: str, interaction: str | None
) -> Walk:
    """The decision, and the interaction that the read joins. Raises Invalid, NotFound."""
    book = gate.charters
    at = gate.clock()
    charter = book.get(client.charter)
    stage = None
    if "stage" in forbids_ask(gate, book, verb):
        async with promptly():
            stage = await StageStore(gate.database).current(charter)
    request = Request(
        principal=client,
        action=verb,
        charter=charter.name,
        site=site,
        resource_type=resource_type,
        stage=stage,
        preliminary=True,
    )
    joined = await _interaction_named(gate, interaction) if interaction else None
    new = joined or Interaction(
        id=str(uuid4()), client=client.id, charter=charter.name, site=site, started_at=at
    )
    walk = Walk(
        gate=gate,
        book=book,
        client=client,
        charter=charter,
        site=site,
        connection=charter.sites.get(site, ""),
        verb=verb,
        request=request,
        rule=charter.reads.get(resource_type) or ReadRule(elements=()),
        scopes=permitted_scopes(client, resource_type, verb[0]),
        decision=decide(book, request),
        interaction=new,
        opened=interaction is None,
        at=at,
    )
    reason = _refusal(walk, resource_type, asked_to_join=interaction is not None, joined=joined)
    if reason:
        # The interaction may be another's, so a refused read neither joins nor opens one.
        event = walk.event(resource_type, outcome=Outcome.DENIED, reason=reason)
        await gate.audit.record(replace(event, interaction=None))
        raise with_decision(NotFound(SAY_NOT_FOUND), walk)
    return walk


def forbids_ask(gate: Gate, book: CharterBook, verb: str) -> frozenset[str]:
    """What the forbids on this verb look at: the rest need not be found out."""
    key = (book.digest, verb)
    known = gate.caches.asked.get(key)
    if known is None:
        forbids = book.rulebook.forbids.values()
        known = frozenset[str]().union(*(f.asks for f in forbids if verb in f.actions))
        gate.caches.asked.put(key, known)
    return known


async def record(
    walk: Walk,
    event: AuditEvent,
    seen: Sequence[Seen] = (),
    *,
    disclosed: Shown | None = None,
    still: Still | None = None,
) -> int:
    """Durable before it returns, with what is disclosed; then the interaction is known to this
    process too. The epoch. Raises Moved where `still` is not the record's current copy."""
    epoch = await walk.gate.audit.record(
        event,
        seen=seen,
        opened=walk.interaction if walk.opened else None,
        disclosed=disclosed,
        still=still,
    )
    if walk.opened:
        walk.gate.caches.interactions.put(walk.interaction.id, walk.interaction)
    return epoch


async def record_denied(
    walk: Walk, *entities: str, reason: str, consent: str | None = None
) -> NotFound:
    """The error to raise for what may not be known to be there, after it was audited."""
    event = walk.event(*entities, outcome=Outcome.DENIED, reason=reason, consent=consent)
    await record(walk, event)
    return with_decision(NotFound(SAY_NOT_FOUND), walk)


async def record_failure(walk: Walk, entity: str, error: ChartgateError) -> None:
    """Notes that it was allowed and did not work."""
    await record(walk, walk.event(entity, outcome=Outcome.FAILED, reason=error.issue))
    with_decision(error, walk)


def with_decision(error: E, walk: Walk) -> E:
    """The error with the id of the decision by which the walk began: the same for what is not
    there and for what may not be seen."""
    error.decision = walk.decision.id
    return error


def check_still(walk: Walk, *epochs: int) -> None:
    """Nobody lost a right while this walk was under way: the epochs that it met are one, and that
    of the client's credential; and the charters that decided still run. Raises Moved."""
    met = set(epochs)
    if walk.client.epoch is not None:
        met.add(walk.client.epoch)
    if len(met) > 1 or walk.gate.charters is not walk.book:
        raise Moved(SAY_MOVED)


def _refusal(
    walk: Walk, resource_type: str, *, asked_to_join: bool, joined: Interaction | None
) -> str | None:
    """Why this walk may not go on, as a code for the audit; None: it may."""
    if not walk.decision.permitted:
        return "policy"
    if not walk.scopes:
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
