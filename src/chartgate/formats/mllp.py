"""MLLP framing, without I/O: VT message FS CR.

A frame ends at FS CR, or at FS before the next VT (the CR was forgotten). FS or VT elsewhere are
content. Bytes between frames are noise, save for line ends, which some senders add.
Source: HL7 v2 Transport Specification MLLP, release 1.
"""

from dataclasses import dataclass
from typing import Literal

VT, FS, CR = b"\x0b", b"\x1c", b"\r"
END = FS + CR
LINE_ENDS = b"\r\n"

Flaw = Literal["", "too large", "noise", "truncated"]


@dataclass(frozen=True, slots=True)
class Frame:
    """What arrived: a message, or with a flaw the bytes that do not make one."""

    content: bytes
    flaw: Flaw = ""


def frame(content: bytes) -> bytes:
    """The bytes on the wire."""
    return VT + content + END


class Deframer:
    """Takes bytes as they come, gives frames; keeps at most `size_bytes_max` and a chunk.

    After a flaw other than "" it takes nothing more: the connection is to be closed.
    """

    def __init__(self, *, size_bytes_max: int, noise_bytes_max: int = 1024) -> None:
        self._size_bytes_max = size_bytes_max
        self._noise_bytes_max = noise_bytes_max
        self._buffer = bytearray()
        self._searched = 0
        self._noise = bytearray()
        self.broken = False

    @property
    def begun(self) -> bool:
        """True while the rest of a frame is awaited."""
        return bool(self._buffer)

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that are complete now."""
        if self.broken:
            return []
        if not self._buffer and chunk.startswith(VT) and chunk.endswith(END):
            content = chunk[1:-2]
            if FS not in content and len(content) <= self._size_bytes_max:
                return [Frame(content)]  # the common case: one chunk, one frame
        self._buffer += chunk
        frames: list[Frame] = []
        while not self.broken and (found := self._next()) is not None:
            frames.append(found)
            self.broken = bool(found.flaw)
        return frames

    def finish(self) -> list[Frame]:
        """What is left when no more bytes will come: a message whose CR is missing, or a part."""
        if self.broken:
            return []
        content = bytes(self._buffer[1:])
        self._buffer.clear()
        if not content:
            return []
        if content.endswith(FS):
            return [Frame(content[:-1])]
        return [Frame(content, "truncated")]

    def _next(self) -> Frame | None:
        if not self._skip_to_start():
            too_noisy = len(self._noise) > self._noise_bytes_max
            return (
                Frame(bytes(self._noise[: self._noise_bytes_max]), "noise") if too_noisy else None
            )
        end = self._end()
        if end is None:
            if len(self._buffer) - 1 > self._size_bytes_max:
                return Frame(bytes(self._buffer[1 : self._size_bytes_max]), "too large")
            return None
        content = bytes(self._buffer[1:end])
        after = end + (2 if self._buffer[end + 1 : end + 2] == CR else 1)
        del self._buffer[:after]
        self._searched = 0
        if len(content) > self._size_bytes_max:
            return Frame(content[: self._size_bytes_max], "too large")
        return Frame(content)

    def _skip_to_start(self) -> bool:
        if self._buffer.startswith(VT):
            return True
        start = self._buffer.find(VT)
        skipped = self._buffer if start < 0 else self._buffer[:start]
        self._noise += skipped.translate(None, LINE_ENDS)
        del self._buffer[: len(skipped)]
        self._searched = 0
        return start >= 0 and len(self._noise) <= self._noise_bytes_max

    def _end(self) -> int | None:
        """Where FS stands that ends the frame."""
        at = self._buffer.find(FS, max(self._searched, 1))
        while at >= 0:
            following = self._buffer[at + 1 : at + 2]
            if following in (CR, VT):
                return at
            if not following:
                break
            at = self._buffer.find(FS, at + 1)
        self._searched = at if at >= 0 else len(self._buffer)
        return None
