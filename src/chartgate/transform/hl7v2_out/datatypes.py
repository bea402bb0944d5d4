"""FHIR data types as fields of HL7 v2.5.1, one function a data type.

In `strict` a value says something that is to be told, so whatever a data type has no place for
makes it Unsayable; elsewhere it only helps the receiver to know who or what is meant, and what has
no place is left out.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from chartgate.errors import Invalid
from chartgate.formats.hl7v2_write import Component, Repetition

OID = "urn:oid:"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
# HL7 table 0396, the part of it whose URIs FHIR has.
SYSTEMS = {
    "http://loinc.org": "LN",
    "http://snomed.info/sct": "SCT",
    "http://hl7.org/fhir/sid/icd-10": "I10",
    "http://hl7.org/fhir/sid/icd-10-cm": "I10C",
    "http://hl7.org/fhir/sid/icd-9-cm": "I9C",
    "http://www.ama-assn.org/go/cpt": "C4",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RXNORM",
    "http://hl7.org/fhir/sid/cvx": "CVX",
    "http://hl7.org/fhir/sid/ndc": "NDC",
    "http://unitsofmeasure.org": "UCUM",
}
NAME_TYPES = {"official": "L", "usual": "D", "nickname": "N", "maiden": "M", "temp": "TEMP"}  # 0200
ADDRESS_TYPES = {"home": "H", "work": "B", "temp": "C"}  # 0190
TELECOM_USES = {"home": "PRN", "work": "WPN", "mobile": "PRN"}  # 0201
EQUIPMENT = {"phone": "PH", "fax": "FX", "pager": "BP"}  # 0202


class Unsayable(Invalid):
    """What no message can tell. The sentence names elements and fields, never a value."""


@dataclass(frozen=True, kw_only=True)
class Telling:
    """What a data type needs to know to write a value."""

    position: str
    strict: bool = False
    zone: tzinfo = UTC
    systems: Mapping[str, str] = field(default_factory=dict)  # system URI: assigning authority
    ids_are_identifiers: bool = False
    application: str = ""

    def no_place(self, what: str) -> Unsayable:
        """The refusal of something that the field cannot hold."""
        return Unsayable(f"{self.position} has no place for {what}")

    def only(self, value: Mapping[str, Any], *known: str) -> None:
        """Refuses what else a value holds. Raises Unsayable."""
        if self.strict:
            for name in value:
                if name not in known and name != "id":
                    raise self.no_place(name)


def _plain(value: Any, telling: Telling) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise telling.no_place("what is no text")
    return str(value)


def _number(value: Any, telling: Telling) -> Repetition:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise telling.no_place("what is no number")
    return f"{value}"


def _code(value: Any, telling: Telling) -> Repetition:
    """Of a map, so looked up before."""
    return _plain(value, telling)


def _text(value: Any, telling: Telling) -> Repetition:
    """A text in the place of a code: CWE.2."""
    return (None, _plain(value, telling))


def _lines(value: Any, telling: Telling) -> Repetition:
    """Text with line breaks; the writer escapes what would end a segment."""
    return _plain(value, telling)


def _time(value: Any, telling: Telling) -> Repetition:
    """TS: with as much precision as FHIR has, in the destination's zone."""
    text = _plain(value, telling)
    if "T" not in text:
        return text.replace("-", "")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise telling.no_place("what is no time") from None
    local = moment.astimezone(telling.zone)
    fraction = f".{local.microsecond // 1000:03d}" if local.microsecond else ""
    return local.strftime("%Y%m%d%H%M%S") + fraction + local.strftime("%z")


def _coded(value: Any, telling: Telling) -> Repetition:
    """CWE of a CodeableConcept, a Coding or a text."""
    if isinstance(value, str):
        return (None, value)
    if "coding" not in value and "text" not in value:
        return _coding(value, "", telling)
    telling.only(value, "coding", "text")
    codings = value.get("coding", [])
    if len(codings) > 2:
        raise telling.no_place("more than two codings")
    if not codings:
        return (None, value.get("text"))
    text = value.get("text", "")
    other = _coding(codings[1], "", telling) if len(codings) == 2 else (None, None, None)
    both = (*_coding(codings[0], text, telling), *other)
    shown = {coding.get("display") for coding in codings}
    # CWE.9 is what the author wrote; where a code's name says it already, one is enough.
    return both if not text or text in shown or both[1] == text else (*both, None, None, text)


def _coding(coding: Mapping[str, Any], text: str, telling: Telling) -> tuple[Component, ...]:
    telling.only(coding, "system", "code", "display")
    return (coding.get("code"), coding.get("display") or text, _system(coding.get("system")))


def _system(uri: str | None) -> str | None:
    """The name that v2 has for a coding system; L where it is none of the known ones."""
    if not uri:
        return None
    if uri.startswith(f"{TERMINOLOGY}v2-"):
        return f"HL7{uri.removeprefix(f'{TERMINOLOGY}v2-')}"
    return SYSTEMS.get(uri) or (uri.removeprefix(OID) if uri.startswith(OID) else "L")


def _document_type(value: Any, telling: Telling) -> Repetition:
    """IS: one code alone; where there is none, the text."""
    codings = value.get("coding", []) if isinstance(value, dict) else []
    code = next((c["code"] for c in codings if c.get("code")), None)
    return code or (value.get("text") if isinstance(value, dict) else None)


def _identifier(value: Any, telling: Telling) -> Repetition:
    """CX."""
    codings = value.get("type", {}).get("coding", [])
    kind = next((c.get("code") for c in codings), None)
    return (value["value"], None, None, telling.systems.get(value.get("system", "")), kind)


def _entity(value: Any, telling: Telling) -> Repetition:
    """EI of an Identifier, or of a number that is ours."""
    if isinstance(value, str):
        return (value, telling.application)
    return (value["value"], telling.systems.get(value.get("system", "")))


def _person_name(value: Any, telling: Telling) -> Repetition:
    """XPN."""
    telling.only(value, "use", "family", "given", "prefix", "suffix", "text")
    if value.get("use", "official") not in NAME_TYPES and telling.strict:
        raise telling.no_place("a name of that use")
    return (*_name_parts(value), None, NAME_TYPES.get(value.get("use", ""), "L"))


def _name_parts(value: Mapping[str, Any]) -> tuple[Component, ...]:
    given = value.get("given", [])
    family = value.get("family") or (None if given else value.get("text"))
    return (
        family,
        given[0] if given else None,
        " ".join(given[1:]),
        " ".join(value.get("suffix", [])),
        " ".join(value.get("prefix", [])),
    )


def _address(value: Any, telling: Telling) -> Repetition:
    """XAD."""
    telling.only(value, "use", "type", "line", "city", "state", "postalCode", "country", "district", "text")  # fmt: skip
    lines = value.get("line", [])
    unknown = value.get("use", "home") not in ADDRESS_TYPES or value.get("type") == "postal"
    if unknown and telling.strict:
        raise telling.no_place("an address of that use")
    return (
        lines[0] if lines else value.get("text"),
        ", ".join(lines[1:]),
        value.get("city"),
        value.get("state"),
        value.get("postalCode"),
        value.get("country"),
        ADDRESS_TYPES.get(value.get("use", "")),
        None,
        value.get("district"),
    )


def _telecom(value: Any, telling: Telling) -> Repetition:
    """XTN: a number in its first part, where all receivers look, and in its twelfth."""
    telling.only(value, "system", "value", "use")
    if value.get("use", "home") not in TELECOM_USES and telling.strict:
        raise telling.no_place("a contact of that use")
    system, use = value.get("system"), TELECOM_USES.get(value.get("use", ""))
    if system == "email":
        return (None, "NET", "Internet", value.get("value"))
    if system not in EQUIPMENT:
        raise telling.no_place("a contact that is neither phone, fax, pager nor e-mail")
    equipment = "CP" if value.get("use") == "mobile" else EQUIPMENT[system]
    number = value.get("value")
    return (number, use, equipment, *[None] * 8, number)


def _person(value: Any, telling: Telling) -> Repetition:
    """XCN of a Practitioner, or of a Reference to somebody who is not known here."""
    if not value.get("resourceType"):
        return (_own_id(value, telling), value.get("display"))
    number, authority = _number_of(value, telling)
    name: Mapping[str, Any] = next(iter(value.get("name", [])), {})
    if not number and not name:
        raise telling.no_place("somebody without a number that `systems` names, and without a name")
    return (number, *_name_parts(name), None, None, authority)


def _place(value: Any, telling: Telling) -> Repetition:
    """PL of a Location, or of a Reference to one that is not known here."""
    if not value.get("resourceType"):
        return (_own_id(value, telling) or value.get("display"),)
    number, authority = _number_of(value, telling)
    name = value.get("name")
    facility = (authority,) if authority else None
    return (number or name, None, None, facility, *[None] * 4, name if number else None)


def _number_of(value: Mapping[str, Any], telling: Telling) -> tuple[str | None, str | None]:
    """The number under which the destination knows it, and who gave it."""
    for identifier in value.get("identifier", []):
        if identifier.get("system") in telling.systems and identifier.get("value"):
            return identifier["value"], telling.systems[identifier["system"]]
    return (value.get("id"), None) if telling.ids_are_identifiers else (None, None)


def _own_id(reference: Mapping[str, Any], telling: Telling) -> str | None:
    where = reference.get("reference", "")
    return where.rpartition("/")[2] if where and telling.ids_are_identifiers else None


def _attachment(value: Any, telling: Telling) -> Repetition:
    """The text of an attachment: the only content that is sent."""
    telling.only(value, "contentType", "data", "size", "hash")
    kind = value.get("contentType", "").partition(";")[0].strip()
    if kind != "text/plain" or "data" not in value:
        raise telling.no_place("a content that is no plain text of its own")
    try:
        return base64.b64decode(value["data"], validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, TypeError):
        raise telling.no_place("a content that is no UTF-8") from None


def _as_it_is(value: Any, telling: Telling) -> Repetition:
    """Made by compose.py."""
    made: Repetition = value
    return made


Write = Callable[[Any, Telling], Repetition]
DATATYPES: Mapping[str, Write] = MappingProxyType(
    {
        "ST": _plain,
        "NM": _number,
        "ID": _code,
        "IS": _document_type,
        "TEXT": _text,
        "FT": _lines,
        "TS": _time,
        "CWE": _coded,
        "CX": _identifier,
        "EI": _entity,
        "XPN": _person_name,
        "XAD": _address,
        "XTN": _telecom,
        "XCN": _person,
        "PL": _place,
        "DATA": _attachment,
        "TQ": _as_it_is,
        "ANY": _as_it_is,
    }
)
