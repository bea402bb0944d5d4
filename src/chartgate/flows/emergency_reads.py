"""The walk of a read under a break-glass: a person sees one patient's chart, live, against the
usual rules; each look says so in the audit, with purpose BTG, and is kept byte for byte.

Nothing is taken from the record or a cache, and nothing is shown that names another patient.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

import orjson

from chartgate.errors import ChartgateError, Denied, Invalid, Moved, NotFound
from chartgate.flows.break_glass import own
from chartgate.flows.read_walk import SAY_MOVED, SAY_NOT_FOUND
from chartgate.flows.reads import Answer, check_names
from chartgate.formats import r4
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.formats.compartment import patients_named
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.break_glass import PURPOSE, BreakGlass
from chartgate.model.charter import ReadRule
from chartgate.model.disclosure import Piece, Shown
from chartgate.model.interaction import Interaction, Seen
from chartgate.model.label import codes_of, high_water
from chartgate.model.principal import Person
from chartgate.model.resource import Copy, NotModified
from chartgate.policy.labels import labels_of
from chartgate.policy.minimise import listable_elements, minimise
from chartgate.store.governance import current_epoch

BREAK_GLASS = "break-glass"  # stands for the charter of what is seen under one


async def read_in_emergency(
    gate: Gate, person: Person, site: str, resource_type: str, id_: str
) -> Answer:
    """One resource of the patient whose glass this person has broken. Raises NotFound for
    everything else, Invalid, SourceUnreachable, Throttled, Unavailable, Moved."""
    check_names(resource_type, id_)
    reference = f"{resource_type}/{id_}"
    epoch = await current_epoch(gate.database)
    glasses = await _glasses(gate, person, site, reference)
    copy = await _asked(gate, person, glasses[0], reference)
    of_patient = [glass for glass in glasses if _is_of(copy, glass)]
    if not of_patient:
        raise await _refused(gate, person, site, reference, "other-patient", glasses[0])
    return await _answer(gate, person, of_patient[0], reference, [copy], epoch, bundled=False)


async def search_in_emergency(gate: Gate, person: Person, site: str, resource_type: str) -> Answer:
    """All resources of one type of that patient, up to the limit. Raises as
    `read_in_emergency`."""
    check_names(resource_type)
    epoch = await current_epoch(gate.database)
    glass, *others = await _glasses(gate, person, site, resource_type)
    if others:
        raise Invalid("you have broken the glass for several patients here: read by id, or end one")
    name = "_id" if resource_type == "Patient" else "patient"
    value = glass.patient.partition("/")[2] if name == "_id" else glass.patient
    if name not in r4.search_parameters(resource_type):
        raise await _refused(gate, person, glass.site, resource_type, "type", glass)
    try:
        page = await gate.source(_connection(gate, site)).search(
            resource_type, [(name, value)], count_max=gate.config.web.search_count_max
        )
    except ChartgateError as error:
        await gate.audit.record(_failed(gate, person, glass, resource_type, error))
        raise
    return await _answer(gate, person, glass, resource_type, page.copies, epoch, bundled=True)


async def _glasses(gate: Gate, person: Person, site: str, entity: str) -> list[BreakGlass]:
    """Those that are open, at least one. Raises NotFound, audited: an EHR is not asked without."""
    now = gate.clock()
    held = [g for g in await own(gate, person) if g.holds(now) and g.site == site]
    bound = [g for g in held if person.patient in (None, g.patient)]
    if site not in person.sites or not bound or not _connection(gate, site):
        raise await _refused(gate, person, site, entity, "no-break-glass", None)
    return bound


async def _asked(gate: Gate, person: Person, glass: BreakGlass, reference: str) -> Copy:
    try:
        copy = await gate.source(_connection(gate, glass.site)).read(reference)
    except NotFound as error:
        await gate.audit.record(_failed(gate, person, glass, reference, error))
        raise NotFound(SAY_NOT_FOUND) from error
    except ChartgateError as error:
        await gate.audit.record(_failed(gate, person, glass, reference, error))
        raise
    assert not isinstance(copy, NotModified), "nothing was asked conditionally"
    return copy


async def _answer(
    gate: Gate,
    person: Person,
    glass: BreakGlass,
    entity: str,
    copies: Sequence[Copy],
    epoch: int,
    *,
    bundled: bool,
) -> Answer:
    """What is of this patient, audited and kept, then given."""
    at = gate.clock()
    connection = _connection(gate, glass.site)
    own_copies = [c for c in copies if _is_of(c, glass)]
    try:
        pieces = [_piece(c, glass) for c in own_copies]
    except Denied as error:
        raise await _refused(gate, person, glass.site, entity, "minimise", glass) from error
    shown = Shown(connection=connection, pieces=_bundle(pieces) if bundled else tuple(pieces))
    seen = [
        Seen(reference=c.reference, version=c.version, digest=c.digest, as_of=c.as_of)
        for c in own_copies
    ]
    interaction = Interaction(
        id=str(uuid4()), client=person.agent, charter=BREAK_GLASS, site=glass.site, started_at=at
    )
    event = _event(
        gate,
        person,
        glass,
        *dict.fromkeys([entity, *(c.reference for c in own_copies)]),
        search=bundled,
        interaction=interaction.id,
        labels=codes_of(
            high_water(labels_of(orjson.loads(c.body), gate.charters.labels) for c in own_copies)
        ),
        disclosed=shown.digest.hex(),
    )
    if await gate.audit.record(event, seen=seen, opened=interaction, disclosed=shown) != epoch:
        raise Moved(SAY_MOVED)
    return Answer(
        body=shown.answer,
        etag="",
        as_of=max((c.as_of for c in own_copies), default=at),
        interaction=interaction.id,
        not_modified=False,
        decision=glass.id,
        stale=False,
    )


def _is_of(copy: Copy, glass: BreakGlass) -> bool:
    """Whether it names this patient, and no other."""
    return patients_named(orjson.loads(copy.body)) == {glass.patient}


def _piece(copy: Copy, glass: BreakGlass) -> Piece:
    elements = tuple(sorted(listable_elements(copy.resource_type)))
    rule = ReadRule(elements=elements, text="keep")
    body = canonical_bytes(minimise(orjson.loads(copy.body), rule))
    return Piece(digest=digest(body), body=body, patient=glass.patient)


def _bundle(pieces: Sequence[Piece]) -> tuple[bytes | Piece, ...]:
    head = f'{{"resourceType":"Bundle","type":"searchset","total":{len(pieces)}'.encode()
    if not pieces:
        return (head + b"}",)
    parts: list[bytes | Piece] = [head + b',"entry":[{"resource":']
    for number, piece in enumerate(pieces):
        parts += [b',{"resource":', piece] if number else [piece]
        parts.append(b',"search":{"mode":"match"}}')
    return (*parts, b"]}")


def _connection(gate: Gate, site: str) -> str:
    """The system of record of a site, as the charters name it; empty: none, or not one."""
    named = {c.sites[site] for c in gate.charters.charters.values() if site in c.sites}
    return named.pop() if len(named) == 1 else ""


async def _refused(
    gate: Gate, person: Person, site: str, entity: str, reason: str, glass: BreakGlass | None
) -> NotFound:
    event = AuditEvent(
        recorded=gate.clock(),
        action="fhir.read",
        agent=person.agent,
        outcome=Outcome.DENIED,
        entities=(entity,),
        site=site,
        purpose=PURPOSE if glass else None,
        reason=reason,
        details=_details(glass) if glass else (),
    )
    await gate.audit.record(event)
    return NotFound(SAY_NOT_FOUND)


def _failed(
    gate: Gate, person: Person, glass: BreakGlass, entity: str, error: ChartgateError
) -> AuditEvent:
    return _event(gate, person, glass, entity, outcome=Outcome.FAILED, reason=error.issue)


def _event(
    gate: Gate,
    person: Person,
    glass: BreakGlass,
    *entities: str,
    search: bool = False,
    outcome: Outcome = Outcome.SUCCESS,
    reason: str | None = None,
    interaction: str | None = None,
    labels: tuple[str, ...] | None = None,
    disclosed: str | None = None,
) -> AuditEvent:
    at: datetime = gate.clock()
    return AuditEvent(
        recorded=at,
        action="fhir.search" if search else "fhir.read",
        agent=person.agent,
        outcome=outcome,
        entities=(*entities, f"BreakGlass/{glass.id}"),
        patient=glass.patient,
        site=glass.site,
        purpose=PURPOSE,
        interaction=interaction,
        rule=BREAK_GLASS,
        decision=glass.id,
        reason=reason,
        labels=labels,
        disclosed=disclosed,
        details=_details(glass),
    )


def _details(glass: BreakGlass) -> tuple[tuple[str, str], ...]:
    return ((BREAK_GLASS, glass.id), ("code", glass.code))
