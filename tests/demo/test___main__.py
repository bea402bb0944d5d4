"""What the demo deletes, and what it never does."""

import sys
from pathlib import Path

import pytest

from chartgate.demo import __main__ as demo
from chartgate.demo.__main__ import fresh_folder
from chartgate.errors import ConfigError
from chartgate.store.embedded import start_embedded


def test_folder_is_made_and_an_earlier_demos_is_emptied(tmp_path: Path) -> None:
    folder = fresh_folder(tmp_path / "var" / "demo")
    (folder / "old.log").write_text("old")
    assert fresh_folder(folder) == folder
    assert [path.name for path in folder.iterdir()] == [demo.MARK]


@pytest.mark.parametrize("name", ["chartgate.toml", "letter.txt"])
def test_folder_that_holds_something_else_is_left_alone(tmp_path: Path, name: str) -> None:
    """A site's own folder has a chartgate.toml, too."""
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match="holds something else; name another folder"):
        fresh_folder(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_second_demo_at_once_is_told_by_a_sentence(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fresh_folder(open_folder / "demo")
    server = start_embedded(folder / "var")
    try:
        monkeypatch.setattr(sys, "argv", ["chartgate demo", "--folder", str(folder)])
        assert demo.main() == 2
    finally:
        server.stop()
    assert "another Chartgate" in capsys.readouterr().err
    assert (folder / "var").exists()


def test_folder_that_is_a_file_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["chartgate demo", "--folder", str(tmp_path / "file")])
    assert demo.main() == 2
    assert "Not a directory" in capsys.readouterr().err
