"""What a probe found out about a connection, one line of its dialect each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

Verdicts = Mapping[str, tuple[bool, str]]  # by line: does it hold, and how we know


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One line of a dialect, tried on the live system."""

    line: str  # e.g. "if_match_on_put"
    holds: bool
    detail: str  # one sentence: what was tried and what came back


@dataclass(frozen=True, kw_only=True)
class DatedVerdict:
    """A verdict as it is kept."""

    connection: str
    line: str
    holds: bool
    detail: str
    probed_at: datetime


@dataclass(frozen=True, kw_only=True)
class WriteRight:
    """Whether one kind of write may go out to a system, and why not."""

    kind: str  # e.g. "update", "create, several together"
    on: bool
    sentence: str  # empty if it is on; else what was not shown, and what to do
