"""The vault: what is stored about a patient is sealed under a key of that patient alone.

A data key for each (connection, patient), wrapped by the master key, stands in `patient_key`; to
delete that row is to erase what it sealed, wherever copies of it lie. What cannot be put down to
one patient is sealed under the key of its connection, whose patient is ''.

A sealed value: one byte that names the format, the number of its key, a nonce, AES-256-GCM. Tenant,
table and key of its row are bound into it, so that it opens nowhere else. A row says in `sealed_by`
which key it has; null: it is plain. Digests are always those of the plain bytes: the same content
is found to be the same, whosever key it lies under.
"""

import os
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chartgate.errors import ConfigError, Damaged, Erased, VersionConflict
from chartgate.store.caches import Bounded
from chartgate.store.queries import load_queries
from chartgate.store.vault_keys import KEY_BYTES, NONCE_BYTES, MasterKeys

QUERIES = load_queries("vault.sql")
FORMAT = b"\x01"  # canonical JSON begins with "{" or "[", HL7 v2 with "M", "F" or "B"
ID_BYTES = 8
HEAD_BYTES = 1 + ID_BYTES + NONCE_BYTES
KEYS_KEPT_MAX = 20_000  # opened in one process: some 20 MB
REWRAP_MAX = 1_000  # keys in one transaction
CONNECTION_KEY = ""  # stands for the patient where none can be told
SAY_ERASED = "this was about a patient who has been erased"
SAY_DAMAGED = "what is stored is not what was written; `chartgate vault scrub` finds all of it"

Connection = Any  # as in database.py, which stands on this
Whose = tuple[str, str]  # connection, "Patient/7"


class Key(NamedTuple):
    """A data key, ready for use."""

    id: int
    cipher: AESGCM


class Vault:
    """Seals and opens for one tenant."""

    def __init__(self, masters: MasterKeys, *, tenant: str) -> None:
        self.masters = masters
        self._tenant = tenant
        self._ciphers: Bounded[int, AESGCM] = Bounded(size_max=KEYS_KEPT_MAX)
        self._known: Bounded[Whose, Key] = Bounded(size_max=KEYS_KEPT_MAX)
        # By row: what it was sealed by when it was read last. For statements that look themselves
        # whether the key is still there.
        self.of_rows: Bounded[str, Key] = Bounded(size_max=KEYS_KEPT_MAX)

    def forget(self) -> None:
        """Drops every key that is kept in memory: some may belong to patients erased since."""
        self._ciphers = Bounded(size_max=KEYS_KEPT_MAX)
        self._known = Bounded(size_max=KEYS_KEPT_MAX)
        self.of_rows = Bounded(size_max=KEYS_KEPT_MAX)

    async def check(self, connection: Connection) -> None:
        """Raises ConfigError where the master key is missing, or is not that of this store."""
        in_force = await connection.fetchval(QUERIES["select_master"], self._tenant)
        if in_force is not None and in_force not in self.masters.names:
            raise ConfigError(
                f"the store is sealed by the master key {in_force.hex()}, and the file holds "
                f"{self.masters.newest.hex()}; restore the file that belongs to this store"
            )
        self.masters.newest  # noqa: B018  raises where there is none

    async def hold_in(self, transaction: Connection) -> None:
        """Nobody is erased before the transaction ends."""
        await transaction.execute(QUERIES["hold_erasures"], self._tenant)

    async def keys_in(self, transaction: Connection, whose: Iterable[Whose]) -> dict[Whose, Key]:
        """A key for each, made where there was none. Nobody is erased before the transaction
        ends. Raises ConfigError."""
        wanted = sorted(set(whose))
        if not wanted:
            return {}
        await self.hold_in(transaction)
        return await self._select_or_make(transaction, wanted)

    async def keys(self, connection: Connection, whose: Iterable[Whose]) -> dict[Whose, Key]:
        """As `keys_in`, out of memory where they are known. For statements that look themselves
        whether the key is still there, and for keys of connections, which are never deleted."""
        wanted = set(whose)
        found = {one: key for one in wanted if (key := self._known.get(one))}
        missing = sorted(wanted - found.keys())
        if missing:
            made = await self._select_or_make(connection, missing)
            found |= made
            # One that is made in a transaction may yet be undone: what was sealed by it later
            # could never be read.
            for one, key in () if connection.is_in_transaction() else made.items():
                self._known.put(one, key)
        return found

    def seal(self, key: Key, plain: bytes, *place: str) -> bytes:
        """`place` is the table and the key of the row."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = key.cipher.encrypt(nonce, plain, self._bound(*place))
        return FORMAT + key.id.to_bytes(ID_BYTES, "big") + nonce + sealed

    def open(self, body: bytes, sealed_by: int | None, wrapped: bytes | None, *place: str) -> bytes:
        """What was sealed; `wrapped` is the key's row, None where it is gone. A plain row is given
        back as it is. Raises Erased, Damaged, ConfigError."""
        if sealed_by is None:
            return body
        if wrapped is None:
            raise Erased(SAY_ERASED)
        cipher = self._cipher(sealed_by, wrapped)
        if not self.is_sealed_by(body, sealed_by):
            raise Damaged(SAY_DAMAGED, operator_detail=place[0])
        nonce = body[1 + ID_BYTES : HEAD_BYTES]
        try:
            return cipher.decrypt(nonce, body[HEAD_BYTES:], self._bound(*place))
        except (InvalidTag, ValueError):
            raise Damaged(SAY_DAMAGED, operator_detail=place[0]) from None

    def is_sealed_by(self, body: bytes, id_: int) -> bool:
        """Whether the body says that it was sealed by this key."""
        return body.startswith(FORMAT + id_.to_bytes(ID_BYTES, "big"))

    def key(self, id_: int, wrapped: bytes) -> Key:
        """The key of a row of `patient_key`. Raises ConfigError."""
        return Key(id_, self._cipher(id_, wrapped))

    def rewrap(self, id_: int, wrapped: bytes) -> bytes:
        """The same data key under the newest master key. Raises ConfigError."""
        bound = self._bound("patient_key", str(id_))
        data_key = self.masters.unwrap(wrapped, bound)
        return self.masters.wrap(data_key, bound, self.masters.newest)

    def _cipher(self, id_: int, wrapped: bytes) -> AESGCM:
        cipher = self._ciphers.get(id_)
        if cipher is None:
            bound = self._bound("patient_key", str(id_))
            cipher = AESGCM(self.masters.unwrap(wrapped, bound))
            self._ciphers.put(id_, cipher)
        return cipher

    def _bound(self, *place: str) -> bytes:
        return "\0".join((self._tenant, *place)).encode()

    async def _select_or_make(
        self, connection: Connection, wanted: list[Whose]
    ) -> dict[Whose, Key]:
        found = await self._select(connection, wanted)
        missing = [one for one in wanted if one not in found]
        if missing:
            await self._make(connection, missing)
            found |= await self._select(connection, missing)
        if len(found) < len(wanted):  # the master key was replaced meanwhile
            missing = [one for one in wanted if one not in found]
            await self._make(connection, missing)
            found |= await self._select(connection, missing)
        assert len(found) == len(wanted), "a key for each"
        return found

    async def _select(self, connection: Connection, wanted: list[Whose]) -> dict[Whose, Key]:
        rows = await connection.fetch(
            QUERIES["select_keys"], self._tenant, [c for c, _ in wanted], [p for _, p in wanted]
        )
        return {(r["connection"], r["patient"]): self.key(r["id"], r["wrapped"]) for r in rows}

    async def _make(self, connection: Connection, missing: list[Whose]) -> None:
        master = await self._master_in_force(connection)
        ids = [secrets.randbits(63) for _ in missing]
        wrapped = [
            self.masters.wrap(os.urandom(KEY_BYTES), self._bound("patient_key", str(id_)), master)
            for id_ in ids
        ]
        columns = (ids, [c for c, _ in missing], [p for _, p in missing], wrapped)
        await connection.execute(QUERIES["insert_keys"], self._tenant, master, *columns)

    async def _master_in_force(self, connection: Connection) -> bytes:
        """The name of the master key that wraps new keys. Raises ConfigError."""
        name: bytes | None = await connection.fetchval(QUERIES["select_master"], self._tenant)
        if name is None:  # a new store
            newest = self.masters.newest
            await connection.execute(QUERIES["insert_master"], self._tenant, newest)
            name = await connection.fetchval(QUERIES["select_master"], self._tenant)
        if name not in self.masters.names:
            self.masters.reload()
        if name is None or name not in self.masters.names:
            raise ConfigError(
                "the master key in force is not in the file; restore the one of this store"
            )
        return name


def home(connection: str) -> str:
    """The connection whose keys are used: a rebuilt record is sealed as the running one is."""
    return connection.partition("~")[0]


class VaultStore:
    """The keys of one tenant, as rows."""

    def __init__(self, database: Any) -> None:
        self._database = database

    async def counts(self) -> dict[str, int]:
        """How many keys there are, of how many patients, and under another master key."""
        in_force = await self._database.fetch_value(QUERIES["select_master"])
        return dict(await self._database.fetch_row(QUERIES["count_keys"], in_force))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Nobody else rotates meanwhile. Raises VersionConflict where somebody does."""
        async with self._database.connection() as connection:
            if not await connection.fetchval(QUERIES["take_turn"]):
                raise VersionConflict("somebody else rotates the master key just now")
            try:
                yield
            finally:
                await connection.fetchval(QUERIES["give_turn"])

    async def put_in_force_in(self, transaction: Connection, master: bytes) -> None:
        """New data keys are wrapped by this master key from now on."""
        tenant = self._database.tenant
        await transaction.execute(QUERIES["insert_master"], tenant, master)
        await transaction.execute(QUERIES["update_master"], tenant, master)

    async def rewrap_next(self, master: bytes) -> int:
        """Puts the next data keys under this master key; how many. The data keys stay the same."""
        vault, tenant = self._database.vault, self._database.tenant
        async with self._database.bookkeeping() as transaction:
            rows = await transaction.fetch(
                QUERIES["select_wrapped_otherwise"], tenant, master, -1, REWRAP_MAX
            )
            ids = [row["id"] for row in rows]
            wrapped = [vault.rewrap(row["id"], row["wrapped"]) for row in rows]
            await transaction.execute(QUERIES["update_wrapped"], tenant, ids, wrapped)
        return len(rows)
