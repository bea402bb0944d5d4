"""Signed tree heads as C2SP checkpoints: a note of origin, size and root, signed with Ed25519.

Any tool of the transparency-log world reads them. Several checkpoints follow one another in a
text file, each closed by an empty line; a write that a crash cut short is told from a damaged
one by the mark `TORN`, which the next writer puts behind it. A head on which one signing key hands
over to the next bears the signatures of both.

Source: https://c2sp.org/tlog-checkpoint
Source: https://c2sp.org/signed-note
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chartgate.errors import Invalid

ED25519 = b"\x01"  # signature type of the signed-note specification
KEY_BYTES = 32
SIGNATURE_BYTES = 64
SIGNATURE_MARK = "— "
TORN = "(torn)"

ORIGIN = re.compile(r"[^\s+\x00-\x1f]{1,200}")  # also the key's name: no space, no plus
SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A tree head."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


@dataclass(frozen=True, kw_only=True)
class VerificationKey:
    """An Ed25519 public key and the name of the log that signs with it."""

    name: str
    public_key: bytes  # 32 bytes, RFC 8032

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys apart; not proof against an attacker."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        """As `parse_key` reads it: name+hash+key."""
        return f"{self.name}+{self.id.hex()}+{_base64(ED25519 + self.public_key)}"


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Signs the heads of one log."""

    key: VerificationKey
    _private_key: Ed25519PrivateKey

    def sign(self, size: int, root: bytes) -> str:
        """The checkpoint as a signed note."""
        text = Checkpoint(origin=self.key.name, size=size, root=root).text
        return f"{text}\n{self._line(text)}"

    def hand_over(self, successor: "Signer", size: int, root: bytes) -> str:
        """As `sign`, by this key and by the one that signs from then on."""
        return self.sign(size, root) + successor._line(
            Checkpoint(origin=successor.key.name, size=size, root=root).text
        )

    def endorse(self, successor: VerificationKey) -> str:
        """This key's word that the successor signs after it; base64."""
        return _base64(self._private_key.sign(endorsement_text(self.key, successor)))

    def _line(self, text: str) -> str:
        signature = self._private_key.sign(text.encode())
        return f"{SIGNATURE_MARK}{self.key.name} {_base64(self.key.id + signature)}\n"


def endorsement_text(old: VerificationKey, new: VerificationKey) -> bytes:
    """What the old key signs before a new one takes its place: both, a line each."""
    return f"{old}\n{new}\n".encode()


def is_endorsed(old: VerificationKey, new: VerificationKey, endorsement: str) -> bool:
    """Whether the old key gave its word for the new one."""
    octets = _octets(endorsement)
    if octets is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(old.public_key).verify(
            octets, endorsement_text(old, new)
        )
    except InvalidSignature:
        return False
    return True


def signer_of(private_key: Ed25519PrivateKey, *, origin: str) -> Signer:
    """A signer for the log named `origin`. Raises Invalid."""
    if not ORIGIN.fullmatch(origin):
        raise Invalid(f"the ledger's origin must be without spaces and plus signs, not {origin!r}")
    public_key = private_key.public_key().public_bytes_raw()
    return Signer(key=VerificationKey(name=origin, public_key=public_key), _private_key=private_key)


def parse_key(text: str) -> VerificationKey:
    """A verification key, "name+hash+key" on one line. Raises Invalid."""
    parts = text.strip().split("+", 2)
    if len(parts) == 3:
        name, key_id, encoded = parts
        octets = _octets(encoded)
        if octets and octets[:1] == ED25519 and len(octets) == 1 + KEY_BYTES:
            key = VerificationKey(name=name, public_key=octets[1:])
            if key.id.hex() == key_id and ORIGIN.fullmatch(name):
                return key
    raise Invalid("not a verification key of the form name+hash+key")


def open_checkpoint(note: str, key: VerificationKey) -> Checkpoint:
    """The checkpoint of a note, once its signature by `key` is found to hold. Raises Invalid."""
    text, separator, signatures = note.rpartition("\n\n")
    checkpoint = _parse_text(text.split("\n")) if separator else None
    if checkpoint is None or checkpoint.origin != key.name:
        raise Invalid("this is no checkpoint of this ledger")
    for line in signatures.splitlines():
        octets = _signature(line, key)
        if octets is not None:
            try:
                Ed25519PublicKey.from_public_bytes(key.public_key).verify(
                    octets, checkpoint.text.encode()
                )
            except InvalidSignature:
                raise Invalid(f"the head of {checkpoint.size} events is not signed so") from None
            return checkpoint
    raise Invalid(f"the head of {checkpoint.size} events is signed by another key")


def read_notes(lines: Iterable[str]) -> Iterator[str]:
    """The whole notes among the lines of a file of checkpoints; torn ones are passed over.

    A note is told by its signature lines, of which it has two where one key hands over to the
    next: before them stand origin, size, root and an empty line.
    """
    window: list[str] = []
    note: list[str] = []
    for line in lines:
        if not line.endswith("\n"):
            break  # the last line, still being written or cut short
        is_signature = line.startswith(SIGNATURE_MARK) and not line.endswith(f"{TORN}\n")
        if is_signature:
            note = [*(note or window[-4:]), line]
            window = []
            continue
        if note:
            yield "".join(note)
            note = []
        window = [*window[-3:], line]
    if note:
        yield "".join(note)


def join_to(tail: str, note: str) -> str:
    """What to append to a file that ends in `tail` so that `note` stands in it whole."""
    if not tail or tail.endswith("\n\n"):
        return f"{note}\n"
    return f"\n{note}\n" if tail.endswith("\n") else f"{TORN}\n\n{note}\n"


def _parse_text(lines: list[str]) -> Checkpoint | None:
    if len(lines) != 3 or not SIZE.fullmatch(lines[1]):
        return None
    root = _octets(lines[2])
    if root is None or len(root) != hashlib.sha256().digest_size:
        return None
    return Checkpoint(origin=lines[0], size=int(lines[1]), root=root)


def _signature(line: str, key: VerificationKey) -> bytes | None:
    """The signature of a line, if it says that it is by `key`."""
    name, _, encoded = line.removeprefix(SIGNATURE_MARK).rpartition(" ")
    octets = _octets(encoded)
    if not line.startswith(SIGNATURE_MARK) or name != key.name or octets is None:
        return None
    if octets[:4] != key.id or len(octets) != 4 + SIGNATURE_BYTES:
        return None
    return octets[4:]


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _octets(text: str) -> bytes | None:
    """The bytes of a base64 text that is exactly how we would write them."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return octets if _base64(octets) == text else None
