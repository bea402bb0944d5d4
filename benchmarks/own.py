"""What a benchmark begins and ends with: a folder and a PostgreSQL of its own, and its figures."""

import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chartgate.store.embedded import start_embedded
from chartgate.store.migrate import migrate


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cg-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL's own user must reach its data
        yield folder


@contextmanager
def own_postgres() -> Iterator[tuple[Path, str]]:
    """A folder, and the URL of a store that is up to date."""
    with own_folder() as folder:
        server = start_embedded(folder / "data")
        try:
            asyncio.run(migrate(server.url))
            yield folder, server.url
        finally:
            server.stop()


def tell(figures: Mapping[str, Any], out: Path | None) -> None:
    """Prints them as JSON, and writes them to `out`."""
    text = json.dumps(figures, indent=2)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(f"{text}\n", encoding="utf-8")
