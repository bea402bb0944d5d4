"""The R4 tables, against facts of the specification."""

import pytest

from chartgate.formats import r4


def test_tables_when_counted_then_they_hold_the_whole_of_r4() -> None:
    """R4 (4.0.1) has 146 concrete resource types, Parameters, Bundle and Binary included."""
    assert len(r4.resource_types()) == 146
    assert {"Patient", "Slot", "Task", "Binary", "Bundle"} <= r4.resource_types()
    assert not r4.is_resource_type("DomainResource")
    assert not r4.is_resource_type("Foo")


def test_every_element_when_followed_then_its_type_is_known() -> None:
    for resource_type in r4.resource_types():
        pending, met = [resource_type], set[str]()
        while pending:
            owner = pending.pop()
            for element in r4.elements(owner).values():
                known = r4.is_primitive(element.type) or r4.elements(element.type)
                assert known or element.type == "Resource", (owner, element)
                if element.type.startswith(owner + ".") and element.type not in met:
                    met.add(element.type)
                    pending.append(element.type)


def test_elements_when_asked_then_cardinality_modifiers_and_codes_are_r4s() -> None:
    appointment = r4.elements("Appointment")
    assert (appointment["status"].min, appointment["status"].many) == (1, False)
    assert appointment["status"].modifier
    assert "booked" in appointment["status"].codes
    assert appointment["participant"].many
    assert r4.mandatory_bases("Appointment") == {"status", "participant"}
    assert r4.modifier_bases("Patient") == {"implicitRules", "active", "deceased", "link"}
    assert r4.mandatory_bases("Slot") == {"schedule", "status", "start", "end"}


def test_choices_when_asked_then_each_type_has_its_name() -> None:
    observation = r4.elements("Observation")
    assert observation["valueQuantity"].base == "value"
    assert observation["valueQuantity"].choice
    assert "value" in r4.element_names("Observation")
    assert "valueQuantity" not in r4.element_names("Observation")
    onset = r4.element_of_base("Condition", "onset")
    assert onset
    assert onset.base == "onset"


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("participant.actor", "Reference"),
        ("participant.actor.reference", "string"),
        ("start", "instant"),
        ("requestedPeriod.start", "dateTime"),
        ("participant.actors", None),
        ("nothing", None),
    ],
)
def test_find_element_when_given_a_path_then_it_follows_types(path: str, type_: str | None) -> None:
    element = r4.find_element("Appointment", path)
    assert (element.type if element else None) == type_


def test_references_when_asked_then_their_targets_are_known() -> None:
    actor = r4.find_element("Appointment", "participant.actor")
    assert actor
    assert {"Patient", "Practitioner", "Location"} <= set(actor.targets)


def test_search_parameters_when_asked_then_they_name_the_elements_they_look_at() -> None:
    known = r4.search_parameters("Appointment")
    assert known["actor"].elements == ("participant",)
    assert known["patient"].type == "reference"
    assert known["date"].elements == ("start",)
    assert known["_id"].type == "token"
    assert r4.search_parameters("Observation")["code-value-quantity"].elements == ()
    assert r4.search_parameters("Foo") == {}


@pytest.mark.parametrize(
    ("type_", "value", "fits"),
    [
        ("instant", "2026-03-01T09:00:00Z", True),
        ("instant", "2026-03-01", False),
        ("date", "2026-02", True),
        ("date", "2026-13", False),
        ("dateTime", "2026-03-01T09:00:00+01:00", True),
        ("dateTime", "2026-03-01T09:00", False),
        ("positiveInt", 0, False),
        ("positiveInt", True, False),
        ("unsignedInt", 0, True),
        ("boolean", "true", False),
        ("decimal", 1.5, True),
        ("decimal", "1.5", False),
        ("code", " booked", False),
        ("id", "a" * 65, False),
        ("string", "", False),
        ("uri", "urn:x y", False),
        ("base64Binary", "aGk=", True),
        ("base64Binary", "a-k=", False),
    ],
)
def test_is_shaped_when_asked_then_it_follows_the_data_types_page(
    type_: str, value: object, fits: bool
) -> None:
    assert r4.is_shaped(type_, value) is fits
