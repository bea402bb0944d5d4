"""What AI clients were shown, byte for byte.

Each minimised resource is kept once for each key that seals it; each answer is one row, its frame,
that says of which pieces it was made. Both are written by the statement that writes the read's
audit event, so that an answer and the proof of it are durable together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson

from chartgate.errors import Damaged, Erased
from chartgate.formats.canonical import digest as digest_of
from chartgate.model.disclosure import Piece, Shown
from chartgate.store.caches import Bounded
from chartgate.store.database import Connection, Database
from chartgate.store.queries import load_queries
from chartgate.store.vault import CONNECTION_KEY, Key, Vault, Whose, home

QUERIES = load_queries("disclosures.sql")
KNOWN_MAX = 100_000  # resources known to be stored: some 20 MB
BODY_TABLE = "disclosure"
FRAME_TABLE = "disclosure_frame"

Answered = tuple[int, str, datetime, Shown]  # position of its event, from 1; interaction; when


class Snapshots:
    """What one process still has to write of what it shows."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._known: Bounded[tuple[bytes, int], date] = Bounded(size_max=KNOWN_MAX)

    def forget(self) -> None:
        """Nothing is known to be stored any more."""
        self._known = Bounded(size_max=KNOWN_MAX)

    async def columns(
        self, connection: Connection, answered: Sequence[Answered]
    ) -> tuple[list[list[object]], dict[tuple[bytes, int], date]]:
        """Parameters of `record_reads`, and what is known to be stored once they are written.

        The keys may be out of memory: the statement keeps no body whose key is gone.
        """
        whose = {one for *_, shown in answered for one in _whose(shown)}
        keys = await self._vault.keys(connection, whose)
        bodies: dict[tuple[bytes, int], tuple[Key, bytes, date]] = {}
        frames: list[tuple[object, ...]] = []
        for position, interaction, recorded, shown in answered:
            day = recorded.date()
            for piece in shown.resources:
                key = keys[_of(shown, piece.patient)]
                name = (piece.digest, key.id)
                if self._known.get(name) != day:
                    bodies[name] = (key, piece.body, day)
            frames.append((position, interaction, *self._frame(shown, keys)))
        rows = [
            (digest, id_, self._vault.seal(key, body, BODY_TABLE, digest.hex()), day)
            for (digest, id_), (key, body, day) in sorted(bodies.items(), key=lambda row: row[0])
        ]
        stored = {name: day for name, (_, _, day) in bodies.items()}
        return [*_columns(frames, 6), *_columns(rows, 4)], stored

    def stored(self, names: dict[tuple[bytes, int], date]) -> None:
        """These are durable now."""
        for name, day in names.items():
            self._known.put(name, day)

    def _frame(self, shown: Shown, keys: dict[Whose, Key]) -> tuple[bytes, int, bytes, int]:
        """Digest, key, sealed frame, key of the resource that is the whole answer."""
        if len(shown.pieces) == 1 and isinstance(shown.pieces[0], Piece):
            key = keys[_of(shown, shown.pieces[0].patient)]
            return shown.digest, key.id, b"", key.id
        pieces = [
            [p.digest.hex(), keys[_of(shown, p.patient)].id] if isinstance(p, Piece) else p.decode()
            for p in shown.pieces
        ]
        key = keys[_whose_frame(shown)]
        sealed = self._vault.seal(key, orjson.dumps(pieces), FRAME_TABLE, shown.digest.hex())
        return shown.digest, key.id, sealed, key.id


@dataclass(frozen=True, kw_only=True)
class Part:
    """One piece of an answer that was shown."""

    digest: bytes | None  # None: what the answer wraps around its resources
    body: bytes | None  # None: see `gone`
    gone: str = ""  # "erased", "deleted" or "damaged"


@dataclass(frozen=True, kw_only=True)
class Disclosed:
    """One answer, as far as it can still be put together."""

    event_id: int
    recorded: datetime
    digest: bytes
    parts: tuple[Part, ...]
    event: bytes | None  # its audit event's leaf; None: deleted when its period was over

    @property
    def answer(self) -> bytes | None:
        """Its bytes; None where a part is gone."""
        if any(part.body is None for part in self.parts):
            return None
        return b"".join(part.body or b"" for part in self.parts)


class DisclosureStore:
    """Reads what was shown, for one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_interaction(self, interaction: str) -> tuple[Disclosed, ...]:
        """All answers of an interaction, in the order in which they were given."""
        rows = await self._database.fetch(QUERIES["select_frames"], interaction)
        return tuple([await self._rebuilt(row) for row in rows])

    async def _rebuilt(self, row: Any) -> Disclosed:
        """From its row and the bodies that it names."""
        parts: tuple[Part, ...]
        try:
            parts = await self._parts(row)
        except Erased:
            parts = (Part(digest=None, body=None, gone="erased"),)
        except Damaged:
            parts = (Part(digest=None, body=None, gone="damaged"),)
        return Disclosed(
            event_id=row["event_id"],
            recorded=row["recorded"],
            digest=row["digest"],
            parts=parts,
            event=row["event"],
        )

    async def _parts(self, row: Any) -> tuple[Part, ...]:
        digest: bytes = row["digest"]
        if not row["frame"]:
            pieces: list[str | list[Any]] = [[digest.hex(), row["resource_key"]]]
        else:
            place = (FRAME_TABLE, digest.hex())
            vault = self._database.vault
            pieces = orjson.loads(
                vault.open(row["frame"], row["sealed_by"], row["wrapped"], *place)
            )
        named = [(bytes.fromhex(p[0]), p[1]) for p in pieces if not isinstance(p, str)]
        rows = await self._database.fetch(
            QUERIES["select_bodies"], [d for d, _ in named], [k for _, k in named]
        )
        found = {(r["digest"], r["sealed_by"]): r for r in rows}
        return tuple(
            Part(digest=None, body=p.encode())
            if isinstance(p, str)
            else self._part(bytes.fromhex(p[0]), found[(bytes.fromhex(p[0]), p[1])])
            for p in pieces
        )

    def _part(self, digest: bytes, row: Any) -> Part:
        if row["wrapped"] is None:
            return Part(digest=digest, body=None, gone="erased")
        if row["body"] is None:
            return Part(digest=digest, body=None, gone="deleted")
        place = (BODY_TABLE, digest.hex())
        try:
            body = self._database.vault.open(row["body"], row["sealed_by"], row["wrapped"], *place)
        except Damaged:
            return Part(digest=digest, body=None, gone="damaged")
        damaged = digest_of(body) != digest
        return Part(digest=digest, body=None if damaged else body, gone="damaged" * damaged)


def _of(shown: Shown, patient: str | None) -> Whose:
    return home(shown.connection), patient or CONNECTION_KEY


def _whose_frame(shown: Shown) -> Whose:
    """A frame about one patient is that patient's: it holds the search, and fullUrls."""
    patients = {piece.patient for piece in shown.resources}
    return _of(shown, patients.pop() if len(patients) == 1 else None)


def _whose(shown: Shown) -> set[Whose]:
    return {_of(shown, piece.patient) for piece in shown.resources} | {_whose_frame(shown)}


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [[row[number] for row in rows] for number in range(width)]
