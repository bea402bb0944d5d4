"""Groups of a message as its segments stand, however a sender orders them."""

from chartgate.formats.hl7v2 import parse
from chartgate.testing.messages import header, message, patient
from chartgate.transform.hl7v2.groups import Around, Groups, groups, order_groups


def taken(*segments: str) -> Groups:
    return groups(parse(message(header("ORU^R01"), patient(), *segments)))


def test_segments_belong_to_the_nearest_that_can_have_them() -> None:
    found = taken(
        "ORC|RE|P1", "NTE|1||of the order", "OBR|1|P1", "NTE|2||of the order", "TQ1|1", "DG1|1",
        "OBX|1", "NTE|1||of the result", "PRT|1", "FT1|1",
        "SPM|1", "NTE|1||of the specimen", "OBX|2",
    )  # fmt: skip
    [order] = found.orders
    assert order.orc is not None
    assert list(order.details) == ["OBR"]
    assert [note.value(3) for note in order.notes] == ["of the order"] * 2
    assert (len(order.timings), len(order.diagnoses), len(order.charges)) == (1, 1, 1)
    [observation] = order.observations
    assert [note.value(3) for note in observation.notes] == ["of the result"]
    assert len(observation.participations) == 1
    [specimen] = order.specimens
    assert [note.value(3) for note in specimen.notes] == ["of the specimen"]
    assert [o.segment.value(1) for o in specimen.observations] == ["2"]


def test_obr_without_orc_opens_an_order() -> None:
    first, second = taken("ORC|RE|P1", "OBR|1", "OBX|1", "OBR|2", "OBX|1").orders
    assert (first.orc is None, second.orc is None) == (False, True)
    assert len(second.observations) == 1


def test_second_event_under_an_order_keeps_what_was_ordered() -> None:
    raw = message(header("RAS^O17"), patient(), "ORC|RE|P1", "RXE|1", "RXA|1", "RXR|PO", "RXA|2")
    first, second = order_groups(parse(raw))
    assert second.orc is first.orc
    assert second.details["RXE"] is first.details["RXE"]
    assert second.details["RXA"].value(1) == "2"
    assert (len(first.routes), len(second.routes)) == (1, 0)


def test_what_stands_before_the_orders_is_of_the_patient_or_the_visit() -> None:
    found = taken("PRT|1", "PV1|1|I", "OBX|1", "SPM|1", "ORC|RE|P1", "OBX|2")
    assert [o.segment.value(1) for o in found.before.observations] == ["1"]
    assert len(found.before.specimens) == 1
    assert len(found.before.participations) == 1
    assert len(found.orders) == 1


def test_conditions_look_into_their_own_order() -> None:
    raw = message(header("ORU^R01"), patient(), "ORC|RE|P1", "OBR|1", "SPM|1", "OBR|2")
    parsed = parse(raw)
    first, second = order_groups(parsed)
    assert Around(first, parsed).segment("ORC") is first.orc
    assert Around(second, parsed).segment("ORC") is None
    assert Around(second, parsed).segment("SPM") is None
    assert Around(second, parsed).segment("PID") is parsed.segment("PID")
