"""What really happened in the sample hospital, for tests to count.

`effects` holds every version that was made and kept, also within transactions; `requests` every
request that wanted to change something, whatever came of it; `counts` all requests by interaction.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chartgate.demo.hospital.chart import Version

MARKER_SYSTEM = "urn:chartgate:proposal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One applied create, update, patch or delete. `markers` are those in the new content."""

    seq: int
    at: datetime
    interaction: str
    reference: str
    version: int
    markers: tuple[str, ...]
    request_id: str
    client: str


@dataclass(slots=True, kw_only=True)
class Seen:
    """One mutating request; `status` is what was decided, 0 before that."""

    seq: int
    at: datetime
    method: str
    path: str
    request_id: str
    client: str
    status: int = 0


@dataclass(slots=True)
class Journal:
    """Append-only lists."""

    effects: list[Effect] = field(default_factory=list)
    requests: list[Seen] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def record(
        self, applied: Iterable[tuple[str, Version]], *, request_id: str, client: str
    ) -> None:
        """Notes the effects of one request, in the order in which they were made."""
        for interaction, version in applied:
            self.effects.append(
                Effect(
                    seq=len(self.effects) + 1,
                    at=version.at,
                    interaction=interaction,
                    reference=version.reference,
                    version=version.number,
                    markers=tuple(sorted(set(markers(version.resource or {})))),
                    request_id=request_id,
                    client=client,
                )
            )

    def see(self, *, at: datetime, method: str, path: str, request_id: str, client: str) -> Seen:
        """Notes a mutating request as it arrives."""
        seen = Seen(
            seq=len(self.requests) + 1,
            at=at,
            method=method,
            path=path,
            request_id=request_id,
            client=client,
        )
        self.requests.append(seen)
        return seen

    def effects_of(self, marker: str, *, interaction: str = "") -> list[Effect]:
        """The effects that carry a marker, all or of one interaction."""
        found = [e for e in self.effects if marker in e.markers]
        return [e for e in found if not interaction or e.interaction == interaction]

    def clear(self) -> None:
        """Forgets everything; the chart keeps what it has."""
        self.effects.clear()
        self.requests.clear()
        self.counts.clear()


def markers(resource: Mapping[str, Any]) -> Iterator[str]:
    """The proposal markers in identifiers and tags."""
    identifiers = resource.get("identifier")
    for item in identifiers if isinstance(identifiers, list) else [identifiers]:
        if isinstance(item, dict) and item.get("system") == MARKER_SYSTEM:
            yield str(item.get("value", ""))
    for tag in (resource.get("meta") or {}).get("tag", ()):
        if isinstance(tag, dict) and tag.get("system") == MARKER_SYSTEM:
            yield str(tag.get("code", ""))
