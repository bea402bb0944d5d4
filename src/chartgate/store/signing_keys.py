"""The signing key's file while a process runs, and the chain of keys that signed before it.

Beside `ledger.pem` stand `ledger.pem.chain`, the public keys in their order, the first being what
strangers trust, and, between the two halves of a rotation, `ledger.pem.previous`.
"""

import os
from pathlib import Path

from chartgate.errors import ConfigError, Invalid, mapped
from chartgate.formats.checkpoint import Signer, VerificationKey, parse_key
from chartgate.store.witness import create_signing_key, load_signer

SAY_CHAIN = "cannot be read or written; it lists the ledger's public keys, the first one first"


class SigningKey:
    """The key in a file, read anew when the file changes. A key that goes missing stops the
    signing: what one process still holds in memory, no other could go on with."""

    def __init__(self, path: Path, *, origin: str) -> None:
        """Raises ConfigError unless the key is there and can be used."""
        self._path = path
        self._origin = origin
        self._stamp: tuple[int, int, int] | None = None
        self._signer = self._load()

    def signer(self) -> Signer:
        """The signer as the file now says. Raises ConfigError, also while the key is rotated."""
        if previous_file(self._path).exists():
            raise ConfigError(
                "the ledger's signing key is being rotated, so no head is signed; if that was "
                "broken off, `chartgate ledger rotate-key` finishes it"
            )
        if self._stamp != self._look():
            self._signer = self._load()
        return self._signer

    def _load(self) -> Signer:
        stamp = self._look()
        signer = load_signer(self._path, origin=self._origin)
        self._stamp = stamp
        return signer

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size)


def key_chain(path: Path, key: VerificationKey) -> tuple[VerificationKey, ...]:
    """The public keys of the ledger whose key is in `path`, the first one first; it ends with
    `key`. Raises ConfigError."""
    chain = _read_chain(path)
    return chain if chain and chain[-1] == key else (*chain, key)


def begin_rotation(path: Path, *, origin: str) -> tuple[Signer, Signer]:
    """The old signer and the new one, whose key now stands in `path`; goes on with a rotation
    that was broken off. Raises ConfigError."""
    previous = previous_file(path)
    if not previous.exists():
        fresh = path.with_name(f"{path.name}.next")
        fresh.unlink(missing_ok=True)
        create_signing_key(fresh)
        load_signer(path, origin=origin)  # what cannot sign cannot hand over
        with mapped({OSError: ConfigError}, f"{path} cannot be replaced"):
            os.link(path, previous)
            fresh.replace(path)
    old, new = load_signer(previous, origin=origin), load_signer(path, origin=origin)
    if old.key == new.key:  # broken off between the two
        previous.unlink()
        return begin_rotation(path, origin=origin)
    return old, new


def end_rotation(path: Path, old: VerificationKey, new: VerificationKey) -> None:
    """Notes the new key in the chain and removes the old one: it has signed its last head."""
    chain = _read_chain(path) or (old,)
    if chain[-1] != new:
        chain = (*chain, new)
    file = _chain_file(path)
    with mapped({OSError: ConfigError}, f"{file} {SAY_CHAIN}"):
        fresh = file.with_name(f"{file.name}.next")
        fresh.write_text("".join(f"{key}\n" for key in chain), encoding="utf-8")
        fresh.replace(file)
        previous_file(path).unlink(missing_ok=True)


def previous_file(path: Path) -> Path:
    """Where the old key stands until the hand-over is signed."""
    return path.with_name(f"{path.name}.previous")


def _chain_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.chain")


def _read_chain(path: Path) -> tuple[VerificationKey, ...]:
    file = _chain_file(path)
    try:
        with mapped({OSError: ConfigError, UnicodeDecodeError: ConfigError}, f"{file} {SAY_CHAIN}"):
            text = file.read_text(encoding="utf-8") if file.exists() else ""
        return tuple(parse_key(line) for line in text.splitlines())
    except Invalid as error:
        raise ConfigError(f"{file} {SAY_CHAIN}: {error}") from None
