"""Which fields are tables of codes, and which codes may be told.

A code is told only at a position that holds nothing but table values, and only if it looks like
one: where a sender shifts its fields by one, a name or a birth date comes to stand there. Of
segments that the standard does not know it is learned which fields hold few values; those are
kept as digests and never told.
Source: HL7 v2.9 chapter 2A, the fields of type ID, IS, CE, CNE and CWE.
"""

import hashlib
import re

CODES_MAX = 100  # a field of more values is no table
UNTOLD = "another code"

TABLES = {
    "MSH": (11, 12, 15, 16, 17, 18, 19),
    "EVN": (1, 4),
    "PID": (8, 10, 15, 16, 17, 22, 24, 26, 27, 28, 30, 32, 35),
    "PD1": (1, 2, 11, 12, 16),
    "NK1": (3, 7, 14, 15),
    "PV1": (2, 4, 10, 12, 13, 14, 15, 16, 18, 20, 36, 41, 51),
    "PV2": (2, 3, 22, 24, 25, 27, 36, 40),
    "MRG": (),
    "AL1": (2, 3, 4),
    "DG1": (2, 3, 6, 15, 17),
    "PR1": (2, 3, 6),
    "IN1": (2, 15, 17, 31),
    "GT1": (9, 10, 11),
    "ORC": (1, 5, 6, 16),
    "OBR": (4, 11, 15, 24, 25, 27, 30, 44),
    "OBX": (2, 3, 6, 8, 10, 11, 17),
    "NTE": (2, 4),
    "SPM": (4, 8, 11),
    "SCH": (6, 7, 8, 10, 25),
    "RGS": (2, 3),
    "AIS": (2, 3, 6, 9, 10),
    "AIG": (2, 4, 10, 14),
    "AIL": (2, 4, 8, 12),
    "AIP": (2, 4, 8, 12),
    "TXA": (2, 3, 16, 17, 18, 19),
    "RXA": (5, 7, 9, 18, 20, 21),
    "RXE": (2, 5, 6),
    "RXO": (1, 4, 5),
    "RXR": (1, 2),
    "RXD": (2, 5, 6),
    "FT1": (6, 7, 19, 25),
    "BLG": (1,),
    "MSA": (1,),
}
ABOUT_PEOPLE = ("PID", "PD1", "NK1", "GT1", "IN1", "MRG")
CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./+*-]{0,19}")
SHORT_CODE = re.compile(r"[A-Z0-9]{1,3}")  # in what tells of people, a longer one may be a name
LEARNED_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,9}")
LONG_NUMBER = re.compile(r"\d{5,}")


def may_be_table(segment: str, field: int) -> bool:
    """Whether to learn the codes of a field."""
    return field in TABLES[segment] if segment in TABLES else True


def code_key(segment: str, text: str) -> str | None:
    """What is kept of a code: itself, or the digest of one not to be told. None: it is none."""
    if segment not in TABLES:
        return _digest(text) if LEARNED_CODE.fullmatch(text) else None
    if not CODE.fullmatch(text):
        return None
    return text if _may_be_told(segment, text) else _digest(text)


def told(key: str) -> str:
    """A kept code in words."""
    return UNTOLD if key.startswith("#") else key


def _may_be_told(segment: str, text: str) -> bool:
    if segment in ABOUT_PEOPLE:
        return bool(SHORT_CODE.fullmatch(text))
    return not LONG_NUMBER.search(text)


def _digest(text: str) -> str:
    return "#" + hashlib.blake2s(text.encode(), digest_size=4).hexdigest()
