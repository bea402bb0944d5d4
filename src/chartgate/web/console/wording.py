"""Values of a chart in the words of people: dates, names, codes, references, states.

What is shown must be what would be written. So nothing here shortens, and characters that hide
or turn text around are shown by their numbers.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from chartgate.model.proposal import Proposal, Status
from chartgate.model.resource import Resource

Names = Mapping[str, str]  # what people call a resource, by reference

STATES: Mapping[Status, str] = {
    Status.SHADOWED: "Kept in shadow",
    Status.PENDING_REVIEW: "Waiting for review",
    Status.APPROVED: "Approved, not written yet",
    Status.REJECTED: "Refused",
    Status.EXPIRED: "Not decided in time",
    Status.WITHDRAWN: "Withdrawn by its author",
    Status.HANDED_OFF: "With staff",
    Status.CONFLICTED: "In conflict with the chart",
    Status.COMMITTING: "Being written",
    Status.COMMITTED: "Written, being checked",
    Status.VERIFIED: "Written and verified",
    Status.MISMATCHED: "Written, but not as approved",
    Status.ROLLING_BACK: "Being taken back",
    Status.ROLLED_BACK: "Taken back",
    Status.CLOSED: "Finished by staff",
}
KNOWN_BAD = "Known-bad, to test the review"  # once it has ended; until then it looks like any other
SYSTEMS: Mapping[str, str] = {
    "http://loinc.org": "LOINC",
    "http://snomed.info/sct": "SNOMED CT",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD-10-CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD-10",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    "http://unitsofmeasure.org": "UCUM",
}
HL7_SYSTEMS = "http://terminology.hl7.org/CodeSystem/"
# The common clinical notes, which a draft often names by code alone.
# Source: https://hl7.org/fhir/us/core/STU6.1/clinical-notes.html
TERMS: Mapping[tuple[str, str], str] = {
    ("http://loinc.org", "11488-4"): "Consultation note",
    ("http://loinc.org", "11506-3"): "Progress note",
    ("http://loinc.org", "18842-5"): "Discharge summary",
    ("http://loinc.org", "28570-0"): "Procedure note",
    ("http://loinc.org", "34117-2"): "History and physical note",
}
CODING_PARTS = ("system", "version", "code", "display", "userSelected")
NAME_PARTS = frozenset({"use", "text", "family", "given", "prefix", "suffix", "period"})
CONTACT_PARTS = frozenset({"system", "value", "use", "rank", "period"})
QUANTITY_PARTS = frozenset({"value", "comparator", "unit", "system", "code"})
DATE = re.compile(r"\d{4}-\d\d-\d\d")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?")
# Kinds of character that are not seen, or that change how others are seen; spaces stay.
UNSEEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})
MASKED = "not shown by the charter"
OLD_NAME_USES = ("old", "maiden", "temp")


def state_text(proposal: Proposal) -> str:
    """Where it stands, in words."""
    ended = proposal.seed is not None and proposal.status is not Status.PENDING_REVIEW
    return KNOWN_BAD if ended else STATES[proposal.status]


def visible(text: str) -> str:
    """The text with each unseen character as e.g. ⟨U+202E⟩; line ends and tabs stay."""
    plain = text.replace("\r\n", "\n")
    if plain.isprintable():
        return plain
    return "".join(
        f"⟨U+{ord(c):04X}⟩" if c not in "\n\t" and unicodedata.category(c) in UNSEEN else c
        for c in plain
    )


def text_of(value: Any, names: Names) -> str:
    """A leaf as text; what is not there is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return str(value)
    if value in names:
        return f"{names[value]} ({value})"
    return time_text(value) or visible(value)


def time_text(value: str) -> str | None:
    """ "Tue 3 Mar 2026, 09:00 UTC" of a FHIR date or dateTime; None if it is neither."""
    try:
        if DATE.fullmatch(value):
            return day_text(date.fromisoformat(value))
        if TIME.fullmatch(value):
            when = datetime.fromisoformat(value)
            return f"{weekday_text(when)}, {_clock_text(when)}{_zone_text(when)}"
    except ValueError:
        pass
    return None


def span_text(start: Any, end: Any) -> str | None:
    """A period as one text, the day said once where it can be; None for no period."""
    first, last = ((time_text(v) or visible(v)) if isinstance(v, str) else "" for v in (start, end))
    if not (first and last):
        return f"from {first}" if first else f"until {last}" if last else None
    day, _, begins = first.partition(", ")
    other_day, _, ends = last.partition(", ")
    if begins and day == other_day and begins.rpartition(" ")[2] == ends.rpartition(" ")[2]:
        return f"{day}, {begins.rpartition(' ')[0] or begins}–{ends}"
    return f"{first} to {last}"


def day_text(day: date) -> str:
    """ "3 Mar 2026" """
    return f"{day.day} {day:%b %Y}"


def weekday_text(day: date) -> str:
    """ "Tue 3 Mar 2026" """
    return f"{day:%a} {day_text(day)}"


def age_text(born: Any, now: datetime) -> str:
    """ "43 y", "7 months", "3 d"; empty for a birth date that is not a whole one."""
    if not (isinstance(born, str) and DATE.fullmatch(born)):
        return ""
    try:
        birth = date.fromisoformat(born)
    except ValueError:
        return ""
    today = now.date()
    months = (today.year - birth.year) * 12 + today.month - birth.month - (today.day < birth.day)
    if months >= 24:
        return f"{months // 12} y"
    return f"{months} months" if months >= 2 else f"{max(0, (today - birth).days)} d"


def element_text(value: Mapping[str, Any], names: Names) -> str | None:
    """An element of a common FHIR data type as one text; None for any other."""
    keys = value.keys()
    if "reference" in keys:
        return text_of(value["reference"], names)
    if "coding" in keys or (keys == {"text"}):
        return concept_text(value)
    if keys <= {"start", "end"}:
        return span_text(value.get("start"), value.get("end"))
    if keys & {"family", "given"} and keys <= NAME_PARTS:
        return person_name(value)
    if "value" in keys and "rank" not in keys and keys <= CONTACT_PARTS and "system" in keys:
        return _contact_text(value)
    if isinstance(value.get("value"), int | float) and keys <= QUANTITY_PARTS:
        return _quantity_text(value)
    if "code" in keys and keys <= set(CODING_PARTS):
        return coding_text(value)
    if keys == {"extension"} and "masked" in str(value["extension"]):
        return MASKED
    return None


def concept_text(concept: Any) -> str:
    """A CodeableConcept: its own words, then its codes."""
    if not isinstance(concept, Mapping):
        return ""
    codings = [coding_text(c) for c in _mappings(concept.get("coding"))]
    words = concept.get("text")
    if isinstance(words, str) and words:
        return f"{visible(words)} ({'; '.join(codings)})" if codings else visible(words)
    return "; ".join(codings)


def coding_text(coding: Mapping[str, Any]) -> str:
    """ "Progress note (LOINC 11506-3)". Every part that is there is in it."""
    system, code = (visible(str(coding.get(part, ""))) for part in ("system", "code"))
    display = coding.get("display")
    words = visible(display) if isinstance(display, str) else TERMS.get((system, code), "")
    exact = " ".join(part for part in (_system_name(system), code) if part)
    if coding.get("version") is not None:
        exact += f" version {visible(str(coding['version']))}"
    if coding.get("userSelected") is not None:
        exact += ", chosen by a user" if coding["userSelected"] else ", not chosen by a user"
    return f"{words} ({exact})" if words and exact else words or exact


def person_name(name: Mapping[str, Any]) -> str:
    """ "Dr. Ivan Costa" of a HumanName."""
    if isinstance(name.get("text"), str):
        return visible(name["text"])
    parts = [*_texts(name.get("prefix")), *_texts(name.get("given"))]
    parts += [*_texts([name.get("family")]), *_texts(name.get("suffix"))]
    return visible(" ".join(parts))


def names_of(resources: Iterable[Resource]) -> dict[str, str]:
    """What people call these; a name that needs another's, such as a schedule's, comes after."""
    held = {f"{r.get('resourceType')}/{r.get('id')}": r for r in resources}
    found: dict[str, str] = {}
    for _ in range(2):
        for reference, resource in held.items():
            if title := title_of(resource, found):
                found[reference] = title
    return found


def title_of(resource: Resource, names: Names) -> str:
    """What people call one resource; empty if they have no name for it."""
    kind = resource.get("resourceType")
    if isinstance(resource.get("name"), list):
        current = [n for n in _mappings(resource["name"]) if n.get("use") not in OLD_NAME_USES]
        called = person_name(current[0]) if current else ""
        born = resource.get("birthDate")
        return f"{called}, born {text_of(born, {})}" if called and born else called
    if isinstance(resource.get("name"), str):
        return visible(resource["name"])
    if kind in ("Slot", "Appointment"):
        return span_text(resource.get("start"), resource.get("end")) or ""
    if kind == "Encounter" and isinstance(resource.get("period"), Mapping):
        period = resource["period"]
        return f"Visit {span_text(period.get('start'), period.get('end')) or ''}".strip()
    if kind == "Schedule":
        actors = [names.get(str(a.get("reference"))) for a in _mappings(resource.get("actor"))]
        return f"Schedule of {', '.join(a for a in actors if a)}" if any(actors) else ""
    return _called(resource.get("code") or resource.get("type"))


def _system_name(system: str) -> str:
    short = system.removeprefix(HL7_SYSTEMS)
    return SYSTEMS.get(system) or (f"HL7 {short}" if short != system else system)


def _called(concept: Any) -> str:
    """The words of a CodeableConcept alone; its codes only where it has no words."""
    if not isinstance(concept, Mapping):
        return ""
    codings = _mappings(concept.get("coding"))
    words = [concept.get("text"), *(c.get("display") for c in codings)]
    words += [TERMS.get((str(c.get("system")), str(c.get("code")))) for c in codings]
    said = next((w for w in words if isinstance(w, str) and w), None)
    return visible(said) if said else concept_text(concept)


def _contact_text(value: Mapping[str, Any]) -> str:
    use = f" ({visible(str(value['use']))})" if "use" in value else ""
    return f"{visible(str(value['system']))} {visible(str(value['value']))}{use}"


def _quantity_text(value: Mapping[str, Any]) -> str:
    unit = value.get("unit") or value.get("code") or ""
    return visible(f"{value.get('comparator', '')}{value['value']} {unit}".strip())


def _clock_text(when: datetime) -> str:
    return when.strftime(
        "%H:%M:%S.%f" if when.microsecond else "%H:%M:%S" if when.second else "%H:%M"
    )


def _zone_text(when: datetime) -> str:
    offset = when.utcoffset()
    if offset is None:
        return ""
    return " UTC" if offset == timedelta(0) else f" {when:%z}"


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []
