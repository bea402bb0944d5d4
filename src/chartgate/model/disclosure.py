"""What left for an AI client: the bytes of one answer, in pieces."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One minimised resource within an answer, kept once however often it is shown."""

    digest: bytes  # SHA-256 of `body`
    body: bytes
    patient: str | None  # "Patient/7": whose it is; None: nobody's, or it cannot be told


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One answer: its bytes are those of its pieces, one after the other."""

    connection: str  # that the resources are of
    pieces: tuple[bytes | Piece, ...]  # plain bytes: what the answer wraps around them

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the answer, which stands in its audit event."""
        if len(self.pieces) == 1 and isinstance(self.pieces[0], Piece):
            return self.pieces[0].digest
        return sha256(self.answer).digest()

    @property
    def answer(self) -> bytes:
        """The bytes as they were sent."""
        return b"".join(p.body if isinstance(p, Piece) else p for p in self.pieces)

    @property
    def resources(self) -> tuple[Piece, ...]:
        """Its resources, in their order."""
        return tuple(p for p in self.pieces if isinstance(p, Piece))
