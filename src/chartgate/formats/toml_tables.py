"""Tables of a parsed TOML file as frozen dataclasses. A typo must not silently mean a default, so
unknown keys are errors that name the near one, and every value has its type checked.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import date, datetime
from typing import Any, TypeVar

from chartgate.errors import ConfigError

TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "date": (date,),
    "table": (dict,),  # of texts; its adapter looks inside
    "tuple": (list,),  # of texts
    "Mapping": (dict,),  # of texts to texts
}
Bounds = Mapping[str, tuple[float, float]]  # of "section.key", least and most; else from 0 on
Section = TypeVar("Section")


def parse_section(
    section: type[Section], name: str, table: Mapping[str, Any], *, bounds: Bounds | None = None
) -> Section:
    """One flat table as a dataclass. Raises ConfigError."""
    known = {f.name: f for f in fields(section)}  # type: ignore[arg-type]
    check_keys(table, set(known), f"[{name}]")
    for key, spec in known.items():
        if key not in table:
            if spec.default is MISSING and spec.default_factory is MISSING:
                raise ConfigError(f"[{name}] needs the key {key}")
            continue
        expected = getattr(spec.type, "__name__", str(spec.type))
        _check_value(name, key, table[key], expected, bounds or {})
    return section(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


def parse_named(
    section: type[Section], key: str, table: Mapping[str, Any], *, bounds: Bounds | None = None
) -> dict[str, Section]:
    """The tables under [key.NAME], each as a dataclass that has its name. Raises ConfigError."""
    return {
        name: parse_section(section, f"{key}.{name}", {**each, "name": name}, bounds=bounds)
        for name, each in tables_of(table, key).items()
    }


def check_keys(table: Mapping[str, Any], known: set[str], where: str) -> None:
    """Raises ConfigError for a key that is not known, naming the near one."""
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(known))}"
            raise ConfigError(f"{where} has no key {key}{hint}")


def is_of_type(value: Any, name: str) -> bool:
    """Whether a value is of a row of TYPES. A bool is no number, a date-time no date."""
    expected = TYPES[name]
    if isinstance(value, bool | datetime):
        return type(value) in expected
    return isinstance(value, expected)


def text_of(table: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A text; where it may be left out, not an empty one. Raises ConfigError."""
    value = table.get(key, default)
    if not isinstance(value, str) or (not value and default != ""):
        raise ConfigError(f"{key} must be a text, not {value!r}")
    return value


def switch_of(table: Mapping[str, Any], key: str) -> bool:
    """True or false, which is the default. Raises ConfigError."""
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{key} must be true or false, not {value!r}")
    return value


def table_of(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The table [key], empty where there is none. Raises ConfigError."""
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"[{key}] must be a table")
    return value


def tables_of(table: Mapping[str, Any], key: str) -> Mapping[str, Mapping[str, Any]]:
    """The tables [key.NAME] by name. Raises ConfigError."""
    tables = table_of(table, key)
    for name, value in tables.items():
        if not isinstance(value, dict):
            raise ConfigError(f"[{key}.{name}] must be a table")
    return tables


def _check_value(name: str, key: str, value: Any, expected: str, bounds: Bounds) -> None:
    if not is_of_type(value, expected):
        raise ConfigError(f"[{name}] {key} must be of type {expected}, not {value!r}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_bounds(name, key, value, bounds)
    if isinstance(value, dict) and not all(isinstance(one, str) for one in value.values()):
        raise ConfigError(f"[{name}] {key} must be a table of texts, not {value!r}")
    if isinstance(value, list) and not all(isinstance(one, str) for one in value):
        raise ConfigError(f"[{name}] {key} must be a list of texts, not {value!r}")


def _check_bounds(name: str, key: str, value: float, bounds: Bounds) -> None:
    least, most = bounds.get(f"{name}.{key}", (0, math.inf))
    if not 0 <= value < math.inf:
        raise ConfigError(f"[{name}] {key} must not be negative or without end, not {value}")
    if not least <= value <= most:
        raise ConfigError(f"[{name}] {key} must be from {least} to {most}, not {value}")
