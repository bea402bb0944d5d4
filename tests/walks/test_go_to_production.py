"""docs/howto/go-to-production.md, followed: its settings together are fit for production."""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

from chartgate.config import parse_config
from chartgate.policy.production import production_findings
from chartgate.testing.gates import parse_test_charter

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "go-to-production.md"
DAY = date(2026, 11, 21)  # within the page's contract


def test_settings_of_the_page_are_fit_for_production() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table: dict[str, Any] = {
        "production": True,
        "web": {"public_url": "https://gate.example"},
        "sites": {"north-clinic": {"consent": "opt-in"}},
    }
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        table |= tomllib.loads(block)
    config = parse_config(table, folder=PAGE.parent)
    assert production_findings(config, (parse_test_charter(),), DAY) == ()
    assert config.services["archive"].may == ("audit", "introspect")
