"""Loading and reloading charters from files."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import chartgate
from chartgate.config import ClientConfig, Config, ConnectionConfig
from chartgate.errors import ConfigError
from chartgate.flows.charters import load_book, watch
from chartgate.gate import Gate, Running
from chartgate.policy.label_rules import own_label_rules
from chartgate.store.audit import AuditWriter
from chartgate.store.charters import CharterStore
from chartgate.store.database import Database
from chartgate.testing.clock import FakeClock

THROUGH = "through: {north-clinic: "
SAMPLES = Path(chartgate.__file__).parent / "cli" / "samples"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for name in ("charters", "models"):
        shutil.copytree(SAMPLES / name, tmp_path / name)
    clients = ("slot-picker", "scribe", "auth-clerk")
    return Config(
        folder=tmp_path,
        charters_dir=tmp_path / "charters",
        connections={"north-ehr": ConnectionConfig(name="north-ehr", adapter="fhir_r4")},
        clients={n: ClientConfig(name=n, jwks_file="x") for n in clients},
    )


@pytest.fixture
async def gate(config: Config, database: Database, clock: FakeClock) -> AsyncIterator[Gate]:
    audit = AuditWriter(database)
    await audit.start()
    yield Gate(
        config=config,
        clock=clock,
        database=database,
        audit=audit,
        running=Running(charters=load_book(config)),
        sources={},
        sinks={},
    )
    await audit.close()


def booking(config: Config) -> Path:
    return config.charters_dir / "clinic-booking.yaml"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


async def settled(gate: Gate) -> bool:
    """Looks until a look finds nothing to do; whether anything changed."""
    changed = await watch(gate)
    while gate.running.stamps == ():
        changed = await watch(gate) or changed
    return changed


async def reloads(database: Database) -> list[dict[str, Any]]:
    rows = await database.fetch(
        "SELECT body FROM audit_event WHERE tenant = $1 AND action = 'charter.reload' ORDER BY id"
    )
    return [orjson.loads(row["body"]) for row in rows]


def test_book_when_the_samples_are_loaded_then_all_three_run(config: Config) -> None:
    assert sorted(load_book(config).charters) == [
        "clinic-booking",
        "prior-authorisation",
        "visit-note",
    ]


def test_book_when_another_folder_is_given_then_it_is_read(config: Config, tmp_path: Path) -> None:
    other = tmp_path / "other" / "charters"
    shutil.copytree(config.charters_dir, other)
    shutil.copytree(tmp_path / "models", tmp_path / "other" / "models")
    (other / "visit-note.yaml").unlink()
    assert len(load_book(config, folder=other).charters) == 2


def test_book_when_several_files_are_broken_then_all_are_told(config: Config) -> None:
    change(booking(config), "search: [actor]", "search: [actr]")
    change(config.charters_dir / "visit-note.yaml", "charter:", "chartr:")
    with pytest.raises(ConfigError) as caught:
        load_book(config)
    told = str(caught.value)
    assert "clinic-booking.yaml: reads.Schedule.search" in told
    assert "visit-note.yaml: the charter: there is no key chartr; did you mean charter?" in told


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("clients: [slot-picker]", "clients: [slot-piker]", "no client slot-piker; did you mean"),
        ("north-ehr}", "north-er}", "no connection north-er; did you mean north-ehr?"),
        (
            "writes: [create App",
            f"{THROUGH}nort-ehr}}\n    writes: [create App",
            "did you mean north-ehr",
        ),
        (
            "writes: [create App",
            f"{THROUGH}north-ehr}}\n    writes: [create App",
            "of the site north-c",
        ),
        ("models/slot-picker.yaml", "models/none.yaml", "models/none.yaml cannot be read"),
        ("models/slot-picker.yaml", "../secret.yaml", "leads out of the folder"),
        ("models/slot-picker.yaml", "/etc/hostname", "leads out of the folder"),
    ],
)
def test_book_when_a_name_leads_nowhere_then_the_sentence_says_so(
    config: Config, old: str, new: str, sentence: str
) -> None:
    (config.folder.parent / "secret.yaml").write_text("model: x\nversion: '1'\n")
    change(booking(config), old, new)
    with pytest.raises(ConfigError, match=sentence):
        load_book(config)


def test_book_when_a_model_is_a_link_out_of_the_folder_then_it_is_refused(config: Config) -> None:
    secret = config.folder.parent / "linked.yaml"
    secret.write_text("model: x\nversion: '1'\n")
    model = config.folder / "models" / "slot-picker.yaml"
    model.unlink()
    model.symlink_to(secret)
    with pytest.raises(ConfigError, match="leads out of the folder"):
        load_book(config)


def test_book_when_there_is_no_folder_or_no_charter_then_it_says_what_to_do(
    config: Config,
) -> None:
    for path in config.charters_dir.glob("*.yaml"):
        path.unlink()
    with pytest.raises(ConfigError, match="holds no charter; `chartgate init`"):
        load_book(config)
    config.charters_dir.rmdir()
    with pytest.raises(ConfigError, match=r"there is no folder .*; `chartgate init`"):
        load_book(config)


def test_book_when_the_site_has_policies_then_only_forbids_are_taken(config: Config) -> None:
    policies = config.folder / "policies"
    policies.mkdir()
    forbid = policies / "site.cedar"
    before = load_book(config).digest
    forbid.write_text(
        '@id("site/1") @sentence("no") forbid (principal is Client, action, resource);'
    )
    assert load_book(config).digest != before
    forbid.write_text('@id("site/1") permit (principal, action, resource);')
    with pytest.raises(ConfigError, match="may only forbid"):
        load_book(config)


def test_book_when_the_site_has_label_rules_then_they_are_part_of_it(config: Config) -> None:
    policies = config.folder / "policies"
    policies.mkdir()
    before = load_book(config)
    assert before.labels.version == own_label_rules().version
    (policies / "labels.yaml").write_text("version: '7'\ntext: concepts\n")
    after = load_book(config)
    assert after.labels.version.endswith("+7")
    assert after.digest != before.digest
    (policies / "labels.yaml").write_text("version: '7'\ntext: most\n")
    with pytest.raises(ConfigError, match=r"policies/labels.yaml: text must be off, concepts or"):
        load_book(config)


async def test_watch_when_label_rules_change_or_break_then_it_follows_or_keeps_the_old(
    gate: Gate, config: Config, database: Database
) -> None:
    await settled(gate)
    policies = config.folder / "policies"
    policies.mkdir()
    (policies / "labels.yaml").write_text("version: '7'\ntext: all\n")
    assert await settled(gate)
    assert gate.charters.labels.text == "all"
    (policies / "labels.yaml").write_text("version: '8'\nrules: [3]\n")
    assert not await settled(gate)
    assert gate.charters.labels.version.endswith("+7")
    assert (await reloads(database))[-1]["outcome"] != "success"


async def test_watch_when_started_then_the_running_revisions_are_kept(
    gate: Gate, database: Database
) -> None:
    assert not await settled(gate)
    charters = list(gate.charters.charters.values())
    assert len(await CharterStore(database).known(charters)) == 3
    assert len(await reloads(database)) == 3
    assert not await settled(gate)
    assert len(await reloads(database)) == 3


async def test_watch_when_a_charter_changes_then_the_new_one_runs_and_is_kept(
    gate: Gate, config: Config, database: Database
) -> None:
    await settled(gate)
    change(booking(config), "revision: 1", "revision: 2")
    assert await settled(gate)
    running = gate.charters.get("clinic-booking")
    assert running.revision == 2
    event = (await reloads(database))[-1]
    assert event["outcome"] == "success"
    assert event["charter_digest"] == running.digest
    assert event["details"]["revision"] == "2"
    row = await database.fetch_row(
        "SELECT body FROM charter_revision WHERE tenant = $1 AND digest = $2", running.digest
    )
    assert row is not None
    assert row["body"] == booking(config).read_bytes()


async def test_watch_when_a_file_breaks_then_the_old_charters_run_and_one_alarm_is_raised(
    gate: Gate, config: Config, database: Database
) -> None:
    await settled(gate)
    before = gate.charters
    good = booking(config).read_text("utf-8")
    change(booking(config), "reads:\n", "raeds:\n")
    # The other file is right, and still not taken: all or none.
    change(config.charters_dir / "visit-note.yaml", "revision: 1", "revision: 2")
    for _ in range(5):
        assert not await watch(gate)
    assert gate.charters is before
    alarms = [e for e in await reloads(database) if e["outcome"] == "failed"]
    assert len(alarms) == 1
    assert "there is no key raeds; did you mean reads?" in alarms[0]["reason"]
    change(booking(config), "raeds:\n", "raeds2:\n")
    await watch(gate)
    assert len([e for e in await reloads(database) if e["outcome"] == "failed"]) == 2
    booking(config).write_text(good, "utf-8")
    assert await settled(gate)
    assert gate.charters.get("visit-note").revision == 2


async def test_watch_when_only_the_model_changes_then_the_book_changes(
    gate: Gate, config: Config, database: Database
) -> None:
    await settled(gate)
    before = len(await reloads(database))
    change(config.folder / "models" / "slot-picker.yaml", '"1.0.0"', '"1.1.0"')
    assert await settled(gate)
    assert gate.charters.get("clinic-booking").model_version == "1.1.0"
    assert len(await reloads(database)) == before + 1


async def test_watch_when_a_charter_goes_then_it_no_longer_runs(
    gate: Gate, config: Config, database: Database
) -> None:
    await settled(gate)
    booking(config).unlink()
    assert await settled(gate)
    assert "clinic-booking" not in gate.charters.charters
    event = (await reloads(database))[-1]
    assert (event["charter"], event["reason"]) == ("clinic-booking", "its file is gone")


async def test_watch_when_only_a_site_policy_changes_then_it_is_recorded(
    gate: Gate, config: Config, database: Database
) -> None:
    await settled(gate)
    policies = config.folder / "policies"
    policies.mkdir()
    text = '@id("site/1") @sentence("no") forbid (principal is Client, action, resource);'
    (policies / "site.cedar").write_text(text)
    assert await settled(gate)
    assert (await reloads(database))[-1]["reason"] == "the site's policies changed"
