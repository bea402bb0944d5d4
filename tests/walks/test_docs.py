"""What the documents show can be used as it stands: links, charters, settings, lengths."""

import re
import tomllib
from pathlib import Path

import pytest

from chartgate.adapters.loader import check_connection, manifests
from chartgate.config import parse_config
from chartgate.policy.charters import parse_charter

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "src" / "chartgate" / "cli" / "samples"
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
HOWTOS = sorted((ROOT / "docs" / "howto").glob("*.md"))
CHANGES = sorted(p for p in (ROOT / "changelog.d").glob("*") if p.name != "README.md")
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
CHANGE_NAME = re.compile(r"(added|changed|fixed|removed|security)-[a-z0-9-]+\.md")
CHANGE = re.compile(r"(AI clients|Staff|Operators|Integrators|Auditors|Everybody): .{1,200}\.\n")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of that language."""
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_link_when_it_is_relative_leads_somewhere(document: Path) -> None:
    for target, _ in LINK.findall(document.read_text(encoding="utf-8")):
        if target and "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_settings_that_a_document_shows_are_taken(document: Path) -> None:
    known = manifests()
    for text in blocks(document, "toml"):
        config = parse_config(tomllib.loads(text), folder=ROOT)
        for connection in config.connections.values():
            check_connection(connection, known)


def test_charter_that_the_readme_shows_is_right() -> None:
    [text] = blocks(ROOT / "README.md", "yaml")
    charter = parse_charter(text.encode(), file="README.md", read_model=read_sample)
    assert charter.name == "clinic-booking"


def test_charter_that_is_written_step_by_step_is_right() -> None:
    text = "".join(blocks(ROOT / "docs" / "howto" / "write-a-charter.md", "yaml"))
    charter = parse_charter(text.encode(), file="howto", read_model=read_sample)
    assert set(charter.proposes) == {"book"}


def read_sample(name: str) -> bytes:
    """A model file of the samples."""
    return (SAMPLES / name).read_bytes()


@pytest.mark.parametrize("document", HOWTOS, ids=named)
def test_howto_fits_two_screens(document: Path) -> None:
    assert len(document.read_text(encoding="utf-8").splitlines()) <= 100


@pytest.mark.parametrize("change", CHANGES, ids=named)
def test_change_is_one_sentence_for_somebody(change: Path) -> None:
    assert CHANGE_NAME.fullmatch(change.name)
    assert CHANGE.fullmatch(change.read_text(encoding="utf-8"))
