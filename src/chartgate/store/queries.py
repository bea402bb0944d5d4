"""Named queries: `-- name: verb_noun` starts one in a .sql file, the next name ends it."""

import re
from collections.abc import Mapping
from functools import lru_cache, partial
from importlib import resources

# The first step is looked at first, so the others run on what it has locked, or not at all.
RESULT = "SELECT 1 / (SELECT count(*) FROM step_0) AS changed, (TABLE result LIMIT 1) AS value"
PARAMETER = re.compile(r"\$(\d+)")


def load_queries(filename: str) -> Mapping[str, str]:
    """Queries of one file in this folder, by name. Parameters are PostgreSQL's $1, $2 …"""
    text = (resources.files("chartgate.store") / filename).read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


@lru_cache(maxsize=64)
def chained(*statements: str) -> str:
    """One statement of several that all see the same snapshot and happen together or not at all.

    They share $1, the tenant; the other parameters of each follow those of the one before. The
    first one must change a row (else it is a division by zero, and nothing happens); the one
    value that the last but one returns is the second column. The last is the audit's.
    """
    parts: list[str] = []
    offset = 0
    for number, statement in enumerate(statements):
        last = max(int(found) for found in PARAMETER.findall(statement))
        shifted = PARAMETER.sub(partial(_shifted, offset=offset), statement)
        parts.append(f"step_{number} AS (\n{shifted.removesuffix(';')}\n)")
        offset += last - 1
    parts.append(f"result AS (TABLE step_{len(statements) - 2})")
    return f"WITH {', '.join(parts)}\n{RESULT}"


def _shifted(found: re.Match[str], *, offset: int) -> str:
    number = int(found[1])
    return f"${number + offset if number > 1 else 1}"
