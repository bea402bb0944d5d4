"""A new signing key: strangers follow it from the first one, and nothing else passes for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chartgate.errors import ConfigError, LedgerRewound
from chartgate.flows import ledger as walk
from chartgate.flows import ledger_rotation
from chartgate.flows.ledger_rotation import Rotated, rotate
from chartgate.formats.checkpoint import is_endorsed, open_checkpoint, parse_key, signer_of
from chartgate.model.audit import AuditEvent
from chartgate.model.principal import Process
from chartgate.store import signing_keys
from chartgate.store.database import Database
from chartgate.store.signing_keys import SigningKey, key_chain, previous_file
from chartgate.store.witness import load_signer
from chartgate.testing.clock import FakeClock
from tests.flows.ledgers import Ledger, open_ledger
from tools import verify_ledger

ORIGIN = "chartgate.local/ledger"
WHO = Process(id="cli/test")


@pytest.fixture
async def ledger(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(database, clock, tmp_path) as opened:
        yield opened


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "ledger.pem"


async def turned(ledger: Ledger, key_file: Path) -> Rotated:
    """Rotates, and lets the test's sequencer sign with the new key."""
    done = await rotate(ledger.gate, WHO, key_file, ledger.witness)
    ledger.signer = load_signer(key_file, origin=ORIGIN)
    return done


async def stranger(
    ledger: Ledger, folder: Path, first: Any, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    """What the independent verifier says of an export, trusting the first key."""
    await asyncio.to_thread(folder.mkdir)
    witness = folder / "witness-copy.txt"
    witness.write_bytes(ledger.witness.path.read_bytes())
    await walk.export(ledger.database, folder / "export", public_key=first)
    return checked(folder, first, capsys)


def checked(
    folder: Path, key: Any, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = verify_ledger.main(
        [str(folder / "export"), "--key", str(key), "--witness",
         str(folder / "witness-copy.txt"), "--json"]
    )  # fmt: skip
    return code, json.loads(capsys.readouterr().out)


async def test_strangers_follow_two_rotations_from_the_first_key(
    ledger: Ledger, key_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ledger.signer.key
    await ledger.grow(5, 4)
    one = await turned(ledger, key_file)
    await ledger.grow(3, 2)
    two = await turned(ledger, key_file)
    await ledger.grow(6)
    assert (one.old, two.old) == (first, one.new)
    code, result = await stranger(ledger, tmp_path / "s", first, capsys)
    assert (code, result["findings"]) == (0, [])
    assert result["events"] == 5 + 4 + 1 + 3 + 2 + 1 + 6
    assert key_chain(key_file, two.new) == (first, one.new, two.new)
    verdict = await walk.verify(
        ledger.database,
        witness=ledger.witness,
        public_key=two.new,
        earlier_keys=(first, one.new),
    )
    assert verdict.holds, verdict.findings
    assert not previous_file(key_file).exists()


async def test_the_event_of_a_rotation_bears_the_old_keys_word(
    ledger: Ledger, key_file: Path
) -> None:
    await ledger.grow(2)
    done = await turned(ledger, key_file)
    proof = await walk.prove(ledger.database, 2)
    said = json.loads(proof["body"])
    assert (said["action"], said["agent"]) == ("ledger.rotate-key", "process:cli/test")
    old, new = parse_key(said["details"]["old"]), parse_key(said["details"]["new"])
    assert (old, new) == (done.old, done.new)
    assert is_endorsed(old, new, said["details"]["endorsement"])
    assert not is_endorsed(new, old, said["details"]["endorsement"])
    assert open_checkpoint(proof["checkpoint"], old).size == done.size
    assert open_checkpoint(proof["checkpoint"], new).size == done.size


async def test_heads_of_the_old_key_after_the_hand_over_are_found(
    ledger: Ledger, key_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever stole the old key before it was rotated gains nothing by it afterwards."""
    first = ledger.signer
    await ledger.grow(5)
    await turned(ledger, key_file)
    await ledger.grow(5)
    code, _ = await stranger(ledger, tmp_path / "s", first.key, capsys)
    assert code == 0
    heads = tmp_path / "s" / "export" / "heads.txt"
    newest = open_checkpoint(ledger.witness.newest() or "", ledger.signer.key)
    lines = heads.read_text().split("\n\n")
    forged = first.sign(newest.size, newest.root)
    heads.write_text("\n\n".join(lines[:-3]) + f"\n\n{forged}\n")
    code, result = checked(tmp_path / "s", first.key, capsys)
    assert code == 1
    assert any("signed by another key" in finding for finding in result["findings"])


@pytest.mark.parametrize("with_event", [True, False])
async def test_a_key_without_the_old_ones_word_is_never_followed(
    ledger: Ledger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    with_event: bool,
) -> None:
    """Somebody who can write the database, and has a key of their own, puts in an event that
    looks like a rotation; the true key then signs over it without knowing."""
    first = ledger.signer
    thief = signer_of(Ed25519PrivateKey.generate(), origin=ORIGIN)
    await ledger.grow(5)
    if with_event:
        fake = {
            "old": str(first.key),
            "new": str(thief.key),
            "endorsement": thief.endorse(thief.key),
        }
        event = AuditEvent(
            recorded=ledger.clock(),
            action="ledger.rotate-key",
            agent="process:cli/test",
            details=tuple(fake.items()),
        )
        async with ledger.database.change(event):
            pass
    await ledger.grow(3)
    await stranger(ledger, tmp_path / "s", first.key, capsys)
    for name in ("export/heads.txt", "witness-copy.txt"):
        file = tmp_path / "s" / name
        newest = open_checkpoint(ledger.witness.newest() or "", first.key)
        both = first.hand_over(thief, newest.size, newest.root)
        one = first.sign(newest.size, newest.root)
        file.write_text(file.read_text().replace(one, both))
    code, result = checked(tmp_path / "s", first.key, capsys)
    assert code == 1
    assert all("was not endorsed" in finding for finding in result["findings"][:1])


@pytest.mark.parametrize("step", ["_record", "_wait_for_number", "_hand_over", "end_rotation"])
async def test_a_rotation_that_is_broken_off_anywhere_is_finished_by_the_same_command(
    ledger: Ledger,
    key_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    first = ledger.signer.key
    signing = SigningKey(key_file, origin=ORIGIN)
    await ledger.grow(4)

    def broken(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ledger_rotation, step, broken)
        with pytest.raises(KeyboardInterrupt):
            await rotate(ledger.gate, WHO, key_file, ledger.witness)
    await ledger.add(1)
    ledger.clock.advance(1)
    with pytest.raises(ConfigError, match="being rotated"):  # no worker signs meanwhile
        await walk.sequence_next(ledger.gate, signing, ledger.witness)
    await turned(ledger, key_file)
    assert await walk.sequence_next(ledger.gate, signing, ledger.witness) >= 0
    await ledger.grow(3)
    code, result = await stranger(ledger, tmp_path / "s", first, capsys)
    assert (code, result["findings"]) == (0, [])


async def test_a_rotation_cut_between_its_two_files_begins_anew(
    ledger: Ledger, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.grow(2)
    before = key_file.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            await rotate(ledger.gate, WHO, key_file, ledger.witness)
    assert key_file.read_bytes() == before
    done = await turned(ledger, key_file)
    assert done.new == load_signer(key_file, origin=ORIGIN).key


async def test_a_running_worker_takes_the_new_key_and_stops_without_one(
    ledger: Ledger, key_file: Path
) -> None:
    signing = SigningKey(key_file, origin=ORIGIN)
    await ledger.grow(2)
    await turned(ledger, key_file)
    assert signing.signer().key == ledger.signer.key
    key_file.rename(key_file.with_name("away"))
    await ledger.add(1)
    ledger.clock.advance(1)
    with pytest.raises(ConfigError, match="restore it from its backup"):
        await walk.sequence_next(ledger.gate, signing, ledger.witness)
    key_file.with_name("away").rename(key_file)
    ledger.clock.advance(1)
    await walk.sequence_next(ledger.gate, signing, ledger.witness)
    assert open_checkpoint(ledger.witness.newest() or "", ledger.signer.key).size == 4


async def test_a_rotation_refuses_where_store_and_witness_disagree(
    ledger: Ledger, key_file: Path
) -> None:
    await ledger.grow(3)
    ledger.witness.path.unlink()
    with pytest.raises(LedgerRewound):
        await rotate(ledger.gate, WHO, key_file, ledger.witness)


def test_a_key_that_cannot_be_used_refuses_to_start(tmp_path: Path) -> None:
    for content in (None, b"", b"no key"):
        file = tmp_path / "ledger.pem"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ConfigError, match="restore it from its backup"):
            SigningKey(file, origin=ORIGIN)


def test_a_damaged_chain_is_said(key_file: Path, ledger: Ledger) -> None:
    chain = key_file.with_name("ledger.pem.chain")
    chain.write_text("nonsense\n")
    with pytest.raises(ConfigError, match="public keys"):
        signing_keys.key_chain(key_file, ledger.signer.key)
