"""A resource as a system of record gave it, with what it takes to tell it from other versions."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Resource = dict[str, Any]  # one FHIR resource as JSON

UNTOLD = "?"  # nobody has looked yet
REFERENCE = re.compile(r"([A-Z][A-Za-z]{1,40})/((?!\.{1,2}\Z)[A-Za-z0-9\-.]{1,64})")


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One version of one resource, as it stood in the system of record at `as_of`."""

    reference: str  # "Slot/12"
    version: str  # the version id that If-Match must name; "" where the system has none
    digest: bytes  # SHA-256 of `body`
    body: bytes  # canonical JSON
    as_of: datetime
    owner: str | None = UNTOLD  # whose key seals it, as `compartment.owner_of` says
    # Of a copy that messages made:
    stamps: str = ""  # when each sender last spoke of it (JSON)
    message: int | None = None  # the one that made this version
    trace: str = ""  # the tables' revision, and which rows took what from where
    known: bool = False  # the record holds this version already

    @property
    def resource_type(self) -> str:
        return self.reference.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class NotModified:
    """The version asked about is still the current one."""

    reference: str
    version: str
    as_of: datetime


@dataclass(frozen=True, kw_only=True)
class SearchPage:
    """All that a search found, up to the limit that was set."""

    copies: tuple[Copy, ...]
    complete: bool  # False: there was more than the limit
    as_of: datetime


def split_reference(reference: str) -> tuple[str, str] | None:
    """("Slot", "12") of "Slot/12"; None if it is no relative literal reference."""
    match = REFERENCE.fullmatch(reference)
    return (match[1], match[2]) if match else None


def references_in(value: object) -> list[str]:
    """Every relative literal reference at any depth, in order."""
    if isinstance(value, dict):
        own = value.get("reference")
        here = [own] if isinstance(own, str) and split_reference(own) else []
        return here + [r for v in value.values() for r in references_in(v)]
    if isinstance(value, list):
        return [r for v in value for r in references_in(v)]
    return []
