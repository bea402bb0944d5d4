"""Named queries: `-- name: verb_noun` starts one in a .sql file, the next name ends it."""

import re
from collections.abc import Mapping
from importlib import resources


def load_queries(filename: str) -> Mapping[str, str]:
    """Queries of one file in this folder, by name. Parameters are PostgreSQL's $1, $2 …"""
    text = (resources.files("chartgate.store") / filename).read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}
