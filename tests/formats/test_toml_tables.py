"""Tables as dataclasses: types, bounds, and names that are nearly right."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pytest

from chartgate.errors import ConfigError
from chartgate.formats.toml_tables import (
    check_keys,
    is_of_type,
    parse_named,
    parse_section,
    switch_of,
    table_of,
    tables_of,
    text_of,
)

BOUNDS = {"pump.rate": (1.0, 10.0)}


@dataclass(frozen=True, kw_only=True)
class Pump:
    name: str
    rate: float = 1.0
    on: bool = False
    until: date = date.max
    tags: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


def test_every_kind_of_value_is_taken_as_it_stands() -> None:
    table = {
        "name": "a",
        "rate": 3,
        "on": True,
        "until": date(2027, 1, 31),
        "tags": ["x", "y"],
        "notes": {"k": "v"},
    }
    pump = parse_section(Pump, "pump", table, bounds=BOUNDS)
    assert (pump.rate, pump.until, pump.tags, pump.notes) == (
        3, date(2027, 1, 31), ("x", "y"), {"k": "v"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nmae": "a"}, "did you mean name"),
        ({"quite-other": 1}, "known: name"),
        ({"name": 1}, "type str"),
        ({"rate": "1"}, "type float"),
        ({"rate": True}, "type float"),
        ({"rate": -1}, "negative"),
        ({"rate": float("inf")}, "without end"),
        ({"rate": float("nan")}, "without end"),
        ({"rate": 11}, "from 1.0 to 10.0"),
        ({"on": 1}, "type bool"),
        ({"until": "2027-01-31"}, "type date"),
        ({"until": datetime(2027, 1, 31, tzinfo=UTC)}, "type date"),
        ({"tags": "x"}, "type tuple"),
        ({"tags": [1]}, "list of texts"),
        ({"notes": {"k": 1}}, "table of texts"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_with_its_place(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=rf"\[pump\].*{says}"):
        parse_section(Pump, "pump", {"name": "a", **change}, bounds=BOUNDS)


def test_what_must_be_there_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="needs the key name"):
        parse_section(Pump, "pump", {})


def test_named_tables_know_their_names() -> None:
    assert parse_named(Pump, "pumps", {"pumps": {"a": {}, "b": {"on": True}}}) == {
        "a": Pump(name="a"),
        "b": Pump(name="b", on=True),
    }
    with pytest.raises(ConfigError, match=r"\[pumps\.a\] has no key onn"):
        parse_named(Pump, "pumps", {"pumps": {"a": {"onn": True}}})


def test_plain_keys_and_tables_are_checked() -> None:
    assert text_of({}, "a", "b") == "b"
    assert text_of({"a": ""}, "a", "") == ""
    assert switch_of({}, "a") is False
    assert table_of({}, "a") == {}
    for call in (
        lambda: text_of({"a": ""}, "a", "b"),
        lambda: text_of({}, "a"),
        lambda: switch_of({"a": 1}, "a"),
        lambda: table_of({"a": 1}, "a"),
        lambda: tables_of({"a": {"b": 1}}, "a"),
        lambda: check_keys({"a": 1}, {"b"}, "here"),
    ):
        with pytest.raises(ConfigError):
            call()


def test_a_bool_is_no_number() -> None:
    assert not is_of_type(True, "int")
    assert is_of_type(True, "bool")
