"""The ledger's walk on a real store: numbers, heads, witness, proofs, exports."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chartgate.errors import Invalid, LedgerRewound, NotFound, Unavailable
from chartgate.flows import ledger as walk
from chartgate.formats.checkpoint import open_checkpoint, parse_key, read_notes, signer_of
from chartgate.formats.merkle import leaf_hash, verify_inclusion
from chartgate.store.database import Database
from chartgate.store.witness import Witness
from chartgate.testing.clock import FakeClock
from tests.flows.ledgers import Ledger, open_ledger


@pytest.fixture
async def ledger(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(database, clock, tmp_path) as opened:
        yield opened


def witnessed(ledger: Ledger) -> list[int]:
    return [open_checkpoint(note, ledger.signer.key).size for note in ledger.witness.notes()]


async def count(database: Database, where: str) -> int:
    query = f"SELECT count(*) FROM {where} AND tenant = $1"  # noqa: S608  our own text
    value: int = await database.fetch_value(query)
    return value


async def run(database: Database, statement: str, *parameters: object) -> None:
    """As somebody with rights on the database would."""
    async with database.connection() as connection:
        await connection.execute(statement, *parameters)


async def test_round_numbers_signs_and_measures(ledger: Ledger) -> None:
    await ledger.add(10)
    ledger.clock.advance(0.2)
    done = await walk.sequence_round(ledger.gate, ledger.signer, ledger.witness)
    assert done.count == 10
    assert done.merge_delay_s == pytest.approx(0.2)
    assert done.head is not None
    assert open_checkpoint(done.head.checkpoint, ledger.signer.key).size == 10
    assert ledger.witness.newest() == done.head.checkpoint


async def test_head_is_signed_at_most_once_an_interval_and_only_if_the_tree_has_grown(
    ledger: Ledger,
) -> None:
    for _ in range(4):
        await ledger.add(1)
        await walk.sequence_next(ledger.gate, ledger.signer, ledger.witness)
        ledger.clock.advance(0.1)
    assert witnessed(ledger) == [1, 4]
    ledger.clock.advance(10)
    await walk.sequence_next(ledger.gate, ledger.signer, ledger.witness)
    assert witnessed(ledger) == [1, 4]


async def test_head_when_the_clock_was_set_back_is_signed_all_the_same(ledger: Ledger) -> None:
    await ledger.grow(1)
    ledger.clock.advance(-86_400 * 365)
    await ledger.grow(1)
    assert witnessed(ledger) == [1, 2]


async def test_empty_ledger_holds_and_has_no_head(ledger: Ledger, tmp_path: Path) -> None:
    assert await ledger.sequence() == 0
    verdict = await ledger.verify()
    assert verdict.holds
    assert (verdict.events, verdict.heads, witnessed(ledger)) == (0, 0, [])
    with pytest.raises(NotFound, match="is a worker running"):
        await walk.export(ledger.database, tmp_path / "export", public_key=ledger.signer.key)


async def test_verify_of_a_whole_ledger_holds_and_counts(ledger: Ledger) -> None:
    await ledger.grow(3, 600, 1)
    await ledger.add(2)
    verdict = await ledger.verify()
    assert verdict.findings == ()
    assert (verdict.events, verdict.heads, verdict.witnessed) == (604, 3, 3)
    assert (verdict.waiting, verdict.unsigned) == (2, 0)


async def test_verify_beside_a_running_sequencer_finds_nothing(ledger: Ledger) -> None:
    await ledger.grow(50)
    done = asyncio.Event()

    async def go_on() -> None:
        while not done.is_set():
            await ledger.grow(20)

    async with asyncio.TaskGroup() as group:
        group.create_task(go_on())
        for _ in range(8):
            assert (await ledger.verify()).findings == ()
        done.set()


TAMPERINGS = {
    "byte": (
        "UPDATE audit_event SET body = set_byte(body, 20, 33) WHERE id = 7",
        "event 6 is not what was hashed",
    ),
    "column": ("UPDATE audit_event SET agent = 'x' WHERE id = 7", "columns of event 6"),
    "patient": (
        "UPDATE audit_event SET patient = NULL WHERE patient = 'Patient/4'",
        "columns of event 4",
    ),
    "gone": ("DELETE FROM audit_event WHERE id = 7", "event 6 is gone"),
    "leaf": ("DELETE FROM ledger_leaf WHERE seq = 6", "number 6 is missing"),
    "tail": ("DELETE FROM ledger_leaf WHERE seq > 300", "only 301 have a number"),
    "behind": (
        """INSERT INTO audit_event (tenant, xid, recorded, action, agent, outcome, body)
        SELECT tenant, '3', recorded, action, agent, outcome, body FROM audit_event LIMIT 1""",
        "1 events lie behind the sequencer",
    ),
    "node": (
        "UPDATE ledger_node SET hash = decode(repeat('00', 32), 'hex')",
        "node 0 of level 1 is not that of its leaves",
    ),
    "head": (
        "UPDATE ledger_head SET root = decode(repeat('00', 32), 'hex') WHERE tree_size = 300",
        "the stored head of 300 events is not the one that was signed",
    ),
    "note": (
        """UPDATE ledger_head SET checkpoint = replace(checkpoint, '300', '299')
        WHERE tree_size = 300""",
        "not signed so",
    ),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
async def test_verify_of_a_tampered_store_finds_it(ledger: Ledger, kind: str) -> None:
    statement, sentence = TAMPERINGS[kind]
    await ledger.grow(300, 100)
    await run(ledger.database, statement)
    verdict = await ledger.verify()
    assert not verdict.holds
    assert any(sentence in finding for finding in verdict.findings), verdict.findings


async def rewrite_all(ledger: Ledger) -> None:
    """What somebody with all rights on the database can do: another history, whole in itself."""
    database = ledger.database
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE audit_event SET body = convert_to(replace(convert_from(body, 'UTF8'),"
            " 'process:test', 'process:evil'), 'UTF8'), agent = 'process:evil' WHERE id = 7"
        )
        rows = await connection.fetch("SELECT id, body FROM audit_event")
        await connection.executemany(
            "UPDATE ledger_leaf SET hash = $2 WHERE event_id = $1",
            [(row["id"], leaf_hash(row["body"])) for row in rows],
        )
        await connection.execute("DELETE FROM ledger_head")


async def test_rewritten_history_is_found_by_the_witness_and_is_not_signed(
    ledger: Ledger,
) -> None:
    await ledger.grow(30, 10)
    await rewrite_all(ledger)
    verdict = await ledger.verify()
    assert any("another history" in finding for finding in verdict.findings)
    await ledger.add(1)
    with pytest.raises(LedgerRewound, match="rewritten"):
        await ledger.sequence()
    assert witnessed(ledger) == [30, 40]
    assert await count(ledger.database, "audit_event WHERE action = 'ledger.rewound'") == 1


async def test_cut_store_is_not_signed_and_the_status_says_what_to_do(ledger: Ledger) -> None:
    """The older copy is whole in itself: it is a state that once was."""
    await ledger.grow(20)
    older = await ledger.database.fetch("SELECT * FROM ledger_cursor WHERE tenant = $1")
    await ledger.grow(10)
    await restore_to(ledger.database, size=20, cursor=older[0])
    await ledger.add(3)
    for _ in range(3):
        with pytest.raises(LedgerRewound, match="restored from an older copy"):
            await ledger.sequence()
    assert witnessed(ledger) == [20, 30]
    # The numbers go on, and the alarm was recorded once.
    assert await count(ledger.database, "ledger_leaf WHERE seq >= 20") == 4
    assert await count(ledger.database, "audit_event WHERE action = 'ledger.rewound'") == 1
    standing = await walk.standing(
        ledger.database, witness=ledger.witness, public_key=ledger.signer.key
    )
    assert "restored from an older copy" in standing.trouble
    assert "put an empty file in its place" in standing.trouble
    # New events on top of the older copy: as many as the witness knows, but others.
    await ledger.add(10)
    with pytest.raises(LedgerRewound, match="went another way"):
        await ledger.sequence()
    verdict = await ledger.verify()
    assert any("another history" in finding for finding in verdict.findings)


async def restore_to(database: Database, *, size: int, cursor: object) -> None:
    """As the store stood when it had `size` events."""
    async with database.connection() as connection:
        await connection.execute("DELETE FROM ledger_head WHERE tree_size > $1", size)
        await connection.execute("DELETE FROM ledger_leaf WHERE seq >= $1", size)
        await connection.execute(
            "DELETE FROM audit_event WHERE id NOT IN (SELECT event_id FROM ledger_leaf)"
        )
        await connection.execute(
            "UPDATE ledger_cursor SET xid = $1::bigint::text::xid8, event_id = $2",
            int(cursor["xid"]),  # type: ignore[index]
            cursor["event_id"],  # type: ignore[index]
        )


async def test_rewound_ledger_when_the_operator_accepts_it_is_signed_again(
    ledger: Ledger,
) -> None:
    await ledger.grow(20)
    await rewrite_all(ledger)
    await ledger.add(1)
    with pytest.raises(LedgerRewound):
        await ledger.sequence()
    ledger.witness.path.rename(ledger.witness.path.with_suffix(".before"))
    ledger.witness.path.touch()
    await ledger.sequence()
    assert (await ledger.verify()).findings == ()


async def test_witness_when_gone_though_heads_were_signed_stops_the_signing(
    ledger: Ledger,
) -> None:
    await ledger.grow(3)
    ledger.witness.path.unlink()
    await ledger.add(1)
    with pytest.raises(LedgerRewound, match="is gone"):
        await ledger.sequence()
    assert not ledger.witness.exists()


async def test_witness_is_compared_at_the_first_round_even_if_nothing_is_new(
    ledger: Ledger,
) -> None:
    await ledger.grow(3)
    await run(ledger.database, "DELETE FROM ledger_leaf WHERE seq = 2")
    await run(ledger.database, "DELETE FROM audit_event WHERE id = 3")
    again = Witness(ledger.witness.path)
    with pytest.raises(LedgerRewound, match="knows a head of 3 events"):
        await walk.sequence_next(ledger.gate, ledger.signer, again)


async def test_witness_that_cannot_be_written_keeps_the_head_back_and_goes_on_after(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_note: str) -> None:
        raise Unavailable("the witness file cannot be written")

    await ledger.add(3)
    with monkeypatch.context() as patch:
        patch.setattr(ledger.witness, "append", full)
        with pytest.raises(Unavailable):
            await ledger.sequence()
    assert await count(ledger.database, "ledger_head WHERE true") == 0
    assert await count(ledger.database, "ledger_leaf WHERE true") == 3
    await ledger.sequence()
    assert witnessed(ledger) == [3]


async def test_another_key_does_not_continue_the_ledger(ledger: Ledger) -> None:
    await ledger.grow(3)
    other = signer_of(Ed25519PrivateKey.generate(), origin=ledger.signer.key.name)
    await ledger.add(1)
    ledger.clock.advance(1)
    with pytest.raises(LedgerRewound, match="Put back the key"):
        await walk.sequence_next(ledger.gate, other, ledger.witness)
    assert witnessed(ledger) == [3]


async def test_crash_between_witness_and_store_is_no_disagreement(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.grow(3)
    await ledger.add(2)
    ledger.clock.advance(1)
    append = Witness.append

    def append_and_die(witness: Witness, note: str) -> None:
        append(witness, note)
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(Witness, "append", append_and_die)
        with pytest.raises(Unavailable):
            await walk.sequence_next(ledger.gate, ledger.signer, ledger.witness)
    await ledger.grow(4)
    assert witnessed(ledger)[-1] == 9
    assert (await ledger.verify()).findings == ()


async def test_two_sequencers_at_once_make_one_ledger(ledger: Ledger) -> None:
    other = replace(ledger, witness=Witness(ledger.witness.path))
    await ledger.add(5)
    await asyncio.gather(*(side.grow(7, 5, 3) for side in (ledger, other)))
    await ledger.sequence()
    verdict = await ledger.verify()
    assert verdict.findings == ()
    assert verdict.events == 35


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
async def test_proof_of_any_event_leads_to_the_newest_head(ledger: Ledger, size: int) -> None:
    await ledger.grow(size)
    for seq in {0, size // 2, size - 1, min(size - 1, 255)}:
        proof = await walk.prove(ledger.database, seq)
        head = open_checkpoint(proof["checkpoint"], ledger.signer.key)
        assert leaf_hash(proof["body"].encode()).hex() == proof["leaf_hash"]
        assert verify_inclusion(
            bytes.fromhex(proof["leaf_hash"]),
            [bytes.fromhex(hash_) for hash_ in proof["inclusion_proof"]],
            index=seq,
            size=head.size,
            root=head.root,
        )


async def test_proof_of_an_event_that_is_not_there_is_refused(ledger: Ledger) -> None:
    await ledger.grow(3)
    for seq in (-1, 3, 2**64):
        with pytest.raises(NotFound, match="3 are"):
            await walk.prove(ledger.database, seq)


async def test_proof_of_a_changed_event_is_refused(ledger: Ledger) -> None:
    await ledger.grow(300)
    await run(ledger.database, "UPDATE audit_event SET body = 'x' WHERE id = 3")
    with pytest.raises(LedgerRewound, match="not what was signed"):
        await walk.prove(ledger.database, 2)
    await run(ledger.database, "DELETE FROM ledger_node")
    with pytest.raises(LedgerRewound, match="not what was signed"):
        await walk.prove(ledger.database, 290)


async def test_export_holds_every_signed_event_to_the_byte(ledger: Ledger, tmp_path: Path) -> None:
    await ledger.grow(2500)
    await ledger.add(5)
    path = tmp_path / "export"
    steps: list[tuple[int, int]] = []
    total = await walk.export(
        ledger.database,
        path,
        public_key=ledger.signer.key,
        progress=lambda done, all_: steps.append((done, all_)),
    )
    lines = [orjson.loads(line) for line in (path / "events.ndjson").read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == list(range(total))
    bodies = await ledger.database.fetch(
        "SELECT body FROM audit_event JOIN ledger_leaf ON event_id = id"
        " WHERE audit_event.tenant = $1 AND seq < 2500 ORDER BY seq"
    )
    assert [line["body"].encode() for line in lines] == [row["body"] for row in bodies]
    notes = list(read_notes((path / "heads.txt").read_text().splitlines(keepends=True)))
    assert notes[-1] == ledger.witness.newest()
    assert parse_key((path / "public_key.txt").read_text()) == ledger.signer.key
    assert steps[-1] == (total, total)


async def test_export_into_a_folder_in_use_or_in_the_way_is_refused(
    ledger: Ledger, tmp_path: Path
) -> None:
    await ledger.grow(1)
    with pytest.raises(Invalid, match="not empty"):
        await walk.export(ledger.database, tmp_path, public_key=ledger.signer.key)
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid, match="cannot be written"):
        await walk.export(ledger.database, tmp_path / "file", public_key=ledger.signer.key)


async def test_standing_of_a_ledger_that_is_well_counts_what_waits(ledger: Ledger) -> None:
    await ledger.grow(4)
    at = ledger.clock.advance(1)
    await ledger.add(2)
    standing = await walk.standing(
        ledger.database, witness=ledger.witness, public_key=ledger.signer.key
    )
    assert (standing.size, standing.head_size, standing.waiting) == (4, 4, 2)
    assert (standing.waiting_since, standing.trouble) == (at, "")
