"""Builds src/chartgate/transform/hl7v2/code_maps.json from the HL7 v2-to-FHIR concept maps.

Run it as `python -m tools.build_v2_maps MAPPINGS`, where MAPPINGS is the folder that holds
`codesystems`, `segments` and `datatypes` as CSV. The table holds facts (v2 table number, codes,
systems, displays) and leaves all prose out. Rows without a code on either side are left out too:
they describe user-defined tables, which a site fills. What the source gets wrong stands with its
reason in tools/v2_map_corrections.py.

Form, by the name that the segment maps use:
    "AdministrativeSex": {"table": "0001", "codes": {"F": "female"}}
    "OrderType": {"table": "0482", "codes": {"O": {"system": …, "code": "OF", "display": …}}}
"""

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chartgate.formats import r4
from tools.v2_map_corrections import CODE_ELEMENTS, COLUMN_NAMES, CORRECTIONS

OUTPUT = Path(__file__).parents[1] / "src/chartgate/transform/hl7v2/code_maps.json"
DISPLAY_CHARS_MAX = 50  # longer ones are explanations, not names
TABLE = re.compile(r"HL7?-?(\d{4,5})")
VALUE_SET = re.compile(r"http://hl7\.org/fhir/ValueSet/")

Table = dict[str, Any]


class Row(NamedTuple):
    """One line of a concept map: a code of v2 and what it is in FHIR."""

    sent: str
    v2_table: str
    code: str
    display: str
    system: str


def main() -> int:
    """Writes the table; prints its size and the names that have no codes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mappings", type=Path, help="the folder with codesystems/*.csv")
    mappings = parser.parse_args().mappings
    maps = build_maps(read_maps(mappings / "codesystems"))
    OUTPUT.write_bytes(written(maps))
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes, {len(maps)} maps")
    for name in sorted(named_maps(mappings) - set(maps)):
        print(f"named but without codes: {name}")
    return 0


def written(maps: Table) -> bytes:
    """The one byte form of the table: sorted, a map a line."""
    lines = (
        f"{json.dumps(name)}:"
        + json.dumps(table, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        for name, table in sorted(maps.items())
    )
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read_maps(folder: Path) -> dict[str, list[Row]]:
    """The lines of each concept map, by the name that the segment maps use."""
    found = {}
    for path in sorted(folder.glob("*.csv")):
        name = path.stem.partition("_ ")[2].removesuffix(" - Sheet1")
        with path.open(encoding="utf-8-sig", newline="") as file:
            found[COLUMN_NAMES.get(name, name)] = list(rows(list(csv.reader(file))))
    return found


def rows(lines: list[list[str]]) -> Iterator[Row]:
    """Lines of one file. Its FHIR columns stand in one of two ways: with a blank one or not."""
    groups, names = lines[0], lines[1]
    fhir = next(i for i, group in enumerate(groups) if group.startswith("HL7 FHIR"))
    display, system = (names.index(name, fhir) for name in ("Display", "Code System"))
    for line in lines[2:]:
        cells = [clean(cell) for cell in line] + [""] * len(names)
        shown = cells[display] or cells[fhir + 1]
        yield Row(cells[0], cells[2], cells[fhir], shown, cells[system])


def clean(cell: str) -> str:
    """A cell without the blanks, hard ones too, that surround it in the source."""
    return " ".join(cell.replace("\xa0", " ").split())


def build_maps(read: Mapping[str, list[Row]]) -> Table:
    """The whole table. Raises ValueError for a target that its element cannot hold."""
    names = {*read, *(c.map for c in CORRECTIONS)}
    built = {name: one_map(name, read.get(name, [])) for name in names}
    return {name: table for name, table in built.items() if table["codes"]}


def one_map(name: str, lines: list[Row]) -> Table:
    """One map: its v2 table and the codes that have a target."""
    codes: dict[str, Any] = {}
    for row in lines:
        if row.sent and row.code:
            codes.setdefault(row.sent, target(name, row))
    for correction in (c for c in CORRECTIONS if c.map == name):
        stale = {s for s, t in correction.targets.items() if t is None} - set(codes)
        if stale and lines:
            raise ValueError(
                f"{name}: the source no longer has {sorted(stale)}; drop the correction"
            )
        codes |= correction.targets
    codes = {sent: found for sent, found in codes.items() if found is not None}
    check_codes(name, codes)
    numbers = sorted({m[1][-4:] for row in lines if (m := TABLE.fullmatch(row.v2_table))})
    return {"table": numbers[0] if numbers else "", "codes": codes}


def target(name: str, row: Row) -> Any:
    """What a row's code is in FHIR: a bare code where the element is one, else a coding."""
    if name in CODE_ELEMENTS:
        return row.code
    coding = {"system": VALUE_SET.sub("http://hl7.org/fhir/", row.system).rstrip("/")}
    coding["code"] = row.code
    if row.display and len(row.display) <= DISPLAY_CHARS_MAX and not row.display.endswith("."):
        coding["display"] = row.display
    return coding


def check_codes(name: str, codes: Mapping[str, Any]) -> None:
    """Raises ValueError for a target that R4 does not allow in the element it is meant for."""
    if name in CODE_ELEMENTS:
        owner, _, path = CODE_ELEMENTS[name].partition(".")
        element = r4.find_element(owner, path)
        if element is None:
            raise ValueError(f"{name}: R4 has no element {CODE_ELEMENTS[name]}")
        wrong = {s for s, t in codes.items() if element.codes and t not in element.codes}
        if wrong:
            raise ValueError(f"{name}: {sorted(wrong)} have targets outside {CODE_ELEMENTS[name]}")
    elif not all(t.get("system") and t.get("code") for t in codes.values()):
        raise ValueError(f"{name}: a coding needs a system and a code")


def named_maps(mappings: Path) -> set[str]:
    """Names in the "Vocabulary Mapping" column of the segment and data type maps."""
    names = set()
    for path in sorted([*mappings.glob("segments/*.csv"), *mappings.glob("datatypes/*.csv")]):
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))
        column = next(i for i, cell in enumerate(lines[1]) if cell.startswith("Vocabulary"))
        names |= {"".join(line[column].split()) for line in lines[2:] if len(line) > column}
    return names - {""}


if __name__ == "__main__":
    sys.exit(main())
