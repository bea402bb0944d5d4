"""What is to be told: changes as they stand in the write, and which trigger tells them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chartgate.model.resource import Resource
from chartgate.transform.hl7v2_out.datatypes import Unsayable
from chartgate.transform.hl7v2_out.tables import OutTables, Said, Trigger

MARKER_SYSTEM = "urn:chartgate:proposal"  # of the identifier that marks what we made
WITHOUT_WORDS = frozenset({"resourceType", "id", "meta", "text"})
META_PLAIN = frozenset({"versionId", "lastUpdated", "source", "profile"})
RESULTS = frozenset({"DiagnosticReport", "Observation"})


@dataclass(frozen=True, kw_only=True)
class Told:
    """One change. create: `after`; change: both; undo of what we made: `before`."""

    kind: Literal["create", "change", "undo"]
    before: Resource | None = None
    after: Resource | None = None
    marker: str  # under which it is made

    @property
    def resource(self) -> Resource:
        """What a message of it is about."""
        found = self.after if self.after is not None else self.before
        assert found is not None, "a change of something"
        return found

    @property
    def resource_type(self) -> str:
        """e.g. "Appointment"."""
        return str(self.resource["resourceType"])

    @property
    def changed(self) -> frozenset[str]:
        """Elements that are new or others; of an undo none."""
        if self.kind == "undo" or self.after is None:
            return frozenset()
        before: Mapping[str, Any] = self.before or {}
        names = {*before, *self.after} - WITHOUT_WORDS
        return frozenset(n for n in names if before.get(n) != self.after.get(n))


def main_of(changes: Sequence[Told]) -> Told:
    """The one that the message is about; of results the report. Raises Unsayable."""
    types = [told.resource_type for told in changes]
    if not changes:
        raise Unsayable("there is nothing to tell")
    if set(types) <= RESULTS and types.count("DiagnosticReport") <= 1:
        if len({told.kind for told in changes}) > 1:
            raise Unsayable("one message cannot make results and change others")
        return min(changes, key=lambda told: told.resource_type != "DiagnosticReport")
    if len(changes) > 1:
        raise Unsayable(
            f"{', '.join(sorted(set(types)))} cannot be told by one message, and several messages"
            " would not be applied as one; propose one change at a time"
        )
    return changes[0]


def trigger_of(told: Told, tables: OutTables) -> Trigger:
    """Raises Unsayable."""
    for trigger in tables.triggers:
        if trigger.resource_type == told.resource_type and _fits(trigger, told):
            return trigger
    raise Unsayable(f"no message of HL7 v2 tells this {told.kind} of {told.resource_type}")


def check_told(told: Told, trigger: Trigger, tables: OutTables, message: str) -> None:
    """That a message has a place for all that is new. Raises Unsayable."""
    kind = told.resource_type
    known = tables.told(kind, message)
    said = tables.said.get(kind, Said())
    if trigger.statuses:
        known |= {"status"}
    for element in sorted(told.changed):
        if told.kind == "change" and element in said.fixed:
            raise Unsayable(f"a message of change cannot change {kind}.{element}")
        if told.kind == "change" and element in said.implied and not trigger.statuses:
            raise Unsayable(f"a message of change cannot change {kind}.{element}")
        if element not in known and not _is_mark(told, element):
            raise Unsayable(f"{message} has no place for {kind}.{element}")
    if told.kind == "create" and told.resource.get("meta", {}).keys() - META_PLAIN:
        raise Unsayable(f"{message} has no place for labels and tags of {kind}.meta")


def _is_mark(told: Told, element: str) -> bool:
    """Whether identifiers hold no more than our own mark."""
    identifiers = told.resource.get("identifier", [])
    return (
        element == "identifier"
        and isinstance(identifiers, list)
        and all(i.get("system") == MARKER_SYSTEM for i in identifiers)
    )


def _fits(trigger: Trigger, told: Told) -> bool:
    if trigger.kind != told.kind:
        return False
    if trigger.statuses:
        if told.resource.get("status") not in trigger.statuses:
            return False
        if told.kind == "change" and "status" not in told.changed:
            return False
    if trigger.earlier and (told.before or {}).get("status") not in trigger.earlier:
        return False
    return not trigger.differs or bool(told.changed & set(trigger.differs))
