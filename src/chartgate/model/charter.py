"""The charter as records: one AI use, and all that is derived from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from chartgate.model.roster import EscalationStep, OpenHours
from chartgate.model.write import WriteInteraction

RELATIONSHIPS = ("care-team", "encounter", "appointment")  # of somebody and a patient
# What happens to free text in what is listed: shown; cut but for the names that codes have; cut.
TextRule = Literal["keep", "structured-only", "cut"]
# As it is; without direct identifiers (164.514(e)); de-identified by Safe Harbor (164.514(b)(2)).
View = Literal["identified", "limited", "safe-harbor"]
# What a conflict at commit leads to: a person looks anew, the AI client may propose anew beside
# that, or staff do it by hand.
OnConflict = Literal["review", "re-propose", "hand-off"]
GuardKind = Literal["same", "none", "some", "count", "fresh", "state"]
RuleInteraction = WriteInteraction | Literal["cancel"]
Scalar = str | int | float | bool
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
    """ "create Appointment", "patch Slot.status" or "cancel Appointment"."""

    interaction: RuleInteraction
    resource_type: str
    elements: tuple[str, ...] = ()  # empty: any element
    named: tuple[str, ...] = ()  # elements that are listed, also where any element may be written


@dataclass(frozen=True, kw_only=True)
class GuardRule:
    """What must still hold at commit."""

    kind: GuardKind
    paths: tuple[str, ...] = ()  # same: "Slot.status"; state: one path, "Encounter.status"
    query: str = ""  # none, some, count: "Appointment?actor={Appointment.participant.actor[…]}&…"
    found_min: int = 0  # count: so many matches at least
    found_max: int | None = None  # count: so many at most; None: any number
    feed: str = ""  # fresh: the connection of a feed
    within_s: float = 0.0  # fresh: so long it may have been silent
    allowed: tuple[Scalar, ...] = ()  # state: the value is one of these, and is there
    denied: tuple[Scalar, ...] = ()  # state: no value is one of these
    absent: bool = False  # state: nothing is there, or false


@dataclass(frozen=True, kw_only=True)
class ValueRule:
    """What an element may hold where a proposal writes it."""

    path: str  # "Observation.value"
    one_of: tuple[Scalar, ...] = ()  # "system|code" of what is coded, else the value itself
    names: tuple[tuple[str, tuple[str, ...]], ...] = ()  # "system|code": the names it may go by
    unit: str = ""  # a code of UCUM
    least: float | None = None
    most: float | None = None


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
    review_each: bool = False  # each change is approved or refused by itself
    fixed: tuple[tuple[str, Scalar], ...] = ()  # "Slot.status": what it must be after the write
    never: tuple[str, ...] = ()  # paths that the action may not change
    values: tuple[ValueRule, ...] = ()
    links: tuple[str, ...] = ()  # beginnings of addresses that may stand in a text
    limits: Mapping[str, int] = field(default_factory=dict)  # changes, bytes, elements
    on_conflict: OnConflict = "review"
    review_people: int = 1  # who must approve the same content, each by themselves
    review_roles: tuple[str, ...] = ()  # that must be among them; empty: `review_by` alone reviews
    review_acknowledge: tuple[str, ...] = ()  # elements whose differences are ticked off one by one
    review_dwell_s: float = 0.0  # looked at for so long at least, if that is more than the config's
    review_seeds: float = 0.0  # known-bad proposals, as a share of those that go to review
    through: Mapping[str, str] = field(default_factory=dict)  # site: connection it is written by
    provenance: bool = False  # a Provenance follows each write into the system of record

    handoff_as: Literal["console", "task"] = "console"  # the console's list always has it
    handoff_code: str = ""  # "SYSTEM|CODE" of the Task; empty: FHIR's code "fulfill"
    handoff_priority: Literal["routine", "urgent", "asap", "stat"] = "routine"
    # invalid, over-budget, breaker-open: staff get it at once, instead of a refusal
    handoff_when: tuple[str, ...] = ()
    handoff_worklists: tuple[str, ...] = ()  # further ones that the roster may send it to
    handoff_escalate: tuple[EscalationStep, ...] = ()

    @property
    def worklists(self) -> tuple[str, ...]:
        """The worklists that may get its work: whoever has one of these names as a role sees it."""
        steps = (step.target.worklist for step in self.handoff_escalate)
        named = (self.handoff_to, *self.handoff_worklists, *steps)
        return tuple(dict.fromkeys(name for name in named if name))

    @property
    def reviewers(self) -> tuple[str, ...]:
        """The roles that review."""
        return tuple(dict.fromkeys((self.review_by, *self.review_roles)))


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
    hours: OpenHours | None = None  # outside of them staff get the work at once; None: always open
