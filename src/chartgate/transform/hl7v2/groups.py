"""The groups of an order, result, medication or vaccination message, as its segments stand.

Tolerant: a segment belongs to the nearest segment before it that can have it, whatever the
message's own structure would ask for, since senders leave out and reorder what they like.
"""

from dataclasses import dataclass, field

from chartgate.formats.hl7v2 import Message, Segment

# What an order is about. A second one of a name opens another order.
DETAILS = ("OBR", "RXO", "RXE", "RXD", "RXG", "RXA", "RQD", "ODS", "ODT")
# Events under one order, each of them a fact: a second one keeps the order's other segments.
EVENTS = ("RXD", "RXG", "RXA")
LISTS = {
    "TQ1": "timings",
    "TQ2": "timings",
    "RXR": "routes",
    "RXC": "components",
    "DG1": "diagnoses",
    "FT1": "charges",
}


@dataclass(kw_only=True, slots=True)
class Observation:
    """An OBX and what stands under it."""

    segment: Segment
    notes: list[Segment] = field(default_factory=list)
    participations: list[Segment] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class Specimen:
    """An SPM and what stands under it."""

    segment: Segment
    observations: list[Observation] = field(default_factory=list)
    notes: list[Segment] = field(default_factory=list)
    participations: list[Segment] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class Order:
    """An ORC, what it orders, and what is said of it."""

    orc: Segment | None = None
    details: dict[str, Segment] = field(default_factory=dict)  # by name, in order
    timings: list[Segment] = field(default_factory=list)
    routes: list[Segment] = field(default_factory=list)
    components: list[Segment] = field(default_factory=list)
    notes: list[Segment] = field(default_factory=list)
    diagnoses: list[Segment] = field(default_factory=list)
    charges: list[Segment] = field(default_factory=list)
    participations: list[Segment] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    specimens: list[Specimen] = field(default_factory=list)

    def detail(self, *names: str) -> Segment | None:
        """The first of these details that the order has."""
        return next((self.details[name] for name in names if name in self.details), None)


@dataclass(kw_only=True, slots=True)
class Groups:
    """A message taken apart: its orders, and what stands before the first of them."""

    orders: list[Order] = field(default_factory=list)
    before: Order = field(default_factory=lambda: Order())  # observations, specimens, PRT of a PID


@dataclass(frozen=True, slots=True)
class Around:
    """Where a condition of a row looks for another segment: in the order, then the message."""

    order: Order
    message: Message

    def segment(self, name: str) -> Segment | None:
        """The order's first segment of that name; of those that an order has, only its own."""
        order = self.order
        if name == "ORC":
            return order.orc
        if name in DETAILS:
            return order.details.get(name)
        if name == "SPM":
            return order.specimens[0].segment if order.specimens else None
        if name in LISTS:
            return next((s for s in getattr(order, LISTS[name]) if s.name == name), None)
        return self.message.segment(name)


def order_groups(message: Message) -> list[Order]:
    """The orders of a message, in its order."""
    return groups(message).orders


def groups(message: Message) -> Groups:
    """The orders of a message and the observations before them."""
    found = Groups()
    holder: Order | Specimen | Observation | None = None  # of notes and participations
    for segment in message.segments():
        name = segment.name
        order = found.orders[-1] if found.orders else found.before
        if name == "ORC":
            holder = Order(orc=segment)
            found.orders.append(holder)
        elif name in DETAILS:
            holder = _with_detail(found, segment)
        elif name == "OBX":
            holder = Observation(segment=segment)
            (order.specimens[-1] if order.specimens else order).observations.append(holder)
        elif name == "SPM":
            holder = Specimen(segment=segment)
            order.specimens.append(holder)
        elif name == "NTE" and holder is not None:
            holder.notes.append(segment)
        elif name == "PRT" and holder is not None:
            holder.participations.append(segment)
        elif name in LISTS and order is not found.before:
            getattr(order, LISTS[name]).append(segment)
            holder = None if name == "FT1" else order  # a remark on a charge is not on the order
        elif name in ("PID", "PV1"):
            # What follows a PID is of the patient, what follows a PV1 of the visit.
            holder = found.before if name == "PID" and not found.orders else None
    return found


def _with_detail(found: Groups, segment: Segment) -> Order:
    """The order that this detail is of: the one under way, unless it has one already."""
    order = found.orders[-1] if found.orders else None
    if order is None or segment.name in order.details:
        before = order
        order = Order()
        if before is not None and segment.name in EVENTS:
            order.orc, order.details = before.orc, dict(before.details)
        found.orders.append(order)
    order.details[segment.name] = segment
    return order
