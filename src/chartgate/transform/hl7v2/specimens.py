"""Makers for specimens: of each SPM, or, from older senders, of OBR-15 and its neighbours."""

from chartgate.formats.hl7v2 import NULL, Segment
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.groups import Around, Order
from chartgate.transform.hl7v2.identity import Identity
from chartgate.transform.hl7v2.work import Work

OBR_SPEAKS = (9, 14, 15, 39)  # fields of OBR that say that there is a specimen
COLLECTED = ("collectedDateTime", "collectedPeriod")


def make_specimens(work: Work, order: Order, *, base: str) -> list[Draft]:
    """Specimens of an order, in its order; `base` tells the order from all others."""
    around = Around(order=order, message=work.message)
    obr = order.details.get("OBR")
    found: list[Draft] = []
    for group in order.specimens:
        spm = group.segment
        number = _number(spm)
        owner = work.patient.reference if work.patient else ""
        if number is None:
            key = Identity(f"{base}|{spm.value(1) or len(found) + 1}", "specimen")
        elif number.authority:
            key = number
        else:  # a number alone is only known to be one of this patient's
            key = Identity(f"{owner} {number.value}", "specimen of a patient")
        specimen = work.draft("Specimen", key)
        if len(order.specimens) == 1:
            work.apply("OBR.Specimen", obr, specimen, around=around)
        work.apply("SPM.Specimen", spm, specimen, around=around)
        found.append(specimen)
    if not found and obr is not None and any(_says(obr, field) for field in OBR_SPEAKS):
        specimen = work.draft("Specimen", Identity(f"{base}|OBR", "specimen"))
        work.apply("OBR.Specimen", obr, specimen, around=around)
        found.append(specimen)
    for specimen in found:
        specimen.refer("subject", work.patient)
        _one_time_of_collection(specimen)
    return found


def _number(segment: Segment, field: int = 2) -> Identity | None:
    """The number in an EIP: the placer's, else the filler's."""
    for cx in segment.repetitions(field):
        for component in (1, 2):
            value = cx.value(component)
            if value and value != NULL:
                authority = cx.value(component, 3) or cx.value(component, 2) or ""
                return Identity(value.strip(), authority)
    return None


def _one_time_of_collection(specimen: Draft) -> None:
    """A choice within an element, of which a later message may take the other."""
    for said, other in (COLLECTED, COLLECTED[::-1]):
        if any(path[:2] == ("collection", said) for path in specimen.puts):
            specimen.cleared.add((("collection", other), ""))


def _says(segment: Segment, field: int) -> bool:
    raw = segment.raw(field)
    return bool(raw) and raw != NULL
