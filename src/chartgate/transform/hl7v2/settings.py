"""What is agreed about one feed: the little that its messages do not say themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from chartgate.transform.hl7v2.overrides import Overrides, no_overrides
from chartgate.transform.hl7v2.tableset import TableSet


@dataclass(frozen=True, kw_only=True)
class FeedSettings:
    """The options of one HL7 v2 connection, ready to use."""

    connection: str
    site: str
    processing_id: str = "P"  # the only MSH-11 that is taken; empty: any
    charset: str = ""  # HL7 name of the set where MSH-18 is empty
    sequence: bool = False  # messages are numbered in MSH-13, and a gap stops the feed
    triggers: tuple[str, ...] = ()  # "ADT^A01", "ADT"; those that are taken; none named: any
    zone: tzinfo = UTC  # of times that are sent without one
    ids_are_identifiers: bool = False  # the feed sends the ids of its EHR as identifiers
    systems: Mapping[str, str] = field(default_factory=dict)  # assigning authority: system URI
    patient_system: str = ""  # of patient identifiers whose authority `systems` does not name
    overrides: Overrides = field(default_factory=no_overrides)  # what the site does otherwise

    @property
    def tables(self) -> TableSet:
        """The tables that this feed goes by."""
        return self.overrides.tables
