"""One transformation under way: the message, its settings, and the drafts made so far."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chartgate.formats.hl7v2 import Message, Segment
from chartgate.transform.hl7v2 import engine
from chartgate.transform.hl7v2.code_maps import code_map
from chartgate.transform.hl7v2.datatypes import Context, Unmappable
from chartgate.transform.hl7v2.engine import Draft
from chartgate.transform.hl7v2.identity import Identity, resource_id
from chartgate.transform.hl7v2.rows import Finder, coded_row
from chartgate.transform.hl7v2.settings import FeedSettings

DELETED = "D"  # HL7 table 0206, segment action code


@dataclass(kw_only=True, slots=True)
class Work:
    """What the makers share: they take segments and leave drafts."""

    message: Message
    settings: FeedSettings
    context: Context
    drafts: dict[str, Draft] = field(default_factory=dict)  # by reference, in order
    patient: Draft | None = None
    encounter: Draft | None = None
    provenance: list[tuple[str, Segment]] = field(default_factory=list)  # table, segment
    surrounded: bool = False  # what hangs on patient and visit is made already

    def draft(self, resource_type: str, key: Identity) -> Draft:
        """The draft of the resource with this key; one for the whole message."""
        id_ = resource_id(self.settings, resource_type, key)
        reference = f"{resource_type}/{id_}"
        found = self.drafts.get(reference)
        if found is None:
            found = self.drafts[reference] = Draft(resource_type=resource_type, id=id_)
        return found

    def apply(
        self, table: str, segment: Segment | None, draft: Draft, *, around: Finder | None = None
    ) -> None:
        """Adds what a segment says by one table. Raises Unmappable. `around`: the group that
        the segment is in, e.g. groups.Around, for conditions on its other segments."""
        if segment is not None:
            found = self.settings.tables.table(table)
            engine.apply(found, segment, self.message, draft, self.context, around=around)

    def took(self, draft: Draft, segment: Segment, table: str, **elements: str) -> None:
        """Notes which fields code took for which element: `took(d, s, "PID.X", name="PID-5")`."""
        for element, position in elements.items():
            draft.trace.append((segment, coded_row(table, position, element)))

    def apply_what_fits(self, table: str, segment: Segment | None, draft: Draft) -> None:
        """As `apply`, without the rows whose fields hold what is none of their type: for what a
        message says of itself, which nothing of a patient hangs on."""
        if segment is None:
            return
        found = self.settings.tables.table(table)
        while True:
            tried = Draft(resource_type=draft.resource_type, id=draft.id)
            try:
                engine.apply(found, segment, self.message, tried, self.context)
            except Unmappable as error:
                rows = tuple(row for row in found.rows if str(row.source) != error.position)
                assert len(rows) < len(found.rows), "a row says where it read"
                found = replace(found, rows=rows)
            else:
                break
        engine.apply(found, segment, self.message, draft, self.context)

    def apply_all(self, table: str, segments: Iterable[Segment], draft: Draft) -> None:
        """As `apply`, for each of several segments."""
        for segment in segments:
            self.apply(table, segment, draft)

    def codes(self, name: str) -> Mapping[str, Any]:
        """A code map, with the site's own codes over the official ones."""
        return self.settings.overrides.codes.get(name) or code_map(name)

    def segment(self, name: str) -> Segment | None:
        """The first segment of that name."""
        return self.message.segment(name)

    def segments(self, name: str, *, action_field: int = 0) -> list[Segment]:
        """All segments of that name, without those that the sender marks as deleted."""
        found = self.message.segments(name)
        if not action_field:
            return list(found)
        return [segment for segment in found if segment.raw(action_field) != DELETED]
