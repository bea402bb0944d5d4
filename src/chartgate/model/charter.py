"""The charter as records: one AI use, and all that is derived from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from chartgate.model.write import WriteInteraction

RELATIONSHIPS = ("care-team", "encounter", "appointment")  # of somebody and a patient
# What happens to free text in what is listed: shown; cut but for the names that codes have; cut.
TextRule = Literal["keep", "structured-only", "cut"]
# As it is; without direct identifiers (164.514(e)); de-identified by Safe Harbor (164.514(b)(2)).
View = Literal["identified", "limited", "safe-harbor"]
STAGES = ("shadow", "suggest", "pilot", "canary", "full")  # in order of rollout


@dataclass(frozen=True, kw_only=True)
class ReadRule:
    """What may be seen of one resource type."""

    elements: tuple[str, ...]  # top-level element names
    search: tuple[str, ...] = ()  # search parameter names; empty: no search
    fresh_s: float = 0.0  # 0: live, asked of the system of record each time
    when_unreachable: Literal["refuse", "stale"] = "refuse"
    sensitive: tuple[str, ...] = ()  # security labels that may be seen, e.g. "PSY", "R"
    text: TextRule = "keep"
    extensions: tuple[str, ...] | None = None  # URLs; None: all, where elements lists them
    identifiers: tuple[str, ...] | None = None  # systems; None: as elements lists them
    view: View = "identified"
    relationship: tuple[str, ...] = ()  # of RELATIONSHIPS, one of which must hold; empty: none


@dataclass(frozen=True, kw_only=True)
class WriteRule:
    """ "create Appointment" or "patch Slot.status"."""

    interaction: WriteInteraction
    resource_type: str
    elements: tuple[str, ...] = ()  # empty: any element


@dataclass(frozen=True, kw_only=True)
class GuardRule:
    """What must still hold at commit."""

    kind: Literal["same", "none"]
    paths: tuple[str, ...] = ()  # same: "Slot.status"
    query: str = ""  # none: "Appointment?actor={Appointment.participant.actor[Practitioner]}&…"


@dataclass(frozen=True, kw_only=True)
class AutoRule:
    """The explicit rule that may stand in for a person."""

    min_confidence: float
    from_stage: str


@dataclass(frozen=True, kw_only=True)
class ActionRule:
    """One thing that the AI may propose."""

    name: str
    writes: tuple[WriteRule, ...]
    guards: tuple[GuardRule, ...]
    rules: tuple[str, ...]  # names of checks in policy/rules.py
    review_by: str  # role
    review_within_s: float
    auto: AutoRule | None
    handoff_to: str  # worklist
    handoff_within_s: float
    handoff_below: float  # confidence under this is handed off at once
    review_relationship: tuple[str, ...] = ()  # as that of a read, between reviewer and patient


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the rollout."""

    name: str
    for_s: float = 0.0
    units: tuple[str, ...] = ()
    share: float = 1.0
    gate: tuple[tuple[str, str], ...] = ()  # ("agreement", ">= 0.90")


@dataclass(frozen=True, kw_only=True)
class Charter:
    """One AI use. `digest` is that of the file's bytes, and stands in every audit entry."""

    name: str
    revision: int
    digest: str  # hex SHA-256
    purpose_of_use: str
    sites: Mapping[str, str]  # site: connection
    clients: tuple[str, ...]
    model: Mapping[str, str]  # source attribute: text; missing ones are absent
    model_digest: str
    reads: Mapping[str, ReadRule]  # by resource type
    proposes: Mapping[str, ActionRule]
    events: tuple[str, ...]  # "SIU^S12": what its clients are notified of
    budgets: Mapping[str, int]
    rollout: tuple[Stage, ...]
    halt_when: Mapping[str, str]
    retention_s: Mapping[str, float]
    official_process: str | None = None
    model_name: str = ""
    model_version: str = ""
    data_use_agreement: str = ""  # its id, where a view is limited
