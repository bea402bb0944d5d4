"""Writes HL7 v2.5.1 messages from FHIR resources, as the sample hospital's own systems would.

ADT A01 A03 A04 A08 A40, SIU S12 S14 S15, ORU R01. Identifiers are the FHIR ids, so that a
receiver that takes identifiers for ids arrives at the same resources. Text is UTF-8, declared in
MSH-18. This is the sender's side: it shares nothing with the parser that receives.
Source: HL7 v2.5.1 chapters 2, 3, 7, 10.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

STRUCTURES: Mapping[str, str] = {
    "A01": "ADT^A01^ADT_A01",
    "A03": "ADT^A03^ADT_A03",
    "A04": "ADT^A04^ADT_A01",
    "A08": "ADT^A08^ADT_A01",
    "A40": "ADT^A40^ADT_A39",
    "S12": "SIU^S12^SIU_S12",
    "S14": "SIU^S14^SIU_S12",
    "S15": "SIU^S15^SIU_S12",
    "R01": "ORU^R01^ORU_R01",
}
AUTHORITY = "NORTH"
ESCAPES = str.maketrans(
    {
        "\\": "\\E\\",
        "|": "\\F\\",
        "^": "\\S\\",
        "&": "\\T\\",
        "~": "\\R\\",
        "\r": "\\X0D\\",
        "\n": "\\X0A\\",
    }
)
SEXES = {"male": "M", "female": "F", "other": "O", "unknown": "U"}
CLASSES = {"AMB": "O", "IMP": "I", "EMER": "E"}
STATUSES = {"booked": "Booked", "cancelled": "Cancelled", "fulfilled": "Complete"}
Resource = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What MSH says of the message."""

    control_id: str
    at: datetime
    sending_application: str = "NORTHADT"
    sending_facility: str = AUTHORITY
    processing_id: str = "P"


def escape(text: str) -> str:
    """Text with HL7's delimiters, and line ends, as escape sequences."""
    return text.translate(ESCAPES)


def render_adt(
    trigger: str,
    patient: Resource,
    *,
    envelope: Envelope,
    encounter: Resource | None = None,
    merged: str = "",
) -> bytes:
    """An ADT message; A40 says that the record `merged` is now part of `patient`."""
    segments = [_msh(trigger, envelope), f"EVN|{trigger}|{_stamp(envelope.at)}", _pid(patient)]
    if trigger == "A40":
        segments.append(f"MRG|{_identifier(merged, 'MR')}")
    else:
        segments.append(_pv1(encounter))
    return _joined(segments)


def render_siu(
    trigger: str, appointment: Resource, patient: Resource, *, envelope: Envelope
) -> bytes:
    """S12 booked, S14 modified, S15 cancelled."""
    start, end = _moment(appointment["start"]), _moment(appointment["end"])
    minutes = int((end - start).total_seconds() // 60)
    status = "Cancelled" if trigger == "S15" else STATUSES.get(appointment["status"], "Booked")
    number = f"{escape(appointment['id'])}^{AUTHORITY}"
    service = escape((appointment.get("serviceType") or [{}])[0].get("text", ""))
    timing = f"^^{minutes}^{_stamp(start)}^{_stamp(end)}"
    sch = ["SCH", "", number, "", "", "", service, service, "", str(minutes), "min", timing]
    sch += [""] * (25 - len(sch)) + [status]
    segments = [_msh(trigger, envelope), "|".join(sch), _pid(patient), _pv1(None), "RGS|1|A"]
    segments.append(f"AIS|1|A|{service}|{_stamp(start)}|||{minutes}|min")
    for number_, actor in enumerate(_actors(appointment, "Practitioner"), start=1):
        segments.append(f"AIP|{number_}|A|{escape(actor)}^^^^^^^^{AUTHORITY}||||||{minutes}|min")
    for number_, actor in enumerate(_actors(appointment, "Location"), start=1):
        segments.append(f"AIL|{number_}|A|{escape(actor)}")
    return _joined(segments)


def render_oru(patient: Resource, observations: list[Resource], *, envelope: Envelope) -> bytes:
    """ORU^R01: one order with one OBX for each observation, or component of one."""
    first = observations[0]
    taken = _stamp(_moment(first.get("effectiveDateTime", "")))
    order = f"{escape(first['id'])}^{AUTHORITY}"
    obr = ["OBR", "1", "", order, _coded(first["code"]), "", "", taken]
    obr += [""] * (22 - len(obr)) + [_stamp(envelope.at), "", "", "F"]
    segments = [_msh("R01", envelope), _pid(patient), _pv1(None), "|".join(obr)]
    for observation in observations:
        for part in observation.get("component") or [observation]:
            segments.append(_obx(len(segments) - 3, part, taken))
    return _joined(segments)


def _joined(segments: list[str]) -> bytes:
    return ("\r".join(segments) + "\r").encode()


def _msh(trigger: str, envelope: Envelope) -> str:
    fields = [
        "MSH",
        "^~\\&",
        escape(envelope.sending_application),
        escape(envelope.sending_facility),
        "CHARTGATE",
        AUTHORITY,
        _stamp(envelope.at),
        "",
        STRUCTURES[trigger],
        escape(envelope.control_id),
        envelope.processing_id,
        "2.5.1",
        *[""] * 5,
        "UNICODE UTF-8",
    ]
    return "|".join(fields)


def _pid(patient: Resource) -> str:
    name = (patient.get("name") or [{}])[0]
    address = (patient.get("address") or [{}])[0]
    given = name.get("given") or [""]
    phones = [t for t in patient.get("telecom", ()) if t.get("system") == "phone"]
    status = (patient.get("maritalStatus") or {}).get("coding") or [{}]
    fields = [""] * 31
    fields[0] = "PID"
    fields[1] = "1"
    fields[3] = _identifier(patient["id"], "MR")
    fields[5] = "^".join(
        [*map(escape, (name.get("family", ""), given[0], " ".join(given[1:]))), "", "", "", "L"]
    )
    fields[7] = patient.get("birthDate", "").replace("-", "")
    fields[8] = SEXES.get(patient.get("gender", "unknown"), "U")
    parts = [", ".join(address.get("line", ())), ""]
    parts += [address.get(name, "") for name in ("city", "state", "postalCode", "country")]
    fields[11] = "^".join(map(escape, parts))
    fields[13] = "~".join(f"{escape(phone['value'])}^PRN^PH" for phone in phones)
    fields[16] = escape(status[0].get("code", ""))
    deceased = patient.get("deceasedDateTime")
    if deceased:
        fields[29], fields[30] = _stamp(_moment(deceased)), "Y"
    return "|".join(fields).rstrip("|")


def _pv1(encounter: Resource | None) -> str:
    fields = [""] * 46
    fields[0], fields[1], fields[2] = "PV1", "1", "O"
    if encounter is not None:
        code = (encounter.get("class") or {}).get("code", "AMB")
        fields[2] = CLASSES.get(code, "O")
        places = [p["location"] for p in encounter.get("location", ()) if "location" in p]
        if places:
            fields[3] = escape(_id(places[0])) + f"^^^{AUTHORITY}"
        for person in encounter.get("participant", ()):
            if "individual" in person:
                fields[7] = escape(_id(person["individual"])) + f"^^^^^^^^{AUTHORITY}"
        fields[19] = _identifier(encounter["id"], "VN")
        period = encounter.get("period") or {}
        fields[44] = _stamp(_moment(period["start"])) if "start" in period else ""
        fields[45] = _stamp(_moment(period["end"])) if "end" in period else ""
    return "|".join(fields).rstrip("|")


def _obx(number: int, part: Resource, taken: str) -> str:
    quantity = part.get("valueQuantity") or {}
    value, unit = str(quantity.get("value", "")), escape(quantity.get("unit", ""))
    kind = "NM" if quantity else "ST"
    code = _coded(part["code"])
    return f"OBX|{number}|{kind}|{code}||{value}|{unit}|||||F|||{taken}"


def _coded(concept: Resource) -> str:
    coding = (concept.get("coding") or [{}])[0]
    system = "LN" if coding.get("system") == "http://loinc.org" else "L"
    display = coding.get("display") or concept.get("text", "")
    return f"{escape(coding.get('code', ''))}^{escape(display)}^{system}"


def _identifier(value: str, kind: str) -> str:
    return f"{escape(value)}^^^{AUTHORITY}^{kind}"


def _actors(appointment: Resource, resource_type: str) -> list[str]:
    actors = [p.get("actor") or {} for p in appointment.get("participant", ())]
    wanted = f"{resource_type}/"
    return [_id(actor) for actor in actors if actor.get("reference", "").startswith(wanted)]


def _id(reference: Resource) -> str:
    return str(reference.get("reference", "")).rpartition("/")[2]


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")
