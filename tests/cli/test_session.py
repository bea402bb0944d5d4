"""Which store a command talks to, and what it says when there is none."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from chartgate.cli import session
from chartgate.cli.session import running_store_url, store_url, with_store
from chartgate.config import Config, StoreConfig, load_config
from chartgate.demo.rig import Rig
from chartgate.errors import Unavailable
from chartgate.gate import Gate
from chartgate.store.embedded import running_url, start_embedded


async def tenant(gate: Gate) -> str:
    found: str = await gate.database.fetch_value("SELECT $1")
    return found


def test_store_of_a_running_chartgate_is_used_and_left_running(house: Rig) -> None:
    config = load_config(house.config)
    with store_url(config) as url:
        assert url == running_url(config.data_dir)
    assert running_url(config.data_dir) == url


def test_store_that_does_not_run_is_started_and_stopped_again(open_folder: Path) -> None:
    config = Config(folder=open_folder, data_dir=open_folder / "session")
    assert with_store(config, tenant) == "main"
    assert running_url(config.data_dir) is None


def test_database_url_goes_first(open_folder: Path) -> None:
    config = Config(folder=open_folder, store=StoreConfig(database_url="postgresql://db/x"))
    with store_url(config) as url:
        assert url == "postgresql://db/x"
    assert running_store_url(config) == "postgresql://db/x"


def test_command_that_comes_while_the_store_starts_waits_for_it(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`chartgate halt` must not fail because PostgreSQL is just being started again."""
    config = Config(folder=open_folder, data_dir=open_folder / "starting")
    server = start_embedded(config.data_dir)
    url = running_url(config.data_dir)
    began = time.monotonic()
    answers = iter([None, None, None])
    monkeypatch.setattr(session, "running_url", lambda folder: next(answers, url))
    try:
        with store_url(config) as found:
            assert found == url
    finally:
        server.stop()
    assert time.monotonic() - began < session.STARTING_WITHIN_S


def test_data_directory_that_another_holds_without_a_store_is_refused(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(folder=open_folder, data_dir=open_folder / "held")
    monkeypatch.setattr(session, "STARTING_WITHIN_S", 0.1)
    server = start_embedded(config.data_dir)
    try:
        monkeypatch.setattr(session, "running_url", lambda folder: None)
        with pytest.raises(Unavailable, match="another Chartgate"), store_url(config):
            pass
    finally:
        server.stop()


def test_long_running_command_without_a_store_says_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="start everything with `chartgate up`"):
        running_store_url(Config(folder=tmp_path, data_dir=tmp_path / "var"))


def test_commands_at_once_share_the_store(house: Rig) -> None:
    config = load_config(house.config)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(with_store(config, tenant))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["main"] * 4


def test_act_that_fails_stops_what_was_started(open_folder: Path) -> None:
    config = Config(folder=open_folder, data_dir=open_folder / "failing")

    async def fail(gate: Gate) -> None:
        await asyncio.sleep(0)
        raise Unavailable("x")

    with pytest.raises(Unavailable):
        with_store(config, fail)
    assert running_url(config.data_dir) is None
