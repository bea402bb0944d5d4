"""Whatever a test makes Chartgate emit is checked as the FHIR AuditEvents that it becomes: R4, and
under each profile of BALP that it claims. One of each kind a process, which costs next to nothing."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from chartgate.formats.r4_structure import structure_findings
from chartgate.model.audit import AuditEvent, leaf_bytes
from chartgate.transform.balp.agents import Place
from chartgate.transform.balp.events import fhir_events
from tests.transform.balp_profiles import BALP, findings

PLACE = Place(name="chartgate.local/ledger", url="https://gate.example", systems={}, vendors={})
FIELDS = tuple(field.name for field in fields(AuditEvent))


class Emitted:
    """Stands in for `leaf_bytes` where events become leaves, and remembers what was wrong."""

    def __init__(self) -> None:
        self.kinds: set[tuple[Any, ...]] = set()
        self.wrong: list[str] = []

    def leaf_bytes(self, event: AuditEvent, *, tenant: str) -> bytes:
        """The leaf, as ever."""
        kind = _kind(event)
        if kind not in self.kinds and BALP.is_dir():
            self.kinds.add(kind)
            self.wrong += [f"{event.action}: {each}" for each in check(event)]
        return leaf_bytes(event, tenant=tenant)


def check(event: AuditEvent) -> Sequence[str]:
    """What is wrong with the AuditEvents of this event."""
    found: list[str] = []
    for resource in fhir_events(event, leaf="ab" * 32, place=PLACE):
        found += map(str, structure_findings(resource))
        for url in resource.get("meta", {}).get("profile", ()):
            found += [f"{url}: {finding}" for finding in findings(resource, url)]
    return found


def _kind(event: AuditEvent) -> tuple[Any, ...]:
    """What decides how an event is told: which fields it has, and by whom."""
    held = tuple(bool(getattr(event, name)) for name in FIELDS)
    entities = tuple(sorted({entity.partition("/")[0] for entity in event.entities}))
    return (event.action, event.outcome, event.agent.partition(":")[0], held, entities)
