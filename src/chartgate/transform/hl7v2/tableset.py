"""The tables as one set, with a digest that names exactly this revision of them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from chartgate.transform.hl7v2.rows import Row, Table, parse_tables


@dataclass(frozen=True, kw_only=True)
class TableSet:
    """Tables by name, "PID.Patient", and what names this revision."""

    tables: Mapping[str, Table]
    revision: str  # the first 16 hex digits of the SHA-256 over all that they say

    def table(self, name: str) -> Table:
        """One table, as the project ships it or a site has changed it."""
        return self.tables[name]


@cache
def shipped_tables() -> TableSet:
    """The tables of this release."""
    tables: dict[str, Table] = {}
    content = hashlib.sha256()
    folder = resources.files("chartgate.transform.hl7v2") / "tables"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".table")), key=lambda f: f.name)
    for file in files:
        text = file.read_text("utf-8")
        content.update(text.encode())
        tables |= parse_tables(text, where=file.name)
    return TableSet(tables=tables, revision=content.hexdigest()[:16])


def extended(base: TableSet, rows: Iterable[tuple[str, Row]], *, source: bytes) -> TableSet:
    """A set with more rows by table name; a table that is not there begins with them. `source`
    is what they were read from, and becomes part of the revision."""
    tables = dict(base.tables)
    for name, row in rows:
        held = tables.get(name) or Table(name=name, rows=())
        tables[name] = replace(held, rows=(*held.rows, row))
    content = hashlib.sha256(base.revision.encode() + b"\n" + source)
    return TableSet(tables=tables, revision=content.hexdigest()[:16])
