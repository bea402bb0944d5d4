"""The chart: every version of every resource, in memory, indexed for searching.

One thread, no awaits: what one call does is seen whole or not at all. `undo` takes a version
back, so that a transaction that fails half-way leaves nothing behind.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson

from chartgate.clock import Clock
from chartgate.demo.hospital.parameters import index_keys

View = Callable[[str], "Version | None"]  # the version of a reference that a reader sees


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of one resource. `resource` is None and `content` empty once deleted."""

    reference: str
    number: int
    at: datetime
    method: str  # HTTP verb that made it
    resource: Mapping[str, Any] | None
    content: bytes
    etag: bytes
    headers: tuple[tuple[bytes, bytes], ...]  # ETag and Last-Modified, ready to send

    @property
    def deleted(self) -> bool:
        return self.resource is None


class Chart:
    """All resources of the hospital."""

    def __init__(self, *, clock: Clock) -> None:
        self.clock = clock
        self.current: dict[str, Version] = {}  # newest version by reference, deletions included
        self._versions: dict[str, list[Version]] = {}
        self._types: dict[str, dict[str, None]] = {}  # references ever used, oldest first
        self._index: dict[tuple[str, str, str], dict[str, None]] = {}
        self._ids = 100_000

    def new_id(self) -> str:
        """An id that no resource has; ids are given in order, so that runs repeat."""
        self._ids += 1
        return f"h{self._ids}"

    def put(self, reference: str, resource: Mapping[str, Any] | None, *, method: str) -> Version:
        """Appends a version (None: a deletion), with id and meta managed here."""
        at = self.clock()
        number = len(self._versions.get(reference, ())) + 1
        kept = None if resource is None else managed(reference, resource, number=number, at=at)
        etag = b'W/"%d"' % number
        stamp = format_datetime(at, usegmt=True).encode()
        version = Version(
            reference=reference,
            number=number,
            at=at,
            method=method,
            resource=kept,
            content=b"" if kept is None else orjson.dumps(kept),
            etag=etag,
            headers=((b"etag", etag), (b"last-modified", stamp)),
        )
        self._unindex(reference)
        self._versions.setdefault(reference, []).append(version)
        self._types.setdefault(reference.partition("/")[0], {})[reference] = None
        self.current[reference] = version
        self._add_to_index(version)
        return version

    def undo(self, version: Version) -> None:
        """Takes the newest version of a resource back, as if it had never been."""
        reference = version.reference
        self._unindex(reference)
        history = self._versions[reference]
        assert history[-1] is version
        history.pop()
        if history:
            self.current[reference] = history[-1]
            self._add_to_index(history[-1])
        else:
            del self._versions[reference], self.current[reference]
            del self._types[reference.partition("/")[0]][reference]

    def history(self, reference: str) -> list[Version]:
        """All versions, newest first; empty if there never was one."""
        return self._versions.get(reference, [])[::-1]

    def references(self, resource_type: str) -> Iterator[str]:
        """Every reference of a type, deleted ones too, oldest first."""
        return iter(self._types.get(resource_type, ()))

    def types(self) -> dict[str, int]:
        """How many living resources there are of each type."""
        counts = {}
        for name, references in sorted(self._types.items()):
            living = sum(not self.current[r].deleted for r in references)
            if living:
                counts[name] = living
        return counts

    def indexed(self, resource_type: str, parameter: str, key: str) -> Mapping[str, None]:
        """References whose current version has this key for a token or reference parameter."""
        return self._index.get((resource_type, parameter, key), {})

    def lagging_view(self, *, versions: int = 0, seconds: float = 0.0) -> View:
        """What a replica that lags sees: `versions` back, or as it was `seconds` ago."""
        until = self.clock() - timedelta(seconds=seconds)

        def view(reference: str) -> Version | None:
            seen = self._versions.get(reference, [])
            seen = [v for v in seen if v.at <= until] if seconds else seen
            return seen[max(0, len(seen) - 1 - versions)] if seen else None

        return view

    def _add_to_index(self, version: Version) -> None:
        if version.resource is not None:
            for entry in index_keys(version.resource):
                self._index.setdefault(entry, {})[version.reference] = None

    def _unindex(self, reference: str) -> None:
        before = self.current.get(reference)
        if before is not None and before.resource is not None:
            for entry in index_keys(before.resource):
                found = self._index.get(entry)
                if found is not None:
                    found.pop(reference, None)
                    if not found:
                        del self._index[entry]


def managed(
    reference: str, resource: Mapping[str, Any], *, number: int, at: datetime
) -> dict[str, Any]:
    """The resource with the id, version and time that the server gives it."""
    resource_type, _, resource_id = reference.partition("/")
    given = resource.get("meta")
    meta = dict(given) if isinstance(given, dict) else {}
    stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    meta.update(versionId=str(number), lastUpdated=stamp)
    head = {"resourceType": resource_type, "id": resource_id, "meta": meta}
    return {**head, **{k: v for k, v in resource.items() if k not in head}}
