"""A question to a patient's consents, and the answer."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from chartgate.model.label import NO_LABELS, Labels

# How a site stands to consent: nothing is shared without one; everything is shared unless one
# says no; as opt-in, but sharing has named exceptions; and where no consent is needed at all.
ConsentMode = Literal["opt-in", "opt-out", "opt-in-with-exceptions", "not-needed"]


@dataclass(frozen=True, kw_only=True)
class ConsentQuestion:
    """May these actors have this resource of this patient for this purpose, at this instant?"""

    patient: str  # "Patient/7"
    purpose: str  # HL7 v3 PurposeOfUse
    actors: frozenset[str]  # references and names by which a provision may mean the recipient
    action: str = "access"  # HL7 consentaction: "access" "use" "disclose" "correct" …
    resource_type: str = ""
    reference: str = ""  # "Observation/12"
    codes: frozenset[tuple[str, str]] = frozenset()  # (system, code) of the resource
    labels: Labels = NO_LABELS
    authors: frozenset[str] = frozenset()  # references of who wrote the resource
    related: frozenset[str] = frozenset()  # what else it refers to, e.g. "Encounter/3"
    dated: tuple[datetime, datetime] | None = None  # when what it says was so
    at: datetime


@dataclass(frozen=True, kw_only=True)
class ConsentAnswer:
    """Yes or no, by which provision, in one sentence. No question is ever left open: what is
    missing, unreadable or out of reach means no, unless the site needs no consent."""

    permitted: bool
    rule: str  # "Consent/9#0.1": a consent and the path of its provision; "mode": the site's mode
    sentence: str
    digest: str  # hex SHA-256 over the mode and the consents that were looked at
    notice: bool = False  # the notice of 42 CFR 2.32 must travel with what is disclosed
