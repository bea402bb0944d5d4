"""What a site does otherwise: each kind of rule, what it does to fields, and mistakes in the file."""

from typing import Any

import pytest

from chartgate.errors import ConfigError
from chartgate.formats.hl7v2 import parse
from chartgate.testing.messages import adt, header, message, patient, siu
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.messages import Excluded, transform
from chartgate.transform.hl7v2.overrides import apply_overrides, parse_overrides
from chartgate.transform.hl7v2.settings import FeedSettings
from chartgate.transform.hl7v2.tableset import shipped_tables


def settings(text: str) -> FeedSettings:
    overrides = parse_overrides(text, where="north.toml")
    return FeedSettings(
        connection="adt", site="north", ids_are_identifiers=True, overrides=overrides
    )


def applied(text: str, raw: bytes) -> str:
    """The message's segments after the rules, line by line."""
    parsed = parse(raw)
    apply_overrides(parsed, parse_overrides(text, where="north.toml"))
    return "\n".join("|".join(segment.fields) for segment in parsed.segments())


def made(text: str, raw: bytes) -> dict[str, Any]:
    drafts = transform(parse(raw), settings(text)).drafts
    return {draft.resource_type: merged(None, draft) for draft in drafts}


def person(rest: str) -> bytes:
    return message(header("ADT^A28"), f"PID|1||{rest}")


def test_move_takes_a_field_along_with_all_its_repetitions() -> None:
    found = applied('[[move]]\nfrom = "PID-3"\nto = "PID-4"', person("a^^^N~b^^^N"))
    assert found.endswith("PID|1|||a^^^N~b^^^N")


def test_move_from_an_empty_field_changes_nothing() -> None:
    found = applied('[[move]]\nfrom = "PID-9"\nto = "PID-3"', person("a^^^N"))
    assert "PID|1||a^^^N" in found


@pytest.mark.parametrize(
    ("origin", "target", "field", "expected"),
    [
        ("PID-3.1", "PID-4.2", "a^b^c", "^b^c|^a"),  # component to component
        ("PID-3", "PID-4.2", "a^b~c", "|^a&b"),  # a field becomes a component
        ("PID-3.4", "PID-4", "1^^^N&2.3&ISO", "1^^^|N^2.3^ISO"),  # and back
        ("PID-3.4.2", "PID-4.1", "1^^^N&2.3", "1^^^N&|2.3"),
        ("PID-3.4", "PID-4.4.2", "1^^^N&2.3", "1^^^|^^^&N"),  # no neighbour is overwritten
        ("PID-3.9", "PID-4", "1^2", "1^2"),
    ],
)
def test_move_between_fields_and_components_keeps_the_shape_of_a_value(
    origin: str, target: str, field: str, expected: str
) -> None:
    rule = f'[[move]]\nfrom = "{origin}"\nto = "{target}"'
    assert applied(rule, person(field)).endswith(f"PID|1||{expected}")


def test_move_into_a_component_leaves_the_other_repetitions() -> None:
    found = applied('[[move]]\nfrom = "PID-2"\nto = "PID-3.4"', message(header(), "PID|1|N|a~b^c"))
    assert found.endswith("PID|1||a^^^N~b^c")


def test_move_within_a_segment_that_repeats_is_done_in_each() -> None:
    raw = message(header(), "NTE|1||a", "NTE|2||b")
    found = applied('[[move]]\nfrom = "NTE-3"\nto = "NTE-5"', raw)
    assert found.endswith("NTE|1||||a\nNTE|2||||b")


def test_move_from_another_segment_goes_from_the_first_to_the_first() -> None:
    raw = message(header(), "ZPI|x", "ZPI|y", "NTE|1", "NTE|2")
    found = applied('[[move]]\nfrom = "ZPI-1"\nto = "NTE-3"', raw)
    assert found.endswith("NTE|1||x\nNTE|2")


def test_move_from_the_header_is_a_copy_since_it_names_the_message() -> None:
    parsed = parse(person("a"))
    rules = parse_overrides('[[move]]\nfrom = "MSH-4"\nto = "PID-3.4"', where="x")
    apply_overrides(parsed, rules)
    assert (parsed.header.raw(4), parsed.value("PID", 3, 4)) == ("NORTH", "NORTH")


def test_default_fills_a_component_in_each_repetition_that_lacks_it() -> None:
    found = applied('[[default]]\nfield = "PID-3.4"\nvalue = "NORTH"', person("a~b^^^SOUTH~c^x"))
    assert found.endswith("PID|1||a^^^NORTH~b^^^SOUTH~c^x^^NORTH")


def test_default_of_a_component_never_makes_a_field_out_of_nothing() -> None:
    found = applied('[[default]]\nfield = "PID-3.4"\nvalue = "NORTH"', person(""))
    assert found.endswith("PID|1||")


def test_default_of_a_subcomponent_looks_at_the_subcomponent() -> None:
    rule = '[[default]]\nfield = "PID-3.4.2"\nvalue = "1.2.3"'
    assert applied(rule, person("a^^^N")).endswith("PID|1||a^^^N&1.2.3")
    assert applied(rule, person("a^^^N&9")).endswith("PID|1||a^^^N&9")


def test_default_of_a_field_is_written_where_the_field_is_empty_and_is_escaped() -> None:
    rule = '[[default]]\nfield = "PID-9"\nvalue = "A^B|C"'
    assert applied(rule, person("a")).endswith("|A\\S\\B\\F\\C")
    raw = message(header(), "PID|1||a||||||here")
    assert applied(rule, raw).endswith("PID|1||a||||||here")


def test_header_can_be_filled() -> None:
    parsed = parse(person("a"))
    rules = parse_overrides('[[default]]\nfield = "MSH-8"\nvalue = "x"', where="x")
    apply_overrides(parsed, rules)
    assert parsed.header.value(8) == "x"


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ('sender = "ADT1|NORTH"', True),
        ('sender = "ADT1|SOUTH"', False),
        ('trigger = "ADT^A28"', True),
        ('trigger = "ADT^A01"', False),
        ('if = "PID-9 empty"', True),
        ('if = "PID-3 is b, c"', False),
        ('if = "PID-3 is a, c"', True),
        ('if = "PID-3 is a and PID-9 valued"', False),
        ('trigger = "ADT^A28"\nsender = "ADT1|SOUTH"', False),
    ],
)
def test_rule_is_for_the_messages_that_it_names(condition: str, applies: bool) -> None:
    found = applied(f'[[default]]\nfield = "PID-9"\nvalue = "x"\n{condition}', person("a"))
    assert found.endswith("|x") is applies


def test_bytes_of_the_message_stay_as_they_came() -> None:
    parsed = parse(person("a"))
    raw = parsed.raw
    rules = parse_overrides('[[move]]\nfrom = "PID-3"\nto = "PID-4"', where="x")
    apply_overrides(parsed, rules)
    assert parsed.raw == raw
    assert parsed.value("PID", 4) == "a"


def test_local_code_is_taken_over_the_official_map_and_changes_no_other() -> None:
    codes = '[codes.AdministrativeSex]\n1 = "male"\nF = "other"'
    assert made(codes, person("a|||||1"))["Patient"]["gender"] == "male"
    assert made(codes, person("a|||||F"))["Patient"]["gender"] == "other"
    assert made(codes, person("a|||||M"))["Patient"]["gender"] == "male"
    assert made("", person("a|||||F"))["Patient"]["gender"] == "female"


def test_local_code_can_be_a_coding() -> None:
    codes = (
        '[codes."MaritalStatus"]\n'
        'L = {system = "urn:north:marital", code = "LIV", display = "Living together"}'
    )
    found = made(codes, person("a" + "|" * 13 + "L"))["Patient"]["maritalStatus"]["coding"]
    assert {"system": "urn:north:marital", "code": "LIV", "display": "Living together"} in found


def test_local_code_reaches_what_is_decided_in_code() -> None:
    codes = '[codes."FillerStatusCodes[Appointment]"]\nHERE = "arrived"'
    assert made(codes, siu("S14", status="HERE"))["Appointment"]["status"] == "arrived"
    assert made("", siu("S14", status="HERE"))["Appointment"]["status"] == "booked"


def test_row_maps_a_z_segment_to_the_resource_of_its_name() -> None:
    rule = """
[[row]]
table = "ZPI Patient"
row = 'ZPI-3 | extension[].valueString | string | with {"url": "urn:north:ward-note"}'
"""
    raw = message(header("ADT^A28"), patient(), "ZPI|1||bring the chart")
    [extension] = made(rule, raw)["Patient"]["extension"]
    assert extension == {
        "id": "ZPI-3.1",
        "url": "urn:north:ward-note",
        "valueString": "bring the chart",
    }
    assert "extension" not in made(rule, message(header("ADT^A28"), patient()))["Patient"]


def test_row_of_a_z_segment_goes_to_the_resource_that_was_made_last_before_it() -> None:
    rule = "[[row]]\ntable = \"ZOB Observation\"\nrow = 'ZOB-1 | method.text | string'"
    raw = adt("A01", more=["OBX|1|ST|A||1", "ZOB|x", "OBX|2|ST|B||2", "ZOB|y"])
    drafts = transform(parse(raw), settings(rule)).drafts
    found = [merged(None, draft) for draft in drafts if draft.resource_type == "Observation"]
    assert [one["method"]["text"] for one in found] == ["x", "y"]


def test_row_adds_to_a_shipped_table() -> None:
    rule = "[[row]]\ntable = \"PID Patient\"\nrow = 'PID-12 | address[district].district | string'"
    raw = message(header("ADT^A28"), "PID|1||a|||||||||NW")
    assert made(rule, raw)["Patient"]["address"] == [{"id": "PID-12.1", "district": "NW"}]


def test_filter_keeps_a_message_out_with_its_reason() -> None:
    rule = '[[filter]]\ntrigger = "ADT^A28"\nif = "PID-3 is T1"\nreason = "training patients"'
    with pytest.raises(Excluded, match="training patients"):
        made(rule, person("T1"))
    assert "Patient" in made(rule, person("1"))


def test_rules_are_applied_in_the_order_move_default_filter() -> None:
    rules = (
        '[[filter]]\nif = "PID-9 is x"\nreason = "r"\n'
        '[[default]]\nfield = "PID-9"\nvalue = "x"\nif = "PID-4 is a"\n'
        '[[move]]\nfrom = "PID-3"\nto = "PID-4"\n'
    )
    with pytest.raises(Excluded):
        made(rules, person("a"))


def test_rules_that_can_change_the_patient_are_told_apart() -> None:
    def renames(text: str) -> bool:
        return parse_overrides(text, where="x").renames_patients

    assert renames('[[move]]\nfrom = "PID-2"\nto = "PID-3"')
    assert renames('[[default]]\nfield = "MRG-1.4"\nvalue = "N"')
    assert not renames('[[move]]\nfrom = "PID-2"\nto = "PV1-3"')


def test_revision_follows_the_file_and_nothing_else() -> None:
    def revision(text: str) -> str:
        return parse_overrides(text, where="x").tables.revision

    first = '[[default]]\nfield = "PID-9"\nvalue = "x"'
    assert revision(first) == revision(first)
    assert len({revision(""), revision(first), revision(first.replace("x", "y"))}) == 3
    assert shipped_tables().revision not in (revision(""), revision(first))
    codes = '[codes.AdministrativeSex]\n1 = "male"'
    assert revision(codes) != revision(codes.replace("male", "female"))


def test_shipped_tables_stay_as_they_are() -> None:
    before = {name: table.rows for name, table in shipped_tables().tables.items()}
    parse_overrides(
        '[codes.AdministrativeSex]\n1 = "male"\n'
        "[[row]]\ntable = \"PID Patient\"\nrow = 'PID-12 | address[].district | string'",
        where="x",
    )
    assert {name: table.rows for name, table in shipped_tables().tables.items()} == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[move]", "is no TOML"),
        ("[[mov]]\n", "the file has the unknown key 'mov'; did you mean move?"),
        ('[move]\nfrom = "PID-3"', "[move] must be written [[move]]"),
        ("move = 3", "[move] must be written [[move]]"),
        ('[[move]]\nfrom = "PID-3"', "a rule lacks the key 'to'"),
        ('[[move]]\nfrom = "PID-3"\ntoo = "PID-4"', "unknown key 'too'; did you mean to?"),
        ('[[move]]\nfrom = "PID-3"\nto = 4', "[[move]] to must be a text in quotes"),
        ('[[move]]\nfrom = "PID-3"\nto = "PID-3"', "moves PID-3 to itself"),
        ('[[move]]\nfrom = "ZPI"\nto = "PID-3"', "ZPI is a segment"),
        ('[[move]]\nfrom = "PID.3"\nto = "PID-4"', "'PID.3' names no field"),
        ('[[default]]\nfield = "PID-3"', "a rule lacks the key 'value'"),
        ('[[default]]\nfield = "PID-3"\nvalue = "x"\nif = "PID-3"', "is no condition"),
        ('[[filter]]\nif = "PID-3 empty"', "a rule lacks the key 'reason'"),
        ('[[filter]]\nreason = "x"\nsender = "ADT1"', "is not MSH-3|MSH-4"),
        ('[[filter]]\nreason = "x"\ntrigger = "A31"', "is not of the form 'ADT^A08'"),
        ("codes = 3", "[codes] must be tables"),
        ('[codes.AdministrativSex]\n1 = "male"', "did you mean AdministrativeSex?"),
        ('[codes.NameType]\n1 = "usual"', "the map of a data type"),
        ("[codes.AdministrativeSex]\n1 = 1", "each line is a local code = a text"),
        ('[codes.AdministrativeSex]\n1 = {cod = "x"}', "each line is a local code = a text"),
        ("[[row]]\ntable = \"ZPI\"\nrow = 'x'", "names no table"),
        ("[[row]]\ntable = \"ZPI Patent\"\nrow = 'x'", "'Patent' is no resource type of R4"),
        (
            "[[row]]\ntable = \"ZPI Patient\"\nrow = 'ZPI-3 | extenson[] | string'",
            "Patient has no element extenson; did you mean extension?",
        ),
        ("[[row]]\ntable = \"ZPI Patient\"\nrow = 'ZPJ-3 | name[] | string'", "is not of the"),
        ("[[row]]\ntable = \"ZPI Patient\"\nrow = 'ZPI-3 | - | because'", "needs a target"),
        ("[[row]]\ntable = \"ZPI Patient\"\nrow = 'ZPI-3 | name[]'", "three or four parts"),
        ("[[row]]\ntable = \"ZPI Patient\"\nrow = 'ZPI-3 | name[] | strang'", "is no kind"),
    ],
)
def test_mistake_in_the_file_is_said_with_the_file_and_what_to_write(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_overrides(text, where="north.toml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("north.toml")


def test_same_rules_on_the_same_message_give_the_same_fields() -> None:
    rules = '[[move]]\nfrom = "PID-3"\nto = "PID-18"\n[[default]]\nfield = "PID-3.4"\nvalue = "N"\n'
    assert applied(rules, adt()) == applied(rules, adt())
