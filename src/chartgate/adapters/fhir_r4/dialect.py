"""Dialects: the habits of one product each, as data, and what a probe found out about them.

A line is documented (with its source) or probed. What decides about writing is the verdict of
the probe alone: documents say what to expect of a system, not what this one does.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from typing import Any

from chartgate.errors import ConfigError
from chartgate.formats.toml_tables import check_keys
from chartgate.model.verdict import Verdicts

# What the probe tries. True means that it does what FHIR says.
PROBED: Mapping[str, str] = {
    "create": "a create is answered with 201, and what it made is there",
    "etag_present": "answers name the version, and a change changes it",
    "etag_weak": "its ETags are weak, as FHIR has them",
    "stored_as_sent": "what was sent is what is read back",
    "conditional_read": "If-None-Match of the current version is answered with 304",
    "unmodified_is_true": "If-None-Match of an older version is not answered with 304",
    "read_your_writes": "a write is seen at once by read and by search",
    "reads_catch_up": "a write is seen within a second by read and by search",
    "history": "_history lists the versions, newest first",
    "marker_survives": "the identifier that marks a create is kept and can be searched",
    "if_none_exist": "a second create with the same If-None-Exist creates nothing",
    "if_none_exist_race": "of two such creates at the same time one creates",
    "if_match_on_put": "PUT with a stale If-Match is refused",
    "if_match_on_patch": "PATCH with a stale If-Match is refused",
    "patch_test": "PATCH with a failing test of /meta/versionId is refused",
    "cancel": "the status that stands in for a delete is taken",
    "delete": "DELETE removes",
    "if_match_on_delete": "DELETE with a stale If-Match is refused",
    "transaction_atomic": "a transaction with one entry that fails changes nothing",
    "if_match_in_transaction": "a stale ifMatch refuses the transaction",
    "if_none_exist_in_transaction": "ifNoneExist that matches creates nothing",
    "patch_in_transaction": "a guarded PATCH entry works, and a stale one is refused",
    "delete_in_transaction": "DELETE with a stale ifMatch refuses the transaction",
    "if_match_in_batch": "an entry of a batch with a stale ifMatch is refused",
    "wait_told": "where it says 429, it says for how long",
    "clock_agrees": "its clock and ours are less than half a minute apart",
}
# What only documents can say; the value if a dialect does not say it. Lists of resource types are
# separated by spaces; "*" stands for all.
SETTINGS: Mapping[str, str | bool] = {
    "scope": "system/*.read system/*.write",  # of the token request
    "marker": "identifier",  # or "tag": where a create carries its mark
    "search_by_post": False,  # keeps search values out of the server's URL logs
    "retry_after_on_429": True,
    "enforces_required_bindings": True,
    "creates": "*",  # types that can be created
    "updates": "*",  # types that can be updated by PUT
    "if_match_required": False,  # a change without If-Match is refused
    "stale_status": "412",  # how a stale If-Match is refused
    "versions_frozen": False,  # every version is called the same
    "answers_with_content": True,  # the answer to a write holds the resource
    "caches_searches": False,  # unless Cache-Control says no-cache
}
BASES = ("documented", "probed")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One habit, and how we know."""

    value: str | bool
    basis: str
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One file of dialects/."""

    name: str
    title: str
    lines: Mapping[str, Line]
    stand_ins: Mapping[str, tuple[str, str]]  # type: element and value that mean "cancelled"
    ignores: Mapping[str, tuple[str, ...]]  # type or "*": paths that the system fills by itself

    def ignoring(self, paths: Sequence[str]) -> "Dialect":
        """The same, for a system that fills in some more paths by itself."""
        filled = (*self.ignores.get("*", ()), *paths)
        return replace(self, ignores={**self.ignores, "*": filled}) if paths else self

    def says(self, line: str) -> bool | None:
        """What is written of a line that a probe tries; None if nothing is."""
        found = self.lines.get(line)
        return bool(found.value) if found else None

    def setting(self, name: str) -> str | bool:
        """A setting, by its line or its default."""
        line = self.lines.get(name)
        return line.value if line else SETTINGS[name]

    def ignored(self, resource_type: str) -> tuple[str, ...]:
        """Paths that this system changes on its own."""
        return (*self.ignores.get("*", ()), *self.ignores.get(resource_type, ()))


@dataclass(frozen=True)
class Habits:
    """A dialect and the verdicts on one live system: what may be relied on."""

    dialect: Dialect
    verdicts: Verdicts

    @cached_property
    def _holding(self) -> frozenset[str]:
        return frozenset(line for line, (holds, _) in self.verdicts.items() if holds)

    def holds(self, line: str) -> bool:
        """Whether a probe has shown it."""
        return line in self._holding

    def told_of(self, line: str) -> str:
        """What the probe saw; empty if it did not try the line."""
        return self.verdicts[line][1] if line in self.verdicts else ""

    def fails(self, line: str) -> bool:
        """Whether a probe has shown that it does not hold; not to know is not this."""
        return line in self.verdicts and not self.holds(line)

    @property
    def strong_etags(self) -> bool:
        """Whether versions are named by strong ETags, and so have to be sent back as such."""
        return self.holds("etag_present") and self.fails("etag_weak")

    @property
    def patch_guard(self) -> str:
        """How a PATCH is made conditional: "if-match", "test", or "put" (sent as PUT instead)."""
        if self.holds("if_match_on_patch"):
            return "if-match"
        return "test" if self.holds("patch_test") else "put"


def load_dialect(name: str) -> Dialect:
    """A dialect by the name of its file. Raises ConfigError."""
    folder = resources.files("chartgate.adapters.fhir_r4") / "dialects"
    known = {f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")}
    check_keys({name: None}, known, "dialects/")
    text = (folder / f"{name}.toml").read_text(encoding="utf-8")
    return parse_dialect(text, name=name)


def parse_dialect(text: str, *, name: str) -> Dialect:
    """A dialect's TOML. Raises ConfigError, naming the near name of a typo."""
    where = f"dialects/{name}.toml"
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} cannot be read: {error}") from None
    check_keys(table, {"title", "extends", "lines", "stand_ins", "ignores"}, where)
    parent = load_dialect(table["extends"]) if "extends" in table else None
    lines = {key: _line(where, key, value) for key, value in _tables(table, "lines", where)}
    stand_ins = {
        key: _stand_in(where, key, value) for key, value in _tables(table, "stand_ins", where)
    }
    ignores = {key: _ignores(where, key, value) for key, value in _tables(table, "ignores", where)}
    return Dialect(
        name=name,
        title=str(table.get("title", name)),
        lines={**(parent.lines if parent else {}), **lines},
        stand_ins={**(parent.stand_ins if parent else {}), **stand_ins},
        ignores={**(parent.ignores if parent else {}), **ignores},
    )


def _tables(table: Mapping[str, Any], key: str, where: str) -> list[tuple[str, dict[str, Any]]]:
    found = table.get(key, {})
    if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
        raise ConfigError(f"{where} [{key}] must hold tables")
    return list(found.items())


def _line(where: str, key: str, table: dict[str, Any]) -> Line:
    check_keys({key: None}, {*PROBED, *SETTINGS}, f"{where} [lines]")
    _check_basis(f"{where} [lines.{key}]", table, {"value"})
    value = table.get("value")
    wanted = type(SETTINGS.get(key, True))
    if not isinstance(value, wanted):
        raise ConfigError(f"{where} [lines.{key}] value must be of type {wanted.__name__}")
    if key == "marker" and value not in ("identifier", "tag"):
        raise ConfigError(f'{where} [lines.marker] value must be "identifier" or "tag"')
    if key == "stale_status" and value not in ("409", "412"):
        raise ConfigError(f'{where} [lines.stale_status] value must be "409" or "412"')
    return Line(value=value, basis=table["basis"], source=table.get("source", ""))


def _stand_in(where: str, key: str, table: dict[str, Any]) -> tuple[str, str]:
    _check_basis(f"{where} [stand_ins.{key}]", table, {"element", "value"})
    element, value = table.get("element"), table.get("value")
    if not isinstance(element, str) or not isinstance(value, str):
        raise ConfigError(f"{where} [stand_ins.{key}] needs element and value")
    return element, value


def _ignores(where: str, key: str, table: dict[str, Any]) -> tuple[str, ...]:
    _check_basis(f'{where} [ignores."{key}"]', table, {"paths"})
    paths = table.get("paths")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ConfigError(f'{where} [ignores."{key}"] needs paths, a list of element paths')
    return tuple(paths)


def _check_basis(where: str, table: dict[str, Any], keys: set[str]) -> None:
    check_keys(table, {*keys, "basis", "source"}, where)
    if table.get("basis") not in BASES:
        raise ConfigError(f'{where} basis must be "documented" or "probed"')
    if table["basis"] == "documented" and not table.get("source"):
        raise ConfigError(f"{where} is documented and so must name its source")
