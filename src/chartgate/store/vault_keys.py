"""The file of master keys, which wrap the data keys of the vault.

One line a key, the newest first: `chartgate-vault-1 BASE64`. While keys are being rotated there
are two; else one. Whoever has this file and a copy of the database can read what was sealed, so the
two are to be backed up apart.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chartgate.errors import ConfigError

LABEL = "chartgate-vault-1"
KEY_BYTES = 32  # AES-256
NAME_BYTES = 4
NONCE_BYTES = 12
OTHERS_MAY = 0o027  # write by the group, anything by the rest


class MasterKeys:
    """The master keys of one file, read at first use and again when an unknown one is named."""

    def __init__(self, path: Path | None) -> None:
        """`path` None: none are configured, and nothing can be sealed."""
        self._path = path
        self._keys: dict[bytes, AESGCM] = {}
        self._newest = b""

    @classmethod
    def of(cls, *secrets: bytes) -> "MasterKeys":
        """Keys of no file, the newest first."""
        keys = cls(None)
        keys._take(secrets)
        return keys

    @property
    def newest(self) -> bytes:
        """The name of the key that new data keys are wrapped by. Raises ConfigError."""
        if not self._newest:
            self.reload()
        return self._newest

    @property
    def names(self) -> tuple[bytes, ...]:
        """Names of all keys of the file. Raises ConfigError."""
        return (self.newest, *(name for name in self._keys if name != self._newest))

    def reload(self) -> None:
        """Reads the file again. Raises ConfigError."""
        if self._path is not None:
            self._take(read_secrets(self._path))
        elif not self._newest:
            raise ConfigError(
                "no master key of the vault is configured; set [vault] master_key_file"
            )

    def wrap(self, data_key: bytes, bound_to: bytes, name: bytes) -> bytes:
        """The data key under the master key of this name."""
        nonce = os.urandom(NONCE_BYTES)
        return name + nonce + self._keys[name].encrypt(nonce, data_key, bound_to)

    def unwrap(self, wrapped: bytes, bound_to: bytes) -> bytes:
        """The data key. Raises ConfigError where its master key is not here, or it is another's."""
        name, nonce = wrapped[:NAME_BYTES], wrapped[NAME_BYTES : NAME_BYTES + NONCE_BYTES]
        if name not in self._keys:
            self.reload()
        if name not in self._keys:
            raise ConfigError(
                f"a data key is wrapped by the master key {name.hex()}, which is not in "
                f"{self._path}; restore the file that belongs to this store"
            )
        try:
            return self._keys[name].decrypt(nonce, wrapped[NAME_BYTES + NONCE_BYTES :], bound_to)
        except InvalidTag:
            raise ConfigError(
                "a data key does not open under the master key that it names: the store was "
                "changed from outside; `chartgate vault scrub` tells how far"
            ) from None

    def _take(self, secrets: Sequence[bytes]) -> None:
        self._keys = {name_of(secret): AESGCM(secret) for secret in secrets}
        self._newest = name_of(secrets[0])


def new_masters() -> MasterKeys:
    """A key of no file, for a store that lives no longer than the process."""
    return MasterKeys.of(new_secret())


def name_of(secret: bytes) -> bytes:
    """Tells one master key from another and says nothing of it."""
    return hashlib.sha256(b"chartgate vault " + secret).digest()[:NAME_BYTES]


def create_master_key(path: Path) -> None:
    """Makes a file with one new key, readable by its owner only. Raises ConfigError where one is
    there: without it, nothing sealed could ever be read again."""
    if path.exists():
        raise ConfigError(f"there is a master key in {path} already; it is kept")
    write_secrets(path, [new_secret()])


def new_secret() -> bytes:
    """A new master key."""
    return os.urandom(KEY_BYTES)


def read_secrets(path: Path) -> tuple[bytes, ...]:
    """The keys of a file, the newest first. Raises ConfigError."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        raise ConfigError(
            f"there is no master key {path}; restore it from its backup, for nothing that was "
            "sealed can be read without it. `chartgate vault create` makes one for a new store"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the master key {path} cannot be read ({type(error).__name__})"
        ) from error
    if mode & OTHERS_MAY:
        raise ConfigError(f"others may read or change the master key {path}; run chmod 600 on it")
    try:
        secrets = tuple(_secret(line) for line in lines if line.strip())
    except (ValueError, binascii.Error):
        secrets = ()
    if not secrets:
        raise ConfigError(f"{path} holds no master key of a vault; restore it from its backup")
    return secrets


def write_secrets(path: Path, secrets: Sequence[bytes]) -> None:
    """Puts these keys in the file's place, whole or not at all. Raises ConfigError."""
    text = "".join(f"{LABEL} {base64.b64encode(secret).decode()}\n" for secret in secrets)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            draft.unlink()
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            with suppress(OSError):  # some file systems cannot sync a folder
                os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"the master key {path} cannot be written: {error.strerror}") from error


def _secret(line: str) -> bytes:
    label, _, text = line.strip().partition(" ")
    secret = base64.b64decode(text, validate=True)
    if label != LABEL or len(secret) != KEY_BYTES:
        raise ValueError
    return secret
