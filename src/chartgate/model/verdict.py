"""What a probe found out about a connection, one line of its dialect each."""

from collections.abc import Mapping
from dataclasses import dataclass

Verdicts = Mapping[str, tuple[bool, str]]  # by line: does it hold, and how we know


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One line of a dialect, tried on the live system."""

    line: str  # e.g. "if_match_on_put"
    holds: bool
    detail: str  # one sentence: what was tried and what came back
