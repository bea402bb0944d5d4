"""What people did with proposals: one record a decision."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Approval:
    """One person's approval of one content."""

    person: str  # Person.agent
    roles: tuple[str, ...]  # that they held then, of those that review
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Decided:
    """One decision, with how it came about."""

    proposal: str
    charter: str
    action: str
    person: str  # Person.agent
    roles: tuple[str, ...]
    verdict: str  # approve, refuse, hand-back, edit
    at: datetime
    dwell_s: float  # since it was shown to them, and since their approval before
    floor_s: float  # what looking at it takes at least
    early: int  # how often they wanted to approve before that
    edited: bool = False  # by a person, before
    seed: str | None = None  # the template, where it was a known-bad one
    asked: int = 0  # differences that had to be ticked off
    acknowledged: int = 0  # that were
