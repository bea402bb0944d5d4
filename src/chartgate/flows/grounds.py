"""What a proposal stands on: the versions that the AI saw, or that a person was shown since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from chartgate.formats.compartment import patient_of
from chartgate.gate import Gate
from chartgate.model.interaction import Seen
from chartgate.model.proposal import Content
from chartgate.model.resource import Resource, references_in
from chartgate.model.write import Change
from chartgate.store.interactions import InteractionStore
from chartgate.store.record import RecordStore

BODIES_MAX = 500  # resources of one interaction that rules and guards look at, the newest


@dataclass(frozen=True, kw_only=True)
class Grounds:
    """By reference, in the order of seeing; of several versions the last one seen."""

    seen: dict[str, Seen]
    bodies: dict[str, Resource]  # as the system of record gave them; not for any AI client

    def near(self, changes: Sequence[Change]) -> tuple[Resource, ...]:
        """What the changes touch or refer to, and of types that they do not touch everything
        seen: a guard or rule that speaks of the Slot means the one of this proposal."""
        touched = dict.fromkeys(r for r in touched_by(changes) if r in self.bodies)
        kinds = {r.partition("/")[0] for r in touched}
        others = [r for r in self.bodies if r.partition("/")[0] not in kinds]
        return tuple(self.bodies[r] for r in [*touched, *others])


async def grounds_of(
    gate: Gate, connection: str, interaction: str, base: Sequence[Seen] = ()
) -> Grounds:
    """Read set and `Content.base` of one interaction, with bodies."""
    seen = {s.reference: s for s in await InteractionStore(gate.database).read_set(interaction)}
    seen |= {s.reference: s for s in base}
    wanted = [(s.reference, s.digest) for s in seen.values()][-BODIES_MAX:]
    bodies = await RecordStore(gate.database).versions(connection, wanted)
    return Grounds(seen=seen, bodies={r: orjson.loads(bodies[r]) for r, _ in wanted if r in bodies})


def touched_by(changes: Sequence[Change]) -> tuple[str, ...]:
    """What the changes change, then what their resources and patches refer to."""
    changed = [c.reference for c in changes if c.reference]
    referred = [r for c in changes for r in references_in(c.resource)]
    patched = [r for c in changes for r in references_in([op.get("value") for op in c.patch])]
    return tuple(dict.fromkeys([*changed, *referred, *patched]))


def patient_in(content: Content, bodies: Mapping[str, Resource]) -> str | None:
    """The patient that the content is about, e.g. "Patient/7"."""
    for change in content.changes:
        for resource in (change.resource, bodies.get(change.reference or "")):
            if resource is not None and (patient := patient_of(resource)):
                return patient
    return None
