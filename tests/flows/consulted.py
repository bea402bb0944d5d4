"""A gate whose site asks a registry of consents that answers, lies, hangs or is gone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from chartgate.clock import Clock
from chartgate.config import SiteConfig
from chartgate.errors import ChartgateError
from chartgate.flows.consents import Asked, decide_for
from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.gate import Gate
from chartgate.model.consent import ConsentAnswer
from chartgate.model.label import NO_LABELS, Labels
from chartgate.model.ports import Criteria
from chartgate.model.resource import Copy, Resource, SearchPage
from chartgate.policy.consent_codes import ACT_REASON, CONSENT_SCOPE, LOINC
from chartgate.policy.consent_question import question_about
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock
from chartgate.testing.gates import MemorySource, open_test_gate

SITE, REGISTRY, CLIENT = "north-clinic", "north-consents", "slot-picker"
ANN, BEN = "Patient/1", "Patient/2"


def consent_of(patient: str, type_: str = "permit", **changes: Any) -> Resource:
    """An active consent of this patient to treatment, or a dissent from it."""
    return {
        "resourceType": "Consent",
        "id": f"c{patient[-1]}",
        "status": "active",
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": LOINC, "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "dateTime": "2020-01-01",
        "policy": [{"uri": "https://example.org/policy"}],
        "provision": {"type": type_, "purpose": [{"system": ACT_REASON, "code": "TREAT"}]},
        **changes,
    }


@dataclass
class Registry(MemorySource):
    """Consents by patient, and what goes wrong with the next answers."""

    now: Clock
    said: dict[str, list[Resource]] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    wrong: str = ""  # "hangs", "half", "another", "kind"
    fault: ChartgateError | None = None
    hangs_for: set[str] = field(default_factory=set)

    async def search(self, resource_type: str, criteria: Criteria, *, count_max: int) -> SearchPage:
        """As the port says."""
        self.asked.append((resource_type, tuple(criteria)))
        if self.wrong == "hangs" or dict(criteria)["patient"] in self.hangs_for:
            await asyncio.Event().wait()
        if self.fault:
            raise self.fault
        patient = BEN if self.wrong == "another" else dict(criteria)["patient"]
        found = self.said.get(patient, [])
        if self.wrong == "kind":
            found = [{"resourceType": "Patient", "id": patient[-1]}]
        return SearchPage(
            copies=tuple(self._copy_of(each) for each in found),
            complete=self.wrong != "half",
            as_of=self.now(),
        )

    def _copy_of(self, resource: Resource) -> Copy:
        body = canonical_bytes(resource)
        reference = f"{resource['resourceType']}/{resource['id']}"
        return Copy(
            reference=reference, version="1", digest=digest(body), body=body, as_of=self.now()
        )


@dataclass(kw_only=True)
class Consulted:
    """What a test plays with."""

    gate: Gate
    registry: Registry
    clock: FakeClock

    def site(self, **changes: Any) -> None:
        """Another way for the site to stand to consent."""
        own = replace(self.gate.config.sites[SITE], **changes)
        self.gate = replace(self.gate, config=replace(self.gate.config, sites={SITE: own}))

    async def ask(
        self, *patients: str, labels: Labels = NO_LABELS, purpose: str = "TREAT", at: Any = None
    ) -> ConsentAnswer:
        """About one observation of these patients."""
        resource = {"resourceType": "Observation", "id": "o", "subject": {"reference": ANN}}
        question = question_about(
            resource,
            patient="",
            purpose=purpose,
            actors=frozenset(),
            labels=labels,
            at=self.clock(),
        )
        asked = Asked(patients=frozenset(patients or (ANN,)), question=question)
        (answer,) = await decide_for(self.gate, SITE, CLIENT, [asked], at=at or self.clock())
        return answer

    async def permits(self, *patients: str, **changes: Any) -> bool:
        """Whether it may be shown."""
        return (await self.ask(*patients, **changes)).permitted

    async def audited(self, action: str) -> Sequence[dict[str, Any]]:
        """Audit events of one action, in order."""
        rows = await self.gate.database.fetch(
            "SELECT body FROM audit_event WHERE tenant = $1 AND action = $2 ORDER BY id", action
        )
        return [orjson.loads(row["body"]) for row in rows]


@asynccontextmanager
async def open_consulted(
    database: Database, clock: FakeClock, folder: Path, **site: Any
) -> AsyncIterator[Consulted]:
    """An opt-in site with a registry; `site` changes that."""
    async with open_test_gate(database, folder=folder, clock=clock) as opened:
        registry = Registry(now=clock)
        usual = SiteConfig(name=SITE, consent="opt-in", consent_from=REGISTRY)
        own = replace(usual, **site)
        gate = replace(
            opened.gate,
            config=replace(opened.gate.config, sites={SITE: own}),
            sources={**opened.gate.sources, REGISTRY: registry},
        )
        yield Consulted(gate=gate, registry=registry, clock=clock)
