"""CSV that a spreadsheet opens as text: no cell of it is ever taken for a formula.

Source: RFC 4180; a cell that begins like a formula gets an apostrophe before it, which is what
spreadsheets themselves show a text by.
"""

import csv
import io
from collections.abc import Iterable, Sequence

# What spreadsheets take for the beginning of a formula or of a command; the full-width forms are
# read as the narrow ones in some places, and white space before them is passed over.
FORMULA = ("=", "+", "-", "@", "|", "%", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The table as CSV, with its columns' names first."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([cell(name) for name in columns])
    writer.writerows([cell(value) for value in row] for row in rows)
    return text.getvalue()


def cell(value: object) -> str:
    """One value as a cell. Numbers stay numbers; a text that begins like a formula does not."""
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = "".join(c if c.isprintable() or c in "\t\r\n" else " " for c in str(value))
    return f"'{text}" if text.lstrip(" \u00a0\ufeff").startswith(FORMULA) else text
