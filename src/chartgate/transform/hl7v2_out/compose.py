"""One message of HL7 v2 for the changes of one write, or Unsayable.

Which trigger, which segments and where each field is from stand in the tables; here they are gone
through. The message names what is changed by our own number (SCH-1, ORC-2, TXA-12, OBR-3), which
is the write's marker, so that its undoing finds it again. Nothing depends on when or how often
this is called: the same arguments give the same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from chartgate.formats.compartment import patient_of
from chartgate.formats.hl7v2_ack import ALWAYS, control_id_of
from chartgate.formats.hl7v2_write import NULL_VALUE, Field, Repetition, SegmentSpec, write_message
from chartgate.model.resource import Resource
from chartgate.model.write import WireMessage
from chartgate.transform.hl7v2_out.datatypes import DATATYPES, Telling, Unsayable
from chartgate.transform.hl7v2_out.known import (
    fixed_values,
    order_of,
    patient_identifiers,
    result_values,
)
from chartgate.transform.hl7v2_out.paths import first_element, found, type_of
from chartgate.transform.hl7v2_out.settings import SendSettings
from chartgate.transform.hl7v2_out.subject import RESULTS, Told, check_told, main_of, trigger_of
from chartgate.transform.hl7v2_out.tables import Line, Row, Trigger

VERSION = "2.5.1"
STRUCTURES = {
    "OML^O21": "OML^O21^OML_O21",
    "ORM^O01": "ORM^O01^ORM_O01",
    "ADT^A08": "ADT^A08^ADT_A01",
    "ADT^A31": "ADT^A31^ADT_A05",
}
NAMED = frozenset(
    {
        "Encounter",
        "Location",
        "Observation",
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "ServiceRequest",
    }
)
PARTICIPANTS = frozenset({"Patient", "Practitioner", "Location"})
LINES = frozenset({"FT", "DATA"})  # each line is a repetition: HL7 v2.5.1 section 2.A.78, TX


@dataclass(frozen=True, kw_only=True)
class About:
    """One resource that segments are made of, and what rows call by `$name`."""

    resource: Resource
    values: Mapping[str, Any]
    before: Resource | None = None  # of a change
    changed: frozenset[str] = frozenset()  # elements that are to be told, so strictly


def names(changes: Sequence[Told]) -> tuple[str, ...]:
    """References to what the message would like to know of: whom and what the changes name."""
    told = dict.fromkeys(r for t in changes for r in _references(t.resource))
    own = {f"{t.resource_type}/{t.resource.get('id')}" for t in changes}
    return tuple(r for r in told if r not in own and r.partition("/")[0] in NAMED)


def compose(
    changes: Sequence[Told],
    named: Mapping[str, Resource],
    settings: SendSettings,
    *,
    marker: str,
    at: datetime,
) -> WireMessage:
    """The message. `named` is what `names` asked for, by reference, as far as it is known.

    Raises Unsayable, Unwritable.
    """
    main, message = check_sayable(changes, settings)
    code, event, _ = message.split("^")
    abouts = _abouts(changes, main, named, settings, event, at)
    body = list(_Body(settings, named, event).segments(code, abouts))
    control_id = control_id_of(sha256(f"{marker} {at.isoformat()}".encode()).digest())
    header = _header(settings, message, control_id, at)
    raw = write_message([header, *body], charset=settings.charset)
    return WireMessage(kind=f"{code}^{event}", control_id=control_id, raw=raw)


def check_sayable(changes: Sequence[Told], settings: SendSettings) -> tuple[Told, str]:
    """The change that the message is about, and the message, "SIU^S12^SIU_S12": all that can be
    told without knowing whom the changes name. Raises Unsayable."""
    main = main_of(changes)
    message = _message_of(trigger_of(main, settings.tables), settings)
    code, event, _ = message.split("^")
    if not settings.may_send(f"{code}^{event}"):
        raise Unsayable(
            f"{code}^{event} is not among the writes of [connections.{settings.connection}]"
        )
    for told in changes:
        check_told(told, trigger_of(told, settings.tables), settings.tables, code)
    _check_participants(main)
    _check_patient(changes, main)
    return main, message


def _message_of(trigger: Trigger, settings: SendSettings) -> str:
    decided = {"ORDER": settings.order_message, "PATIENT": settings.patient_message}
    kind = decided.get(trigger.message)
    return STRUCTURES[kind] if kind else trigger.message


def _header(settings: SendSettings, message: str, control_id: str, at: datetime) -> SegmentSpec:
    both = ALWAYS if settings.enhanced else None
    stamp = DATATYPES["TS"](at.isoformat(), Telling(position="MSH-7", zone=settings.zone))
    return SegmentSpec(
        "MSH",
        (
            None,
            None,
            settings.application,
            settings.facility,
            settings.receiving_application,
            settings.receiving_facility,
            (stamp,),
            None,
            (tuple(message.split("^")),),
            control_id,
            settings.processing_id,
            VERSION,
            None,
            None,
            both,
            both,
        ),
    )


def _abouts(
    changes: Sequence[Told],
    main: Told,
    named: Mapping[str, Resource],
    settings: SendSettings,
    event: str,
    at: datetime,
) -> dict[str, list[About]]:
    """Whom and what the segments are about, by the root of their rows."""
    telling = _telling(settings, "SCH-11", strict=False)
    abouts: dict[str, list[About]] = {
        "Event": [About(resource={}, values={"event": event, "at": at.isoformat()})]
    }
    for told in changes:
        trigger = trigger_of(told, settings.tables)
        values = fixed_values(told, trigger, settings, telling)
        if told.resource_type == "Observation":
            strict = replace(telling, position="OBX-5", strict=bool(told.changed))
            values |= result_values(told.resource, strict)
        about = About(
            resource=told.resource, values=values, before=told.before, changed=told.changed
        )
        abouts.setdefault(told.resource_type, []).append(about)
    if main.resource_type in RESULTS:
        _complete_results(main, abouts, named, settings, telling)
    abouts["Patient"] = [_patient(main, named, settings)]
    abouts["Encounter"] = [_encounter(main, named, settings)]
    return abouts


def _complete_results(
    main: Told,
    abouts: dict[str, list[About]],
    named: Mapping[str, Resource],
    settings: SendSettings,
    telling: Telling,
) -> None:
    """A result alone still needs its OBR; a report alone the results that it names."""
    report = abouts.get("DiagnosticReport", [About(resource=main.resource, values={})])[0]
    orders = [named[r] for r in _references(report.resource.get("basedOn")) if r in named]
    if "DiagnosticReport" not in abouts:
        kept = ("code", "effectiveDateTime", "issued")
        bare = {k: main.resource[k] for k in kept if k in main.resource}
        alone = abouts["Observation"][0].values
        report = About(resource=bare, values=alone)
    given = order_of(report.resource, orders)
    abouts["DiagnosticReport"] = [replace(report, values={**report.values, "order": given})]
    if "Observation" not in abouts:
        results = [named[r] for r in _references(report.resource.get("result")) if r in named]
        if len(results) < len(_references(report.resource.get("result"))):
            raise Unsayable("a result that the DiagnosticReport names could not be read")
        if any(patient_of(result) != patient_of(report.resource) for result in results):
            raise Unsayable("one message cannot be about several patients")
        maps = settings.tables.maps["Result"]
        abouts["Observation"] = [
            About(
                resource=result,
                values={
                    "result": maps.get(result.get("status", "")),
                    **report.values,
                    **result_values(result, replace(telling, position="OBX-5")),
                },
            )
            for result in results
        ]
    if not abouts["Observation"] and "conclusion" not in report.resource:
        raise Unsayable("a DiagnosticReport without results and without a conclusion")


def _patient(main: Told, named: Mapping[str, Resource], settings: SendSettings) -> About:
    if main.resource_type == "Patient":
        patient = main.resource
        about = About(resource=patient, values={}, before=main.before, changed=main.changed)
    else:
        reference = patient_of(main.resource)
        if reference is None or reference not in named:
            raise Unsayable("PID: whom the change is about could not be read")
        patient = named[reference]
        about = About(resource=patient, values={})
    identifiers = patient_identifiers(patient, settings)
    if not identifiers:
        raise Unsayable(
            f"PID-3: the patient has no identifier of a system that `systems` of [connections."
            f"{settings.connection}] names"
        )
    return replace(about, values={"patient_identifiers": identifiers})


def _encounter(main: Told, named: Mapping[str, Resource], settings: SendSettings) -> About:
    if main.resource_type == "Patient":
        return About(resource={}, values={"visit_identifiers": None})
    context = main.resource.get("context", {})
    references = _references(main.resource.get("encounter")) + _references(context.get("encounter"))
    encounter = next((named[r] for r in references if r in named), {})
    if references and not encounter:
        raise Unsayable("PV1: the encounter that the change names could not be read")
    known = [i for i in encounter.get("identifier", []) if i.get("system") in settings.systems]
    return About(resource=encounter, values={"visit_identifiers": known[:1] or None})


def _check_patient(changes: Sequence[Told], main: Told) -> None:
    """One message has one PID. Raises Unsayable."""
    patients = {patient_of(told.resource) for told in changes}
    patients |= {patient_of(told.before) for told in changes if told.before is not None}
    if patients != {patient_of(main.resource)}:
        raise Unsayable("one message cannot be about several patients")


def _check_participants(main: Told) -> None:
    """Each participant of a booking must have a segment. Raises Unsayable."""
    if main.resource_type != "Appointment" or "participant" not in main.changed:
        return
    for participant in main.resource.get("participant", []):
        if type_of(participant) not in PARTICIPANTS:
            raise Unsayable("SIU has no place for a participant that is no person and no place")
        if participant.keys() - {"actor", "status", "type", "required", "id"}:
            raise Unsayable("SIU has no place for the period of a participant")
        told = participant.get("status") in ("accepted", "needs-action")
        if not told or participant.get("required", "required") != "required":
            raise Unsayable("SIU books whom it names: a participant who declined is none")


class _Body:
    """Goes through the lines and rows of a message."""

    def __init__(self, settings: SendSettings, named: Mapping[str, Resource], event: str) -> None:
        self._settings = settings
        self._named = named
        self._event = event
        self._count: dict[str, int] = {}  # segments so far, by name

    def segments(self, code: str, abouts: Mapping[str, Sequence[About]]) -> Iterator[SegmentSpec]:
        """All that follow MSH."""
        for line in self._settings.tables.messages[code]:
            if line.triggers and self._event not in line.triggers:
                continue
            for about in abouts.get(line.root, ()):
                yield from self._of_line(line, about)

    def _of_line(self, line: Line, about: About) -> Iterator[SegmentSpec]:
        if line.when and not found(about.resource, line.when, self._resolve):
            return
        if not line.each:
            yield self._segment(line, about, "")
            return
        for item in found(about.resource, line.each, self._resolve):
            one = replace(about, values={**about.values, "item": item})
            yield self._segment(line, one, first_element(line.each))

    def _segment(self, line: Line, about: About, through: str) -> SegmentSpec:
        number = self._count[line.segment] = self._count.get(line.segment, 0) + 1
        numbered = replace(about, values={**about.values, "n": str(number)})
        fields: dict[int, Field] = {}
        for row in self._settings.tables.rows[line.segment, line.root]:
            if row.triggers and self._event not in row.triggers:
                continue
            value = self._field(row, numbered, through)
            if value is not None:
                fields[row.number] = value
        last = max(fields, default=0)
        return SegmentSpec(line.segment, tuple(fields.get(n) for n in range(1, last + 1)))

    def _field(self, row: Row, about: About, through: str) -> Field:
        element = row.element or through
        telling = _telling(self._settings, row.position, strict=element in about.changed)
        values = self._values(row, about)
        if len(values) > 1 and not row.each:
            if telling.strict:
                raise telling.no_place(f"more than one {element}")
            values = values[:1]
        written: list[Repetition] = []
        for value in values:
            try:
                written += self._repetitions(row, value, telling)
            except Unsayable:
                if telling.strict:
                    raise
        kept = [one for one in written if _says(one)]
        if kept:
            return tuple(kept)
        if row.required:
            raise Unsayable(f"{row.position} is required, and nothing is known for it")
        if about.before is not None and element in about.changed:
            earlier = found(about.before, row.source, self._resolve)
            return NULL_VALUE if earlier else None
        return None

    def _values(self, row: Row, about: About) -> list[Any]:
        source = row.source
        if source.startswith('"'):
            return [source.strip('"')]
        values: list[Any]
        if source.startswith("$"):
            values = self._known(source[1:], about)
        else:
            values = found(about.resource, source, self._resolve)
        if row.map:
            mapped = self._settings.tables.maps[row.map]
            values = [mapped[_word(v)] for v in values if _word(v) in mapped] or (
                self._unmapped(row, about, values)
            )
        if not values and row.otherwise:
            name = row.otherwise
            return self._known(name[1:], about) if name.startswith("$") else [name]
        return values

    def _unmapped(self, row: Row, about: About, values: Sequence[Any]) -> list[Any]:
        """What the map does not have: left to `else`, refused where it is to be told."""
        if values and not row.otherwise and row.element in about.changed:
            raise Unsayable(f"{row.position} has no code for what is to be said of {row.element}")
        return []

    def _known(self, name: str, about: About) -> list[Any]:
        head, arrow, rest = _split(name)
        value = about.values.get(head)
        if arrow == "->":
            value = self._resolve(value.get("actor", value) if isinstance(value, dict) else value)
        if rest:
            return found(value, rest, self._resolve)
        if value is None:
            return []
        return list(value) if isinstance(value, list) else [value]

    def _repetitions(self, row: Row, value: Any, telling: Telling) -> list[Repetition]:
        if row.datatype == "CWE" and isinstance(value, str):
            return [(None, value)]
        written = DATATYPES[row.datatype](value, telling)
        if row.datatype in LINES and isinstance(written, str):
            # A blank line would be no repetition at all.
            return [line or " " for line in written.replace("\r\n", "\n").split("\n")]
        return [written]

    def _resolve(self, value: Any) -> Any:
        reference = value.get("reference") if isinstance(value, dict) else None
        return self._named.get(reference, value) if isinstance(reference, str) else value


def _telling(settings: SendSettings, position: str, *, strict: bool) -> Telling:
    return Telling(
        position=position,
        strict=strict,
        zone=settings.zone,
        systems=settings.systems,
        ids_are_identifiers=settings.ids_are_identifiers,
        application=settings.application,
    )


def _split(name: str) -> tuple[str, str, str]:
    """ "item->", "item.text" or "placer" as name, sign and the path that follows."""
    for sign in ("->", "."):
        if sign in name:
            head, _, rest = name.partition(sign)
            return head, sign, rest
    return name, "", ""


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else ""


def _says(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(_says(part) for part in value)
    return value is not None and value != ""


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = value.get("reference")
        here = [own] if isinstance(own, str) and own.count("/") == 1 else []
        return here + [r for inner in value.values() for r in _references(inner)]
    if isinstance(value, list):
        return [r for inner in value for r in _references(inner)]
    return []
