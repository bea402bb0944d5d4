"""Which pattern each action follows: type, subtype and action code of its FHIR AuditEvent.

A new action without a row of its own takes that of its first word, and one without that is
"Application Activity": no event is ever left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from chartgate.transform.balp.codes import (
    BALP_AUTHORIZATION,
    DICOM,
    EVENT_TYPE,
    IHE_TRANSACTION,
    INTERACTION,
)

Kind = Literal["read", "search", "write", "token", "consent", "disclosure", "own"]
Letter = Literal["C", "R", "U", "D", "E"]
Code = tuple[str, str]  # system and code


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """How the events of an action look."""

    kind: Kind
    type: Code
    subtypes: tuple[Code, ...] = ()
    letter: Letter = "E"


REST = (EVENT_TYPE, "rest")


def _own(type_: str, letter: Letter, *subtypes: str) -> Pattern:
    codes = tuple((DICOM, code) for code in subtypes)
    return Pattern(kind="own", type=(DICOM, type_), subtypes=codes, letter=letter)


def _rest(kind: Kind, letter: Letter, *interactions: str) -> Pattern:
    codes = tuple((INTERACTION, code) for code in interactions)
    return Pattern(kind=kind, type=REST, subtypes=codes, letter=letter)


OTHER = _own("110100", "E")
READ = _rest("read", "R", "read")
SEARCH = _rest("search", "E", "search-type")
WRITE = _rest("write", "U")  # each write of it says which it was
TOKEN = Pattern(kind="token", type=(DICOM, "110114"), subtypes=((IHE_TRANSACTION, "ITI-71"),))
CONSENT = Pattern(
    kind="consent", type=(DICOM, "110113"), subtypes=((BALP_AUTHORIZATION, "AuthZ-Consent"),)
)
DISCLOSURE = Pattern(kind="disclosure", type=(DICOM, "110106"), letter="R")

# By action, or by its first word.
PATTERNS: Mapping[str, Pattern] = {
    "accounting": _own("110101", "R"),
    "audit": _own("110101", "R"),
    "break-glass": _own("110113", "E"),
    "break-glass.end": _own("110113", "E", "110138"),
    "break-glass.open": _own("110113", "E", "110127"),
    "change": _own("110113", "U", "110129"),
    "change.list": _own("110113", "R", "110129"),
    "charter": _own("110113", "U", "110129"),
    "client": _own("110113", "U", "110129"),
    "config": _own("110113", "U", "110129"),
    "connection": OTHER,
    "consent": _own("110110", "U"),
    "disclosure": DISCLOSURE,
    "feed": OTHER,
    "feed.rebuild-drop": _own("110100", "D"),
    "feed.sequence": _own("110100", "U"),
    "feed.sequence-reset": _own("110100", "U"),
    "fhir.read": READ,
    "fhir.search": SEARCH,
    "fhir.write": WRITE,
    "handoff": _own("110110", "U"),
    "handoff.list": _own("110110", "R"),
    "handoff.open": _own("110110", "C"),
    "handoff.show": _own("110110", "R"),
    "hold": _own("110110", "U"),
    "interaction": _own("110110", "R"),
    "ledger": _own("110113", "E"),
    "ledger.rotate-key": _own("110113", "U", "110129"),
    "message": _own("110107", "E"),
    "message.accept": _own("110107", "C"),
    "message.process": _own("110107", "C"),
    "notification.deliver": DISCLOSURE,
    "notification.send": _own("110106", "E"),
    "outgoing": _own("110106", "E"),
    "outgoing.acknowledge": DISCLOSURE,
    "person": _own("110113", "U", "110136"),
    "person.sign-in": _own("110114", "E", "110122"),
    "person.sign-out": _own("110114", "E", "110123"),
    "person.unseal": _own("110113", "E", "110127"),
    "policy": _own("110113", "U", "110129"),
    "proposal": _own("110110", "U"),
    "proposal.commit": WRITE,
    "proposal.list": _own("110110", "R"),
    "proposal.rolled-back": WRITE,
    "proposal.show": _own("110110", "R"),
    "proposal.submit": _own("110110", "C"),
    "quarantine": _own("110107", "U"),
    "quarantine.show": _own("110107", "R"),
    "retention": _own("110110", "D"),
    "service": _own("110113", "U", "110129"),
    "token": _own("110113", "U", "110129"),
    "token.introspect": _own("110114", "R"),
    "token.issue": TOKEN,
    "vault": _own("110110", "D"),
    "vault.rotate": _own("110113", "U", "110129"),
    "vault.scrub": OTHER,
    "vendor": _own("110113", "U", "110129"),
    "web.refuse": _own("110113", "E", "110132"),
}


def pattern_of(action: str) -> Pattern:
    """The row of the action, of its first word, or "Application Activity"."""
    return PATTERNS.get(action) or PATTERNS.get(action.partition(".")[0]) or OTHER
