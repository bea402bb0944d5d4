"""The independent verifier on real exports: what holds, and every way of tampering with one."""

import asyncio
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from chartgate.flows import ledger as walk
from chartgate.formats.checkpoint import Signer, read_notes, signer_of
from chartgate.formats.merkle import Frontier, leaf_hash
from chartgate.store.database import Database
from chartgate.store.witness import Witness
from chartgate.testing.clock import FakeClock
from tests.flows.ledgers import Ledger, open_ledger
from tools import verify_ledger

TOOL = Path(verify_ledger.__file__)
RANDOM_TAMPERINGS = 400


@pytest.fixture
async def ledger(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(database, clock, tmp_path) as opened:
        yield opened


@pytest.fixture
async def given_to_stranger(ledger: Ledger, tmp_path: Path) -> Path:
    """A folder with an export of 60 events under 6 heads, and a copy of the witness."""
    await ledger.grow(1, 12, 20, 3, 4, 20)
    return await ledger.export(tmp_path / "stranger")


def key_of(folder: Path) -> str:
    return (folder / "export" / "public_key.txt").read_text()


def verify(
    folder: Path, capsys: pytest.CaptureFixture[str], *more: str, key: str = ""
) -> tuple[int, dict[str, Any]]:
    """Runs the verifier in this process; its exit status and its JSON."""
    arguments = [str(folder / "export"), "--key", key or key_of(folder), "--json", *more]
    witness = folder / "witness-copy.txt"
    status = verify_ledger.main([*arguments, "--witness", str(witness)])
    return status, json.loads(capsys.readouterr().out)


def test_verifier_is_one_short_file_without_the_package() -> None:
    text = TOOL.read_text()
    assert text.count("\n") < 300
    assert not re.search(r"^\s*(import|from) chartgate", text, re.MULTILINE)
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported <= set(sys.stdlib_module_names)


async def test_whole_export_holds_in_a_process_of_its_own(given_to_stranger: Path) -> None:
    """Isolated mode: no site-packages, so nothing of ours can be imported."""
    done = await asyncio.to_thread(
        subprocess.run,
        [
            sys.executable, "-I", "-S", str(TOOL), str(given_to_stranger / "export"),
            "--key", str(given_to_stranger / "export" / "public_key.txt"),
            "--witness", str(given_to_stranger / "witness-copy.txt"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout == ("60 events, 6 heads, 6 heads of the witness\neverything holds\n")
    assert done.returncode == 0


async def test_whole_export_holds(
    given_to_stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, result = verify(given_to_stranger, capsys)
    assert status == 0
    assert result == {
        "ok": True,
        "events": 60,
        "pruned": 0,
        "heads": 6,
        "witness_heads": 6,
        "finding_count": 0,
        "findings": [],
        "notes": [],
    }


async def test_export_without_a_witness_holds_but_says_what_cannot_be_seen(
    given_to_stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = given_to_stranger
    assert verify_ledger.main([str(folder / "export"), "--key", key_of(folder)]) == 0
    assert "rollback cannot be seen" in capsys.readouterr().out


def lines_of(folder: Path) -> list[str]:
    # Not splitlines: texts may hold other line ends than "\n", and one in the test data does.
    text = (folder / "export" / "events.ndjson").read_text()
    return [f"{line}\n" for line in text.split("\n")[:-1]]


def put_lines(folder: Path, lines: list[str]) -> None:
    (folder / "export" / "events.ndjson").write_text("".join(lines))


def renumbered(lines: list[str]) -> list[str]:
    return [re.sub(r'"seq":\d+', f'"seq":{n}', line, count=1) for n, line in enumerate(lines)]


def resigned(folder: Path, signer: Signer) -> None:
    """All heads of the export anew, over the events as they now are."""
    notes = read_notes((folder / "export" / "heads.txt").read_text().splitlines(keepends=True))
    sizes = {int(note.split("\n")[1]) for note in notes}
    frontier, heads = Frontier(), ""
    for line in lines_of(folder):
        frontier.append(leaf_hash(json.loads(line)["body"].encode()))
        if frontier.size in sizes:
            heads += signer.sign(frontier.size, frontier.root()) + "\n"
    (folder / "export" / "heads.txt").write_text(heads)
    (folder / "export" / "public_key.txt").write_text(f"{signer.key}\n")


def change_a_byte(lines: list[str]) -> list[str]:
    return [*lines[:30], lines[30].replace("process:test", "process:tess"), *lines[31:]]


TAMPERINGS: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "one byte changed": (change_a_byte, "first 33 events are not those whose head"),
    "one event deleted": (
        lambda lines: lines[:30] + lines[31:],
        "event 31 stands where event 30 should",
    ),
    "one event deleted and the rest numbered anew": (
        lambda lines: renumbered(lines[:30] + lines[31:]),
        "first 33 events are not those whose head",
    ),
    "one event put in": (
        lambda lines: lines[:30] + lines[29:],
        "event 29 stands where event 30 should",
    ),
    "one event put in and the rest numbered anew": (
        lambda lines: renumbered(lines[:30] + lines[29:]),
        "first 33 events are not those whose head",
    ),
    "two events swapped": (
        lambda lines: renumbered([*lines[:20], lines[21], lines[20], *lines[22:]]),
        "first 33 events are not those whose head",
    ),
    "one event added at the end": (
        lambda lines: renumbered([*lines, lines[0]]),
        "events from number 60 on are under no signed head",
    ),
    "tail cut": (lambda lines: lines[:-5], "the export ends after 55: its tail was cut"),
    "all cut": (lambda lines: [], "the export ends after 0: its tail was cut"),
    "white space": (
        lambda lines: [*lines[:9], lines[9].replace(":", ": ", 1), *lines[10:]],
        "something that is no event stands where event 9 should",
    ),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
async def test_tampered_events_are_found(
    given_to_stranger: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    change, sentence = TAMPERINGS[kind]
    put_lines(given_to_stranger, change(lines_of(given_to_stranger)))
    status, result = verify(given_to_stranger, capsys)
    assert status == 1
    assert any(sentence in finding for finding in result["findings"]), result["findings"]


async def test_tail_cut_with_its_heads_is_found_by_the_witness_only(
    given_to_stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = given_to_stranger
    heads = folder / "export" / "heads.txt"
    kept = list(read_notes(heads.read_text().splitlines(keepends=True)))[:5]
    heads.write_text("".join(f"{note}\n" for note in kept))
    put_lines(folder, lines_of(folder)[:40])
    assert verify_ledger.main([str(folder / "export"), "--key", key_of(folder)]) == 0
    capsys.readouterr()
    status, result = verify(folder, capsys)
    assert status == 1
    assert "the witness knows a head of 60 events" in result["findings"][-1]


async def test_history_signed_again_with_another_key_is_found(
    given_to_stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true_key = key_of(given_to_stranger)
    put_lines(given_to_stranger, change_a_byte(lines_of(given_to_stranger)))
    resigned(
        given_to_stranger,
        signer_of(Ed25519PrivateKey.generate(), origin="chartgate.local/ledger"),
    )
    status, result = verify(given_to_stranger, capsys, key=true_key)
    assert status == 1
    assert any("signed by another key" in finding for finding in result["findings"])
    assert any("names another key" in finding for finding in result["findings"])
    assert any("whose head is in the witness" in finding for finding in result["findings"])


async def test_history_signed_again_with_the_stolen_key_is_found_by_the_witness(
    given_to_stranger: Path, capsys: pytest.CaptureFixture[str], ledger: Ledger
) -> None:
    put_lines(given_to_stranger, change_a_byte(lines_of(given_to_stranger)))
    resigned(given_to_stranger, ledger.signer)
    status, result = verify(given_to_stranger, capsys)
    assert status == 1
    assert result["findings"] == [
        "the first 33 events are not those whose head is in the witness; the first 13 are"
    ]


@pytest.mark.parametrize("new_events", [0, 5, 60])
async def test_database_restored_from_an_older_copy_is_found(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str], new_events: int
) -> None:
    """A real dump, restored; then life goes on, signed by somebody who has the key and has put
    the witness of the machine out of the way. The stranger's copy of it tells."""
    await ledger.grow(20)
    dump = await copied_out(ledger.database)
    await ledger.grow(30)
    kept = ledger.witness.path.read_bytes()
    await copied_in(ledger.database, dump)
    ledger.witness.path.rename(tmp_path / "out-of-the-way.txt")
    ledger.witness.path.touch()
    if new_events:
        ledger.witness.agrees = None
        await ledger.grow(new_events)
    folder = tmp_path / "stranger"
    folder.mkdir()
    (folder / "witness-copy.txt").write_bytes(kept)
    await walk.export(ledger.database, folder / "export", public_key=ledger.signer.key)
    status, result = verify(folder, capsys)
    assert status == 1
    sentence = "not those whose head is in the witness" if new_events == 60 else "its tail was cut"
    assert any(sentence in finding for finding in result["findings"]), result["findings"]


TABLES = ("audit_event", "ledger_leaf", "ledger_node", "ledger_head", "ledger_cursor")


async def copied_out(database: Database) -> dict[str, bytes]:
    """What pg_dump does for these tables: COPY of each, in one snapshot."""
    dump: dict[str, bytes] = {}
    async with database.bookkeeping() as connection:
        for table in TABLES:
            chunks: list[bytes] = []

            async def keep(chunk: bytes, chunks: list[bytes] = chunks) -> None:
                chunks.append(chunk)

            await connection.copy_from_query(f"SELECT * FROM {table}", output=keep)  # noqa: S608
            dump[table] = b"".join(chunks)
    return dump


async def copied_in(database: Database, dump: dict[str, bytes]) -> None:
    """What pg_restore does."""
    async with database.bookkeeping() as connection:
        for table in TABLES:
            await connection.execute(f"DELETE FROM {table}")  # noqa: S608
            rows = dump[table].decode().splitlines()
            await connection.execute(
                f"CREATE TEMPORARY TABLE restored (LIKE {table}) ON COMMIT DROP"
            )
            await copy_rows(connection, rows)
            await connection.execute(
                f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM restored"  # noqa: S608
            )
            await connection.execute("DROP TABLE restored")


async def copy_rows(connection: Any, rows: list[str]) -> None:
    async def source() -> AsyncIterator[bytes]:
        for row in rows:
            yield f"{row}\n".encode()

    await connection.copy_to_table("restored", source=source())


@pytest.mark.slow
async def test_every_random_tampering_is_found(
    given_to_stranger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any byte of any file of the export, and any event dropped, doubled, moved or swapped."""
    dice = random.Random(42)
    key = key_of(given_to_stranger)
    files = ("events.ndjson", "events.ndjson", "heads.txt", "public_key.txt")
    missed = []
    for number in range(RANDOM_TAMPERINGS):
        folder = tmp_path / "tampered"
        shutil.copytree(given_to_stranger, folder)
        path = folder / "export" / dice.choice(files)
        before = path.read_bytes()
        what = tamper(path, dice)
        if path.read_bytes() != before:
            status, _ = verify(folder, capsys, key=key)
            if status != 1:
                missed.append((number, path.name, what, status))
        shutil.rmtree(folder)
    assert missed == []


def tamper(path: Path, dice: random.Random) -> str:
    """One random change; its name."""
    content = bytearray(path.read_bytes())
    lines = bytes(content).splitlines(keepends=True)
    place, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    kind = dice.choice(("flip", "flip", "drop", "double", "swap", "cut", "insert", "remove"))
    if kind == "flip":
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    elif kind == "insert":
        content.insert(dice.randrange(len(content) + 1), dice.randrange(256))
    elif kind == "remove":
        del content[dice.randrange(len(content))]
    elif kind == "cut":
        del content[dice.randrange(len(content)) :]
    else:
        if kind == "drop":
            del lines[place]
        elif kind == "double":
            lines.insert(place, lines[other])
        else:
            lines[place], lines[other] = lines[other], lines[place]
        content = bytearray(b"".join(lines))
    path.write_bytes(content)
    return kind


async def test_damaged_witness_is_found_or_noted(
    given_to_stranger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    witness = given_to_stranger / "witness-copy.txt"
    whole = witness.read_text()
    witness.write_text(whole + whole[:40])
    status, result = verify(given_to_stranger, capsys)
    assert status == 0
    assert result["notes"] == ["40 characters in the witness are of no whole head"]
    witness.write_text(whole.replace("\n13\n", "\n14\n"))
    status, result = verify(given_to_stranger, capsys)
    assert result["findings"] == [
        "the head of 14 events in the witness does not bear a true signature"
    ]
    witness.write_text("")
    assert verify(given_to_stranger, capsys)[0] == 1


async def test_witness_that_a_crash_has_torn_is_read_as_we_write_it(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await ledger.grow(3)
    whole = ledger.witness.path.read_bytes()
    await ledger.grow(4)
    torn = ledger.witness.path.read_bytes()[: len(whole) + 130]
    ledger.witness.path.write_bytes(torn)
    await ledger.grow(5)
    folder = await ledger.export(tmp_path / "stranger")
    status, result = verify(folder, capsys)
    assert (status, result["witness_heads"]) == (0, 2)


async def test_proof_of_one_event_is_checked_alone_and_with_the_export(
    given_to_stranger: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    file = given_to_stranger / "proof.json"
    proof = await walk.prove(ledger.database, 33)
    file.write_text(json.dumps(proof))
    key = key_of(given_to_stranger)
    assert verify_ledger.main(["--proof", str(file), "--key", key]) == 0
    capsys.readouterr()
    assert verify(given_to_stranger, capsys, "--proof", str(file))[0] == 0
    changes: list[dict[str, Any]] = [
        {"seq": 32},
        {"seq": "33"},
        {"seq": -1},
        {"tree_size": 59},
        {"body": proof["body"] + " "},
        {"body": 7},
        {"inclusion_proof": proof["inclusion_proof"][1:]},
        {"inclusion_proof": ["zz"]},
        {"leaf_hash": "00" * 32},
        {"checkpoint": proof["checkpoint"].replace("60", "61")},
        {"checkpoint": None},
    ]
    for change in changes:
        file.write_text(json.dumps({**proof, **change}))
        assert verify_ledger.main(["--proof", str(file), "--key", key]) == 1, change
    for text in ("", "[]", "[" * 100_000):
        file.write_text(text)
        assert verify_ledger.main(["--proof", str(file), "--key", key]) == 1
    capsys.readouterr()


async def test_input_that_cannot_be_checked_is_said_in_a_sentence(
    given_to_stranger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = given_to_stranger
    key = key_of(folder)
    cases = [
        [str(tmp_path / "nothing"), "--key", key],
        [str(folder / "export"), "--key", "no key"],
        [str(folder / "export"), "--key", ""],
        [str(folder / "export"), "--key", "\0"],
        [str(folder / "export"), "--key", str(folder)],
        [str(folder / "export"), "--key", key, "--witness", str(tmp_path / "nothing")],
        [str(folder / "export"), "--key", key, "--proof", str(tmp_path)],
        ["--key", key],
    ]
    for case in cases:
        assert verify_ledger.main(case) == 2, case
        said = capsys.readouterr()
        assert len(said.out) > 10
        assert said.err == ""


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_line_of_anything_is_no_event_and_never_breaks(line: bytes) -> None:
    seq, _, body = verify_ledger.read_event(line)
    assert (seq, body) == (-1, line) or json.loads(line)["seq"] == seq


def test_signature_check_agrees_with_another_implementation() -> None:
    """On true signatures, and on ones with any bit changed."""
    dice = random.Random(1)
    for number in range(12):
        private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        signer = signer_of(private, origin="o")
        key = verify_ledger.Key(str(signer.key))
        message = bytes(dice.randrange(256) for _ in range(number * 7))
        signature = private.sign(message)
        assert key.signed(message, signature)
        assert not key.signed(message + b"x", signature)
        bent = bytearray(signature)
        bent[dice.randrange(64)] ^= 1 << dice.randrange(8)
        assert not key.signed(message, bytes(bent))
        # S + order is the same point; RFC 8032 wants it refused.
        s = int.from_bytes(signature[32:], "little") + verify_ledger.ORDER
        assert not key.signed(message, signature[:32] + s.to_bytes(32, "little"))


def test_witness_class_and_verifier_read_the_same_file(tmp_path: Path) -> None:
    signer = signer_of(Ed25519PrivateKey.generate(), origin="o")
    witness = Witness(tmp_path / "witness.txt")
    for size in range(1, 6):
        witness.append(signer.sign(size, bytes(32)))
    found = verify_ledger.NOTE.finditer(witness.path.read_text())
    assert [match[0] for match in found] == list(witness.notes())
