"""Writes docs/reference/hl7v2-coverage.md: each row of the official segment maps beside our tables.

Run it as `python -m tools.v2_coverage MAPPINGS`, where MAPPINGS is the folder that holds `messages`
and `segments` as CSV; `--check` says whether the page is current. It takes positions and targets
from the maps, and no prose: what stands in the last column is ours.
"""

import argparse
import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chartgate.transform.hl7v2.messages import SUPPORTED
from chartgate.transform.hl7v2.rows import Row, Table, parse_position
from chartgate.transform.hl7v2.tableset import shipped_tables

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "hl7v2-coverage.md"
MAP = re.compile(r"\b([A-Z][A-Z0-9]{2})\[([A-Z][A-Za-z-]*)\]")
IDENTIFIER, SYNTAX_MAP, TARGET = 1, 10, 9
MAPPED, CODED, NOT, MISSING, NO_TARGET = "mapped", "in code", "not", "missing", "no target"
SHARE_LEAST = 0.9  # of the rows with a target, in all

INTRO = """\
What becomes of each row of the official HL7 v2-to-FHIR segment maps that belong to messages which
Chartgate takes. `python -m tools.v2_coverage MAPPINGS` writes this page from the maps and from
`src/chartgate/transform/hl7v2/tables`.

* **mapped**: a row of the table with the map's name takes the field. The last column is that row;
  where its element is another than the map's, it says where the same fact stands with us.
* **in code**: the maker of the resource takes it; the last column says where.
* **not**: deliberately not mapped, and why.
* A row without a FHIR target in its map is not applicable; it stands in the line under the table."""


@dataclass(frozen=True, kw_only=True)
class Official:
    """One row of a segment map."""

    position: str  # "PID-3", "PID-3.4", or "PID"
    target: str  # the FHIR attribute; empty: none


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of an official row."""

    row: Official
    outcome: str
    by: str = ""  # our row, our maker, or our reason


def main() -> int:
    """Writes or checks the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mappings", type=Path, help="the folder with messages/ and segments/")
    parser.add_argument("--check", action="store_true", help="only say whether it is current")
    parser.add_argument("--missing", action="store_true", help="only list the rows that lack one")
    arguments = parser.parse_args()
    verdicts = judge(arguments.mappings)
    if arguments.missing:
        for name, some in verdicts.items():
            for one in some:
                if one.outcome == MISSING:
                    print(f"{name:<40} {one.row.position:<10} {one.row.target}")
        return 0
    text = page(verdicts, not_taken(arguments.mappings))
    held = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if arguments.check:
        print("current" if held == text else f"stale: run `python -m {__spec__.name} MAPPINGS`")
        return int(held != text)
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE.name}: {share(verdicts):.1%} of the rows with a target are mapped")
    return 0


def judge(mappings: Path) -> dict[str, list[Verdict]]:
    """By map that is taken, "PID[Patient]", what became of each of its rows."""
    tables = shipped_tables().tables
    return {
        name: [_verdict(row, tables.get(table_name(name))) for row in rows]
        for name, rows in segment_maps(mappings).items()
        if name in taken_maps(mappings, tables)
    }


def share(verdicts: Mapping[str, Sequence[Verdict]]) -> float:
    """Of the rows that have a target, those that are mapped, by a row or in code."""
    counts = Counter(one.outcome for some in verdicts.values() for one in some)
    counts.pop(NO_TARGET, None)
    return (counts[MAPPED] + counts[CODED]) / max(1, counts.total())


def taken_maps(mappings: Path, tables: Mapping[str, Table]) -> frozenset[str]:
    """The maps that a supported message names, and those that we have a table for."""
    named = {name for name in segment_maps(mappings) if table_name(name) in tables}
    for path in sorted((mappings / "messages").glob("*.csv")):
        message = path.stem.partition("_ ")[2].partition(" - ")[0].replace("_", "^")
        if message in SUPPORTED:
            for line in _lines(path):
                named |= {found[0] for found in MAP.finditer(line[SYNTAX_MAP])}
    return frozenset(named)


def not_taken(mappings: Path) -> list[str]:
    """The maps that belong to no supported message."""
    taken = taken_maps(mappings, shipped_tables().tables)
    return [name for name in segment_maps(mappings) if name not in taken]


def segment_maps(mappings: Path) -> dict[str, list[Official]]:
    """All rows of all segment maps, by map."""
    found = {}
    for path in sorted((mappings / "segments").glob("*.csv")):
        match = MAP.search(path.stem)
        assert match is not None, f"{path.name} names no map"
        found[match[0]] = [
            Official(
                position=_position(line[IDENTIFIER], match[1]),
                target=" ".join(line[TARGET].split()),
            )
            for line in _lines(path)
            if any(cell.strip() for cell in line[1:])
        ]
    return found


def table_name(name: str) -> str:
    """ "PID[Patient]" as our tables write it."""
    return name.replace("[", ".").rstrip("]")


def page(verdicts: Mapping[str, Sequence[Verdict]], others: Sequence[str]) -> str:
    """The whole page."""
    return "\n".join(
        [
            "# Coverage of the HL7 v2-to-FHIR maps\n",
            "<!-- written by tools/v2_coverage.py; change the tables instead -->\n",
            f"{INTRO}\n",
            *_summary(verdicts),
            *(line for name, some in verdicts.items() for line in _section(name, some)),
            "## Maps of messages that are not taken\n",
            f"Not applicable: {', '.join(f'`{name}`' for name in others) or 'none'}.",
            "",
        ]
    )


def _summary(verdicts: Mapping[str, Sequence[Verdict]]) -> Iterator[str]:
    columns = (MAPPED, CODED, NOT, MISSING, NO_TARGET)
    yield f"| map | {' | '.join(columns)} | share mapped |"
    yield "|---" * (len(columns) + 2) + "|"
    total: Counter[str] = Counter()
    for name, some in verdicts.items():
        counts = Counter(one.outcome for one in some)
        total += counts
        numbers = " | ".join(str(counts[column]) for column in columns)
        yield f"| [{name}](#{_anchor(name)}) | {numbers} | {share({name: some}):.0%} |"
    numbers = " | ".join(f"**{total[column]}**" for column in columns)
    yield f"| **all** | {numbers} | **{share(verdicts):.1%}** |\n"


def _section(name: str, some: Sequence[Verdict]) -> Iterator[str]:
    yield f"## {name}\n"
    targeted = [one for one in some if one.outcome != NO_TARGET]
    if targeted:
        yield "| position | official target | outcome | by |"
        yield "|---|---|---|---|"
        for one in targeted:
            by = one.by.replace("|", "\\|")
            target = one.row.target.replace("|", "\\|").replace("](", "] (")  # no link
            yield f"| {one.row.position} | `{target}` | {one.outcome} | {by} |"
        yield ""
    without = dict.fromkeys(one.row.position for one in some if one.outcome == NO_TARGET)
    if without:
        yield f"No target: {', '.join(without)}.\n"


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9-]", "", name.lower())


def _verdict(row: Official, table: Table | None) -> Verdict:
    if not row.target:
        return Verdict(row=row, outcome=NO_TARGET)
    if table is None:
        return Verdict(row=row, outcome=MISSING)
    rows = [one for one in table.rows if _same_field(str(one.source), row.position)]
    same = [one for one in rows if _head(one.path[0]) == _head(row.target)]
    if same:
        return Verdict(row=row, outcome=MAPPED, by=_named(same))
    for remarks, outcome in ((table.coded, CODED), (table.unmapped, NOT)):
        for position, text in remarks.items():
            if _same_field(position, row.position):
                return Verdict(row=row, outcome=outcome, by=text)
    if rows:
        return Verdict(row=row, outcome=MAPPED, by=_named(rows))
    return Verdict(row=row, outcome=MISSING)


def _named(rows: Sequence[Row]) -> str:
    """Our rows, without the table's name, which is the map's."""
    return ", ".join(dict.fromkeys(f"`{row.id.partition(' ')[2]}`" for row in rows))


def _same_field(ours: str, official: str) -> bool:
    return parse_position(ours).field == parse_position(official).field


def _head(path: str) -> str:
    """The first element, without which item of a list, of which type, and with what value."""
    return re.split(r"[.\[(= ]", path.strip(), maxsplit=1)[0]


def _position(text: str, segment: str) -> str:
    """The identifier as we write it; rows about the whole segment sometimes leave it out."""
    found = re.match(rf"{segment}(-\d+(\.\d+)*)?", text.strip())
    return found[0] if found else segment


def _lines(path: Path) -> list[list[str]]:
    """The rows of a file, all as wide as the widest column that is read here."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file))[2:]
    return [line + [""] * (SYNTAX_MAP + 1 - len(line)) for line in lines]


if __name__ == "__main__":
    sys.exit(main())
