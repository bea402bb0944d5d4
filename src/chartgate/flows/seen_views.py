"""The read set as its client got it, and what changed in the record since: no more of either than
the charter shows."""

from contextlib import suppress
from dataclasses import dataclass

import orjson

from chartgate.errors import Denied
from chartgate.flows.grounds import Grounds
from chartgate.flows.guards import Standing
from chartgate.model.charter import Charter
from chartgate.model.interaction import Seen
from chartgate.model.proposal import Difference
from chartgate.model.resource import Resource
from chartgate.model.write import Change
from chartgate.policy.differences import differences
from chartgate.policy.minimise import minimise


@dataclass(frozen=True, kw_only=True)
class SeenResource:
    """One resource as the AI saw it."""

    seen: Seen
    resource: Resource | None  # None: its bytes are not kept any more


def as_seen(charter: Charter, grounds: Grounds) -> tuple[SeenResource, ...]:
    """The read set as the client got it: minimised by the charter."""
    return tuple(
        SeenResource(seen=seen, resource=_minimised(charter, grounds.bodies.get(reference)))
        for reference, seen in grounds.seen.items()
    )


def changed_since(charter: Charter, grounds: Grounds, standing: Standing) -> tuple[Difference, ...]:
    """What of it changed in the record since the AI read it, as far as the charter shows it."""
    found: list[Difference] = []
    for reference, copy in standing.live.items():
        before = _minimised(charter, grounds.bodies.get(reference))
        now = _minimised(charter, orjson.loads(copy.body))
        if before is not None and now is not None and copy.digest != grounds.seen[reference].digest:
            whole = Change(
                interaction="update",
                resource_type=copy.resource_type,
                reference=reference,
                resource=now,
            )
            found += [
                d
                for d in differences([whole], {reference: before})
                if not d.path.startswith("meta")
            ]
    return tuple(found)


def _minimised(charter: Charter, resource: Resource | None) -> Resource | None:
    """None also for what holds something that may not be shown."""
    rule = charter.reads.get(resource["resourceType"]) if resource else None
    with suppress(Denied):
        return minimise(resource, rule) if resource and rule else None
    return None
