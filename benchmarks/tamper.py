"""Random tamperings with a ledger, each shown to the independent verifier with the witness.

A ledger is made as Chartgate makes it (a real store, a real export, a key that was rotated), then
changed in memory in every way that somebody with the database, the export or a key of their own
could: events edited, deleted, put in, swapped, the tail cut, the whole rolled back, another history
forked, all signed anew with another key or with the true one, and any two of them together. The
verifier must find each; a change that leaves every byte as it was is drawn again.

`python -m benchmarks.tamper [--count 10000] [--seed 1] [--out FILE]`; exit status 1 if one is missed.
"""

import argparse
import asyncio
import contextlib
import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.own import own_postgres, tell
from chartgate.clock import utc_now
from chartgate.config import Config
from chartgate.flows import ledger, ledger_rotation
from chartgate.formats.checkpoint import Signer, read_notes, signer_of
from chartgate.formats.merkle import Frontier, leaf_hash
from chartgate.gate import Gate, Running
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.principal import Process
from chartgate.policy.charters import compile_book
from chartgate.store.audit import AuditWriter
from chartgate.store.database import open_database
from chartgate.store.witness import Witness, create_signing_key, load_signer
from tools import verify_ledger

ORIGIN = "chartgate.local/ledger"
SIZES = (1, 12, 20, 3, 4, 20, 17)  # events under each head; the key is rotated in between
ROTATED_AFTER = 4  # heads


@dataclass(frozen=True, kw_only=True)
class Export:
    """What a stranger is shown, and what they hold themselves: first key and witness."""

    events: tuple[bytes, ...]  # lines
    heads: tuple[str, ...]  # notes
    key_file: str
    key: str
    witness: str


Tampering = Callable[[Export, random.Random], Export]


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The true keys, both of which a thief may have, and where one followed the other."""

    first: Signer
    second: Signer
    handed_over_at: int

    def sign(self, size: int, root: bytes) -> str:
        """As the key whose time it was would have."""
        if size == self.handed_over_at:
            return self.first.hand_over(self.second, size, root)
        return (self.first if size < self.handed_over_at else self.second).sign(size, root)


async def make(url: str, folder: Path) -> tuple[Export, Keys]:
    """A ledger, its export, and the keys that signed it."""
    key_file, witness = folder / "keys" / "ledger.pem", Witness(folder / "witness.txt")
    create_signing_key(key_file)
    database = await open_database(url, tenant="main")
    gate = Gate(
        config=Config(folder=folder),
        clock=utc_now,
        database=database,
        audit=AuditWriter(database),
        running=Running(charters=compile_book([])),
        sources={},
        sinks={},
    )
    try:
        signer = first = load_signer(key_file, origin=ORIGIN)
        handed_over_at = 0
        for number, count in enumerate(SIZES):
            await _grow(gate, signer, witness, count)
            if number == ROTATED_AFTER:
                done = await ledger_rotation.rotate(gate, Process(id="cli"), key_file, witness)
                handed_over_at = done.size
                signer = load_signer(key_file, origin=ORIGIN)
        kept = await asyncio.to_thread(witness.path.read_text)
        await ledger.export(database, folder / "export", public_key=first.key)
    finally:
        await database.close()
    keys = Keys(first=first, second=signer, handed_over_at=handed_over_at)
    return _read(folder / "export", str(first.key), kept), keys


async def _grow(gate: Gate, signer: Signer, witness: Witness, count: int) -> None:
    """So many events, and a head over them."""
    events = [
        AuditEvent(
            recorded=utc_now(),
            action="fhir.read",
            agent="client:slot-picker",
            outcome=Outcome.DENIED if n % 7 == 0 else Outcome.SUCCESS,
            patient=f"Patient/{n}",
        )
        for n in range(count)
    ]
    async with gate.database.change(*events):
        pass
    head = None
    while head is None:
        await asyncio.sleep(gate.config.ledger.interval_s)
        head = (await ledger.sequence_round(gate, signer, witness)).head


def _read(folder: Path, key: str, witness: str) -> Export:
    heads = (folder / "heads.txt").read_text()
    return Export(
        events=tuple((folder / "events.ndjson").read_bytes().splitlines(keepends=True)),
        heads=tuple(read_notes(heads.splitlines(keepends=True))),
        key_file=(folder / "public_key.txt").read_text(),
        key=key,
        witness=witness,
    )


class Tamperer:
    """Every kind of change, with the keys that a thief might have."""

    def __init__(self, keys: Keys) -> None:
        self._true = keys
        self._own = signer_of(Ed25519PrivateKey.generate(), origin=ORIGIN)
        self.kinds: Mapping[str, Tampering] = {
            "edit": self.edit,
            "delete": self.delete,
            "insert": self.insert,
            "swap": self.swap,
            "truncate": self.truncate,
            "roll back": self.roll_back,
            "fork": self.fork,
            "re-sign with another key": self.resign_with_another,
            "re-sign with the true keys": self.resign_with_the_true_one,
            "hide as let go": self.hide,
            "a bit of a head": self.bend_head,
        }

    def edit(self, export: Export, dice: random.Random) -> Export:
        """A bit of an event, or a word of it."""
        place = dice.randrange(len(export.events))
        line = bytearray(export.events[place])
        if dice.random() < 0.5:
            line[dice.randrange(len(line))] ^= 1 << dice.randrange(8)
        else:
            words = ((b"success", b"denied"), (b"denied", b"success"), (b"Patient/", b"Patient/9"))
            line = bytearray(bytes(line).replace(*dice.choice(words)))
        return _with_events(export, place, place + 1, [bytes(line)])

    def delete(self, export: Export, dice: random.Random) -> Export:
        """An event, the rest numbered anew or not."""
        place = dice.randrange(len(export.events))
        return _renumbered(_with_events(export, place, place + 1, []), dice)

    def insert(self, export: Export, dice: random.Random) -> Export:
        """A copy of an event, elsewhere."""
        place, other = (dice.randrange(len(export.events)) for _ in range(2))
        return _renumbered(_with_events(export, place, place, [export.events[other]]), dice)

    def swap(self, export: Export, dice: random.Random) -> Export:
        """Two events."""
        one, other = (dice.randrange(len(export.events)) for _ in range(2))
        events = list(export.events)
        events[one], events[other] = events[other], events[one]
        return _renumbered(replace(export, events=tuple(events)), dice)

    def truncate(self, export: Export, dice: random.Random) -> Export:
        """The tail of the events, or of the heads."""
        if dice.random() < 0.5:
            return replace(export, events=export.events[: dice.randrange(len(export.events))])
        return replace(export, heads=export.heads[: dice.randrange(len(export.heads))])

    def roll_back(self, export: Export, dice: random.Random) -> Export:
        """Events and heads as they were at an earlier head: whole in itself."""
        kept = dice.randrange(1, len(export.heads))
        return replace(
            export,
            heads=export.heads[:kept],
            events=export.events[: _size(export.heads[kept - 1])],
        )

    def fork(self, export: Export, dice: random.Random) -> Export:
        """Another history from an earlier head on, signed with the true keys."""
        kept = dice.randrange(1, len(export.heads))
        size = _size(export.heads[kept - 1])
        others = [export.events[dice.randrange(size)] for _ in range(len(export.events) - size)]
        forked = replace(export, events=(*export.events[:size], *others))
        forked = _numbered(forked)
        return replace(forked, heads=(*export.heads[:kept], *_heads(forked, self._true)[kept:]))

    def resign_with_another(self, export: Export, dice: random.Random) -> Export:
        """A changed history under a key of the thief's own, named in the export or not."""
        changed = self.edit(export, dice) if dice.random() < 0.5 else export
        resigned = replace(changed, heads=tuple(_heads(changed, self._own)))
        named = f"{self._own.key}\n" if dice.random() < 0.5 else export.key_file
        return replace(resigned, key_file=named)

    def resign_with_the_true_one(self, export: Export, dice: random.Random) -> Export:
        """A changed history under the true keys: only the witness tells."""
        changed = _numbered(self.edit(export, dice))
        return replace(changed, heads=tuple(_heads(changed, self._true)))

    def hide(self, export: Export, dice: random.Random) -> Export:
        """An event taken away, as if it had been let go for age."""
        place = dice.randrange(len(export.events))
        leaf = verify_ledger.read_event(export.events[place])[1]
        line = json.dumps({"seq": place, "hash": leaf.hex()}, separators=(",", ":")) + "\n"
        return _with_events(export, place, place + 1, [line.encode()])

    def bend_head(self, export: Export, dice: random.Random) -> Export:
        """A character of a head."""
        heads = list(export.heads)
        place = dice.randrange(len(heads))
        at = dice.randrange(len(heads[place]))
        heads[place] = f"{heads[place][:at]}{dice.choice('A9+/ =')}{heads[place][at + 1 :]}"
        return replace(export, heads=tuple(heads))


def campaign(export: Export, tamperer: Tamperer, *, count: int, seed: int) -> dict[str, object]:
    """Tampers so often; what was tried, and what was missed."""
    dice = random.Random(seed)
    tried: Counter[str] = Counter()
    missed: list[dict[str, object]] = []
    names = list(tamperer.kinds)
    with tempfile.TemporaryDirectory(prefix="cg-", dir=_memory()) as name:
        folder = Path(name)
        assert _verdict(folder, export) == 0, "the untouched export must hold"
        while sum(tried.values()) < count:
            kinds = [dice.choice(names) for _ in range(1 if dice.random() < 0.7 else 2)]
            changed = export
            for kind in kinds:
                with contextlib.suppress(IndexError, ValueError):  # nothing is left to tamper with
                    changed = tamperer.kinds[kind](changed, dice)
            if changed == export:
                continue
            what = kinds[0] if len(kinds) == 1 else "two of them"
            tried[what] += 1
            if _verdict(folder, changed) != 1:
                missed.append({"number": sum(tried.values()), "kinds": kinds})
    return {"n": sum(tried.values()), "by_kind": dict(sorted(tried.items())), "missed": missed}


def _verdict(folder: Path, export: Export) -> int:
    """The verifier's exit status, in this process."""
    (folder / "events.ndjson").write_bytes(b"".join(export.events))
    (folder / "heads.txt").write_text("".join(f"{note}\n" for note in export.heads))
    (folder / "public_key.txt").write_text(export.key_file)
    (folder / "witness.txt").write_text(export.witness)
    with contextlib.redirect_stdout(io.StringIO()):
        return verify_ledger.main(
            [str(folder), "--key", export.key, "--witness", str(folder / "witness.txt")]
        )


def remember_signatures() -> None:
    """The verifier checks the same signatures again and again here: each is checked once."""
    key = verify_ledger.Key
    checked = cache(key.signed)
    keys = cache(key)
    verify_ledger.Key = keys  # type: ignore[misc, assignment]
    key.signed = lambda self, message, signature: checked(  # type: ignore[method-assign]
        self, message, signature
    )


def _memory() -> Path | None:
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else None


def _with_events(export: Export, first: int, end: int, lines: list[bytes]) -> Export:
    return replace(export, events=(*export.events[:first], *lines, *export.events[end:]))


def _renumbered(export: Export, dice: random.Random) -> Export:
    return _numbered(export) if dice.random() < 0.5 else export


def _numbered(export: Export) -> Export:
    """Each line with the number that it stands at, where it is a line of ours at all."""
    lines = []
    for number, line in enumerate(export.events):
        head, comma, rest = line.partition(b",")
        lines.append(b'{"seq":%d' % number + comma + rest if head.startswith(b'{"seq":') else line)
    return replace(export, events=tuple(lines))


def _heads(export: Export, signer: Signer | Keys) -> list[str]:
    """Heads of the same sizes over the events as they are."""
    sizes = {_size(note) for note in export.heads}
    frontier, heads = Frontier(), []
    for line in export.events:
        _, leaf, body = verify_ledger.read_event(line)
        frontier.append(leaf_hash(body) if body else leaf)
        if frontier.size in sizes:
            heads.append(signer.sign(frontier.size, frontier.root()))
    return heads


def _size(note: str) -> int:
    return int(note.split("\n")[1])


def main() -> int:
    """Makes a ledger on a PostgreSQL of its own, tampers with it, and prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="default 10000")
    parser.add_argument("--seed", type=int, default=1, help="default 1")
    parser.add_argument("--out", type=Path, help="also write it there")
    options = parser.parse_args()
    with own_postgres() as (folder, url):
        export, keys = asyncio.run(make(url, folder))
    remember_signatures()
    begun = time.perf_counter()
    found = campaign(export, Tamperer(keys), count=options.count, seed=options.seed)
    tell({**found, "seconds": round(time.perf_counter() - begun, 1)}, options.out)
    return 1 if found["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
