"""The tables: what they may say, and what a site may say otherwise."""

from dataclasses import replace

import pytest

from chartgate.errors import ConfigError
from chartgate.formats import r4
from chartgate.transform.hl7v2_out.tables import extended, own_tables
from tests.transform.hl7v2_out.told import SETTINGS, appointment, create, told, undo


def test_each_element_that_the_tables_name_is_one_of_r4() -> None:
    tables = own_tables()
    for (_, root), rows in tables.rows.items():
        if root == "Event":
            continue
        names = r4.element_names(root)
        for row in rows:
            choice = row.element.startswith(
                ("deceased", "multipleBirth", "occurrence", "effective")
            )
            assert not row.element or choice or row.element in names, (root, row)
    for kind, said in tables.said.items():
        for name in said.told | said.implied | said.fixed:
            assert name in r4.element_names(kind) or name.startswith("value"), (kind, name)


def test_each_trigger_has_segments_and_each_map_is_used() -> None:
    tables = own_tables()
    codes = {t.message.partition("^")[0] for t in tables.triggers} - {"ORDER", "PATIENT"}
    assert {*codes, "OML", "ORM", "ADT"} == set(tables.messages)
    used = {row.map for rows in tables.rows.values() for row in rows}
    assert set(tables.maps) - used == {"Report", "Result"}, "those two are looked up by known.py"


def test_rows_of_a_site_take_the_place_of_ours() -> None:
    text = '[SCH Appointment]\nSCH-8 | "ROUTINE" | ST\n\n[PID Patient]\nPID-8 | gender | ID | map Own\n'
    tables = extended(own_tables(), f"let Own = female:W male:M\n{text}", where="north.table")
    found = told(create(appointment()), tables=tables)
    assert (found.value("SCH", 8), found.value("PID", 8)) == ("ROUTINE", "W")
    assert found.value("SCH", 25) == "Booked", "what it does not name stays"


def test_trigger_of_a_site_stands_before_ours() -> None:
    text = "[triggers]\nAppointment | undo | SIU^S17^SIU_S12 | action=D; reason=Deletion; state=cancelled\n"
    settings = replace(SETTINGS, tables=extended(own_tables(), text, where="north.table"))
    assert told(undo(appointment()), tables=settings.tables).message_type == "SIU^S17"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("SCH-1 | x | ST", "before the first section"),
        ("[sch appointment]", "a section is"),
        ("[SCH Appointment]\nPID-3 | x | ST", "not of the section's segment"),
        ("[SCH Appointment]\nSCH-3 | x", "three or four parts"),
        ("[SCH Appointment]\nSCH-0 | x | ST", "names no field"),
        ("[SCH Appointment]\nSCH-3 | a..b | ST", "is no path"),
        ("[SCH Appointment]\nSCH-3 | x | NOPE", "is no data type"),
        ("[SCH Appointment]\nSCH-3 | x | ST | twice", "is no option"),
        ("[SCH Appointment]\nSCH-3 | x | ST | map Nope", "which is not there"),
        ("[message SIU]\nSCH Appointment maybe", "a segment is"),
        ("[message SIU]\nZZZ Appointment", "without rows"),
        ("[triggers]\nAppointment | create | SIU", "a trigger is"),
        ("[triggers]\nAppointment | make | SIU^S12^SIU_S12 |", "is none of"),
        ("[triggers]\nAppointment | undo; status is x | SIU^S12^SIU_S12 |", "is no condition"),
        ("[Patient]\nmaybe name", "here stand told"),
    ],
)
def test_mistake_names_its_line(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as refused:
        extended(own_tables(), text, where="north.table")
    assert str(refused.value).startswith("north.table")
