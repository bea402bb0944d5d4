"""What is agreed about one destination: the little that a change does not say itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Literal

from chartgate.transform.hl7v2_out.tables import OutTables, own_tables

OrderMessage = Literal["OML^O21", "ORM^O01"]
PatientMessage = Literal["ADT^A08", "ADT^A31"]


@dataclass(frozen=True, kw_only=True)
class SendSettings:
    """The options of a connection that is written to by messages, ready to use."""

    connection: str
    writes: tuple[
        str, ...
    ] = ()  # "SIU", "MDM^T02": the messages that may be sent; none named: none
    application: str = "CHARTGATE"  # MSH-3, and who gave the numbers that are ours
    facility: str = ""  # MSH-4
    receiving_application: str = ""  # MSH-5
    receiving_facility: str = ""  # MSH-6
    processing_id: str = "P"  # MSH-11
    charset: str = "UNICODE UTF-8"  # MSH-18
    enhanced: bool = False  # asks for both acknowledgements, by MSH-15 and MSH-16
    zone: tzinfo = UTC  # that times are told in
    ids_are_identifiers: bool = False  # the ids of resources are the destination's own
    systems: Mapping[str, str] = field(default_factory=dict)  # system URI: assigning authority
    filler_system: str = ""  # of identifiers that the destination gave to what it holds
    order_message: OrderMessage = "OML^O21"
    patient_message: PatientMessage = "ADT^A08"
    tables: OutTables = field(default_factory=own_tables)

    def may_send(self, kind: str) -> bool:
        """Whether messages of this kind, "SIU^S12", may be sent."""
        return kind in self.writes or kind.partition("^")[0] in self.writes
