"""The witness file and the signing key: what the ledger keeps outside the database.

Whoever can rewrite the database can make a ledger that is whole in itself. What they cannot do is
make it agree with the heads that the witness has seen.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from chartgate.errors import ConfigError, Unavailable
from chartgate.formats.checkpoint import Signer, join_to, read_notes, signer_of

TAIL_BYTES = 65_536  # holds some hundred heads


class Witness:
    """A text file of signed heads, to which only one leader appends at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.agrees: bool | None = None  # with the store; None: not compared yet

    def exists(self) -> bool:
        """Whether the file is there, be it empty."""
        return self.path.exists()

    def newest(self) -> str | None:
        """The last whole head in the file. Raises Unavailable."""
        note = None
        for note in read_notes(self._tail().splitlines(keepends=True)):  # noqa: B007
            pass
        if note is None:
            for note in self.notes():  # noqa: B007
                pass
        return note

    def notes(self, *, bytes_max: int | None = None) -> Iterator[str]:
        """All whole heads within the first `bytes_max` bytes, in order. Raises Unavailable."""
        try:
            with self.path.open("rb") as file:
                yield from read_notes(_lines(file, bytes_max))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def length(self) -> int:
        """Bytes in the file now; 0 if there is none."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, note: str) -> None:
        """Adds a head; it is on the disk when this returns. Raises Unavailable, and what was
        written of it by then does no harm."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not self.path.exists()
            content = join_to(self._tail()[-2:], note).encode()
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                _write_synced(descriptor, content)
            finally:
                os.close(descriptor)
            if is_new:
                _sync_folder(self.path.parent)
        except OSError as error:
            raise Unavailable(
                f"the witness file {self.path} cannot be written ({error.strerror}), so no head "
                "of the ledger is signed; mend that, and signing goes on by itself",
            ) from error

    def _tail(self) -> str:
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self.length() - TAIL_BYTES))
                return file.read(TAIL_BYTES).decode(errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise _unreadable(self.path, error) from error


def create_signing_key(path: Path) -> None:
    """Makes a new Ed25519 key, readable by its owner only. Raises ConfigError if one is there:
    a lost key would end the ledger."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    if path.exists():
        raise ConfigError(f"there is a signing key in {path} already; it is kept")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _write_synced(descriptor, pem)
        finally:
            os.close(descriptor)
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"the signing key {path} cannot be written: {error.strerror}") from error


def load_signer(path: Path, *, origin: str) -> Signer:
    """The signer of the ledger named `origin`. Raises ConfigError."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no signing key {path}; restore it from its backup. A new key cannot "
            "continue this ledger: `chartgate init` makes one for a new ledger only"
        ) from None
    except OSError as error:
        raise ConfigError(f"the signing key {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(
            f"{path} holds no signing key that can be used: an Ed25519 key in PEM (PKCS 8), "
            "without a password; restore it from its backup"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the signing key {path} must be an Ed25519 key")
    return signer_of(key, origin=origin)


def _lines(file: Iterator[bytes], bytes_max: int | None) -> Iterator[str]:
    read = 0
    for line in file:
        read += len(line)
        if bytes_max is not None and read > bytes_max:
            return
        yield line.decode(errors="replace")


def _write_synced(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unreadable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"the witness file {path} cannot be read ({error.strerror}); mend that, and signing goes "
        "on by itself"
    )
