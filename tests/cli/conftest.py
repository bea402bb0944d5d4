"""The command line in this process, and one Chartgate with its hospital for all these tests."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from chartgate.cli import main
from chartgate.cli.halt import operator
from chartgate.cli.session import with_store
from chartgate.config import load_config
from chartgate.demo.rig import PASSWORD, Rig
from chartgate.flows import halts, people
from chartgate.flows.charters import load_book
from chartgate.gate import Gate
from chartgate.store.vault_keys import write_secrets
from tests.conftest import MASTER_SECRET


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, decoded."""
        return json.loads(self.out)


Cli = Callable[..., Done]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs `chartgate WORDS` in this process; `stdin` is what is piped in.

    Not for commands that run on: they set up the logs of their process, which would be ours.
    """

    def run(*words: str | Path, stdin: str = "") -> Done:
        configured = structlog.is_configured()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert structlog.is_configured() == configured
        assert isinstance(ended.value.code, int)
        return Done(code=ended.value.code, out=out, err=err)

    return run


@pytest.fixture(scope="session")
def house(open_folder: Path) -> Iterator[Rig]:
    """`chartgate up` beside the sample hospital, probed, with people. Its tests leave it so."""
    rig = Rig(open_folder / "house")
    try:
        rig.initialise()
        rig.start_hospital()
        rig.start_chartgate()
        rig.must("probe", "north-ehr")
        config = load_config(rig.config)
        with_store(config, _prepared, book=load_book(config))
        yield rig
    finally:
        rig.discard()


async def _prepared(gate: Gate) -> None:
    """Every charter at suggest, and sofia: in one go, because each command takes a second."""
    for charter in gate.charters.charters:
        await halts.set_stage(gate, operator(), charter, "suggest")
    await people.add_person(gate, "sofia", PASSWORD, roles=["scheduler"], sites=["north-clinic"])


@pytest.fixture
def at_house(house: Rig, cli: Cli) -> Cli:
    """A command on the running Chartgate."""

    def run(*words: str | Path, stdin: str = "") -> Done:
        return cli("--config", house.config, *words, stdin=stdin)

    return run


@pytest.fixture
def at_feed(database_url: str, tmp_path: Path, cli: Cli) -> Cli:
    """A command on a store with one feed, `north-adt`, and no process running."""
    file = tmp_path / "chartgate.toml"
    write_secrets(tmp_path / "keys" / "vault.key", [MASTER_SECRET])
    file.write_text(
        f'[store]\ndatabase_url = "{database_url}"\n'
        '[connections.north-adt]\nadapter = "hl7v2_mllp"\nsite = "north-clinic"\nport = 2575\n'
    )

    def run(*words: str | Path, stdin: str = "") -> Done:
        return cli("--config", file, *words, stdin=stdin)

    return run


@pytest.fixture
def folder(tmp_path: Path, cli: Cli) -> Path:
    """What `chartgate init` writes, with nothing running."""
    folder = tmp_path / "site"
    assert cli("init", folder).code == 0
    return folder
