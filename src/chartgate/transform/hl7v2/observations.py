"""Makers for observations: of each OBX, wherever it stands."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from chartgate.formats.hl7v2 import Segment
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.groups import Observation
from chartgate.transform.hl7v2.identity import Identity, identity
from chartgate.transform.hl7v2.participations import add_participants
from chartgate.transform.hl7v2.values import NUMERIC, put_range, put_value
from chartgate.transform.hl7v2.work import Work

UNKNOWN = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


def make_observation(
    work: Work,
    observation: Observation,
    *,
    base: str,
    equals: Counter[str],
    of: Draft | None = None,
) -> Draft:
    """Observation of an OBX with its notes and participants.

    `base` tells what it is part of from all others: a report, an order, a visit. `equals` counts
    those of one base, code and sub-identifier; it is one for the whole message. `of`, the report or
    order, lends its code and time to an observation that does not say its own.
    """
    obx = observation.segment
    code = obx.value(3) or obx.value(3, 2) or obx.value(3, 4) or ""
    key = f"{base}|{code}|{obx.value(4) or ''}"
    running = equals[key]
    equals[key] += 1
    found = work.draft("Observation", Identity(f"{key}|{running}" if running else key, "OBX"))
    table = _say(work, obx, found)
    if of is not None:
        _lend(of, found)
    if element := put_value(obx, found, work.context, work.message.separators):
        for field in (2, 5, 6):
            if obx.raw(field):
                work.took(found, obx, table, **{element: f"OBX-{field}"})
    if put_range(obx, found, numeric=obx.value(2) in NUMERIC):
        work.took(found, obx, table, referenceRange="OBX-7")
    work.apply_all("NTE.Observation", observation.notes, found)
    add_participants(work, observation.participations, found)
    found.refer("subject", work.patient)
    found.refer("encounter", work.encounter)
    found.defaults["status"] = "unknown"
    found.defaults["code"] = unknown_code()
    return found


def make_own_observations(
    work: Work, observations: Iterable[Observation], *, undated: str = ""
) -> list[Draft]:
    """Observations that belong to no order: of the visit, or of the patient.

    `undated` stands for the time of one that says none; without it, such a one is what the
    visit's latest message says it is.
    """
    owner = work.encounter or work.patient
    equals: Counter[str] = Counter()
    found = []
    for observation in observations:
        obx = observation.segment
        if not (obx.raw(3) or obx.raw(5)):
            continue
        numbers = (identity(ei, authority=2) for ei in obx.repetitions(21))
        number = next((found_number for found_number in numbers if found_number), None)
        time = obx.value(14) or undated
        base = number.key if number else f"{owner.reference if owner else ''} {time}"
        found.append(make_observation(work, observation, base=base, equals=equals))
    return found


def unknown_code() -> dict[str, Any]:
    """The code of what nobody named."""
    return {"extension": [{"url": UNKNOWN, "valueCode": "unknown"}]}


def _say(work: Work, obx: Segment, found: Draft) -> str:
    """Applies the table for one value or that for several, and gives its name."""
    several = len(obx.repetitions(5)) > 1 and obx.value(2) != "NA"
    table = "OBX.Observation-Component" if several else "OBX.Observation"
    work.apply(table, obx, found)
    if obx.raw(11) and obx.value(11) != "X":
        found.cleared.add((("_status", "extension"), "OBX-11"))
    return table


def _lend(of: Draft, found: Draft) -> None:
    found.put_new("code", of.get("code"))
    if found.get("effectiveDateTime") is None:
        times = {p: value for p, value in of.puts.items() if p[0].startswith("effective")}
        found.puts.update(times)
