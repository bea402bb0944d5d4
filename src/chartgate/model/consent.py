"""A question to a patient's consents, and the answer."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from chartgate.model.label import NO_LABELS, Labels

# How a site stands to consent: nothing is shared without one; everything is shared unless one
# says no; as opt-in, but sharing has named exceptions; and where no consent is needed at all.
ConsentMode = Literal["opt-in", "opt-out", "opt-in-with-exceptions", "not-needed"]

Code = tuple[str, str]  # system, code


@dataclass(frozen=True, kw_only=True)
class ConsentQuestion:
    """May these actors have this resource of this patient for this purpose, at this instant?

    What is None is not known: no provision that asks for it permits, and each one that denies by
    it does deny.
    """

    patient: str  # "Patient/7"
    purpose: str  # HL7 v3 PurposeOfUse; of another code system "system|code"; "" is not known
    actors: frozenset[str]  # references and names by which a provision may mean the recipient
    action: str = "access"  # HL7 consentaction: "access" "use" "disclose" "correct" …
    resource_type: str = ""
    reference: str = ""  # "Observation/12"
    codes: frozenset[Code] | None = None  # what the resource says that it is about
    mentions: frozenset[Code] = frozenset()  # every code that stands anywhere in it
    labels: Labels = NO_LABELS
    authors: frozenset[str] | None = None  # references of who wrote the resource
    related: frozenset[str] | None = None  # what else it refers to, e.g. "Encounter/3"
    dated: tuple[datetime, datetime] | None = None  # when what it says was so; the end is outside
    directory: bool = False  # who or where somebody is: has no author, code or date of its own
    zone: tzinfo | None = None  # of dates without one; None: any zone on earth may be meant
    at: datetime


@dataclass(frozen=True, kw_only=True)
class ConsentAnswer:
    """Yes or no, by which provision, in one sentence. No question is ever left open: what is
    missing, unreadable or out of reach means no, unless the site needs no consent."""

    permitted: bool
    rule: str  # "Consent/9#0.1": a consent and the path of its provision; "mode": the site's mode;
    # "label", "42CFR2", "legal", "notes": a rule that no mode lifts; "missing": not all was known
    sentence: str  # what decided, and what would change it; no patient data
    digest: str  # hex SHA-256 over the mode and the consents that were looked at
    notice: bool = False  # the notice of 42 CFR 2.32 must travel with what is disclosed
    scope: str = ""  # of a consent under 42 CFR 2: what it covers, to travel with the notice
