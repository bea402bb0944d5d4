"""Why messages of the public corpora are set aside, and whether that is right.

A reason that stands here under no pattern fails the proof, so that somebody looks at it. Whether a
message is well-formed is asked of the message itself: REQUIRED is what HL7 requires of each type
(the segments that its structure does not make optional, and their required fields that a
transformation depends on); WRONG_TYPE are values that are not of their field's data type.
"""

import re
from collections.abc import Mapping

from chartgate.formats.hl7v2 import MalformedMessage, parse
from chartgate.transform.hl7v2.rows import parse_position, value_at

# Source: HL7 v2.9, the abstract message structures of chapters 3, 4, 4A, 6, 7, 9, 10 and 12.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "ADT": ("PID-3",),
    "DFT": ("PID-3", "FT1"),
    "MDM": ("PID-3", "TXA"),
    "OMG": ("ORC", "OBR"),
    "OML": ("ORC",),
    "OMP": ("ORC", "RXO"),
    "ORM": ("ORC",),
    "ORU": ("OBR",),
    "PPR": ("PID-3", "PRB-3"),
    "RDE": ("ORC", "RXE"),
    "RDS": ("ORC", "RXD"),
    "SIU": ("SCH",),
    "VXU": ("PID-3",),
}
MERGES = ("A34", "A35", "A36", "A40", "A41", "A42", "A43", "A44", "A45", "A47")
# Required wherever their segment is sent.
REQUIRED_FIELDS = ("PID-3", "MRG-1", "RXA-3", "RXA-5", "PRB-3", "TXA-2")
WRONG_TYPE = re.compile(
    r"[A-Z0-9]{3}-[0-9.]+ is not (a date|a timestamp|a whole number from 1|Y or N)"
)

EXPLAINED: Mapping[str, str] = {
    r"header there is no control id": "HL7 requires MSH-10, which tells a message from its repeat",
    r"header MSH-9 names no message type": "the template of a test, which fills in MSH-9 later",
    r"header MSH-2 does not hold .*": "the text of a test's source: MSH-2 has its backslash twice",
    r"filtered trigger not supported": "a type that is not taken, kept with its reason",
    r"content PID-3 holds no identifier": "nobody may be guessed to be the patient; an order without any has no place",
    rf"content {WRONG_TYPE.pattern}": "not of the field's data type; to drop it could mislead",
    r"content there is no TXA segment": "HL7 requires TXA, which names the document",
    r"content there is no RXO, RXE or RXD segment": "an order of a medication that names none",
    r"content one merge in a message is taken, .*": (
        "order is kept in the lanes of two patients; several merges would need more, or there is no MRG"
    ),
    r"content RXA-5 names no vaccine": "HL7 requires RXA-5; a vaccination with nothing misleads",
}


def explanation_of(reason_class: str, reason: str) -> str:
    """The sentence; empty where nobody has looked."""
    text = f"{reason_class} {reason}"
    return next((said for pattern, said in EXPLAINED.items() if re.fullmatch(pattern, text)), "")


def is_well_formed(raw: bytes, reason: str = "") -> bool:
    """Whether HL7 allows the message; `reason` is that for which it was set aside."""
    if WRONG_TYPE.fullmatch(reason):
        return False
    try:
        message = parse(raw)
    except MalformedMessage:
        return False
    kind, _, trigger = message.message_type.partition("^")
    needed = REQUIRED.get(kind, ()) + (("MRG-1",) if kind == "ADT" and trigger in MERGES else ())
    for position in map(parse_position, needed):
        if not value_at(message.segment(position.segment), position):
            return False
    return all(
        value_at(segment, position)
        for position in map(parse_position, REQUIRED_FIELDS)
        for segment in message.segments(position.segment)
    )
