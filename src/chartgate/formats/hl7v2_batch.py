"""Batches: files and frames that hold many messages, between FHS, BHS, BTS and FTS.

Splitting keeps every byte: the messages are slices of what was sent. What is wrong with the
envelope is listed, and `refusal` says whether messages may be missing, in which case none of them
should be taken. Source: HL7 v2.9 section 2.10.3, batch protocol; 2.14.2, 2.14.3, 2.14.6, 2.14.7.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Literal

from chartgate.formats.hl7v2 import BYTE_ORDER_MARK
from chartgate.formats.hl7v2_delimiters import (
    ENCODING_DEFAULT,
    MalformedMessage,
    Separators,
    is_delimiter,
    separators_of,
)
from chartgate.formats.hl7v2_escape import escape

FlawKind = Literal["empty", "count", "trailer", "order", "nested", "text"]
# A line that opens or closes something. Line ends and framing bytes may stand before it.
OPENING = re.compile(
    rb"(?:\A|(?<=[\r\n\x0b]))[ \t]*(?:(FHS|BHS|MSH)(?=[!-/:-@\[-`{-~])|(BTS|FTS)(?=[!-/:-@\[-`{-~\r\n]|\Z))"
)
BLANK = b" \t\r\n\x0b\x1c"
CONTROL_ID, REFERENCE = 11, 12  # of FHS and of BHS alike
COUNT_DIGITS_MAX = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaw:
    """What is wrong with an envelope. `batch` counts from 1; 0 is the file."""

    kind: FlawKind
    sentence: str
    position: str
    batch: int = 0


@dataclass(frozen=True, slots=True)
class Envelope:
    """FHS, BHS, BTS or FTS, as it was sent."""

    raw: bytes
    separators: Separators

    @property
    def name(self) -> str:
        """e.g. "BHS"."""
        return self.raw[:3].decode("ascii")

    def field(self, number: int) -> bytes:
        """The raw bytes of a field; empty if it is not there."""
        mark = self.separators.field.encode()
        fields = self.raw.split(mark)
        if self.name in ("FHS", "BHS"):
            fields.insert(1, mark)
        return fields[number] if number < len(fields) else b""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Messages in the order of the file; without header where none was sent for them."""

    header: Envelope | None
    messages: tuple[bytes, ...]
    trailer: Envelope | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchFile:
    """What one file or frame holds."""

    header: Envelope | None
    batches: tuple[Batch, ...]
    trailer: Envelope | None
    flaws: tuple[Flaw, ...]

    @property
    def messages(self) -> tuple[bytes, ...]:
        """Those of all batches."""
        return tuple(message for batch in self.batches for message in batch.messages)

    @property
    def refusal(self) -> str:
        """Why none of it should be taken: messages may be missing, or be of something else.
        Empty: nothing speaks against it. A batch without messages may be sent."""
        grave = [flaw.sentence for flaw in self.flaws if flaw.kind != "empty"]
        return "; ".join(grave[:3])


def is_batch(raw: bytes) -> bool:
    """Whether it begins as a batch does, rather than as a message."""
    if raw[:3] == b"MSH":
        return False
    match = OPENING.match(_content(raw))
    return match is not None and match[1] in (b"FHS", b"BHS")


def split_batch(raw: bytes) -> BatchFile:
    """The batches of a file. Raises MalformedMessage where it does not begin as one."""
    if not is_batch(raw):
        raise MalformedMessage("it begins with neither FHS nor BHS", kind="batch", position="FHS")
    reader = _Reader()
    for name, piece in _pieces(_content(raw)):
        reader.take(name, piece)
    return reader.finish()


def split_messages(raw: bytes) -> tuple[bytes, ...]:
    """The messages of a file that holds one after another, in MLLP frames or not, and nothing
    else. Raises MalformedMessage, so that nothing is passed over in silence."""
    content = _content(raw)
    pieces = list(_pieces(content))
    if not content.startswith(b"MSH") or any(name != "MSH" for name, _ in pieces):
        sentence = "it holds something else than messages, e.g. the header of a batch"
        raise MalformedMessage(sentence, kind="batch", position="MSH")
    return tuple(_unframed(piece) for _, piece in pieces)


def acknowledge_batch(
    received: BatchFile, answers: Sequence[Sequence[bytes]], *, control_id: str, at: datetime
) -> bytes:
    """The batch of acknowledgements: one BHS for each batch, around the answers to it.

    `answers[n]` are the ACK messages for batch n. By the standard they may be those of all
    messages, or of the refused ones only: what is not named is accepted, so that a batch without
    an answer accepts all. Each header refers to the one it answers and goes back to its sender.
    """
    if len(answers) != len(received.batches):
        raise ValueError("one list of answers is wanted for each batch")
    written: list[bytes] = []
    marks = _marks_of(received)
    if received.header is not None:
        written.append(_answering("FHS", received.header, marks, control_id, at))
    for number, (batch, acks) in enumerate(zip(received.batches, answers, strict=True), start=1):
        ours = f"{control_id}-{number}" if received.header is not None else control_id
        written.append(_answering("BHS", batch.header, marks, ours, at))
        written += [ack.rstrip(b"\r\n") + b"\r" for ack in acks]
        written.append(f"BTS{marks.field}{len(acks)}\r".encode())
    if received.header is not None:
        written.append(f"FTS{marks.field}{len(answers)}\r".encode())
    return b"".join(written)


class _Reader:
    """Takes the pieces of a file in order and says where they do not fit."""

    def __init__(self) -> None:
        self._header: Envelope | None = None
        self._trailer: Envelope | None = None
        self._batches: list[Batch] = []
        self._flaws: list[Flaw] = []
        self._open: Envelope | None = None  # the BHS that no BTS has closed yet
        self._messages: list[bytes] | None = None  # None: no batch is open
        self._marks = Separators()

    def take(self, name: str, piece: bytes) -> None:
        """The next piece."""
        if self._trailer is not None:
            self._flaw("order", "something follows the file's trailer", "FTS")
        take = {
            "FHS": self._file_begins,
            "BHS": self._batch_begins,
            "MSH": self._message,
            "BTS": self._batch_ends,
            "FTS": self._file_ends,
        }
        take[name](piece)

    def finish(self) -> BatchFile:
        """All of it, after the last piece."""
        self._close_open()
        if self._header is not None and self._trailer is None:
            self._flaw("trailer", "the file has no trailer, so it may have been cut", "FTS")
        if not self._batches:
            self._flaw("empty", "the file has no batch", "FHS")
        return BatchFile(
            header=self._header,
            batches=tuple(self._batches),
            trailer=self._trailer,
            flaws=tuple(self._flaws),
        )

    def _file_begins(self, piece: bytes) -> None:
        self._close_open()
        if self._header is not None or self._batches:
            self._flaw("nested", "a second file header stands inside the file", "FHS")
        self._header = self._header or self._envelope(piece)

    def _batch_begins(self, piece: bytes) -> None:
        if self._open is None and self._messages:
            self._flaw("order", "messages stand before the batch's header", "BHS", next_batch=True)
        self._close_open()
        self._open, self._messages = self._envelope(piece), []

    def _message(self, piece: bytes) -> None:
        if self._messages is None:
            if self._batches:
                self._flaw("order", "messages stand between batches", "MSH", next_batch=True)
            self._messages = []
        self._messages.append(piece)

    def _batch_ends(self, piece: bytes) -> None:
        trailer = self._envelope(piece)
        if self._messages is None:
            self._flaw("order", "a batch trailer closes no batch", "BTS")
            return
        if self._open is None:
            self._flaw("order", "the batch has a trailer but no header", "BHS", next_batch=True)
        self._count(trailer, len(self._messages), "messages", next_batch=True)
        self._close(trailer)

    def _file_ends(self, piece: bytes) -> None:
        self._close_open()
        trailer = self._envelope(piece)
        if self._header is None:
            self._flaw("order", "the file has a trailer but no header", "FHS")
        self._count(trailer, len(self._batches), "batches", next_batch=False)
        self._trailer = self._trailer or trailer

    def _close_open(self) -> None:
        """Closes a batch that has no trailer: an error if it had a header."""
        if self._messages is None:
            return
        if self._open is not None:
            sentence = "the batch has no trailer, so it may have been cut"
            self._flaw("trailer", sentence, "BTS", next_batch=True)
        self._close(None)

    def _close(self, trailer: Envelope | None) -> None:
        messages = tuple(self._messages or ())
        if not messages:
            self._flaw("empty", "the batch has no message", "BHS", next_batch=True)
        self._batches.append(Batch(header=self._open, messages=messages, trailer=trailer))
        self._open, self._messages = None, None

    def _count(self, trailer: Envelope, found: int, what: str, *, next_batch: bool) -> None:
        declared = trailer.field(1).strip()
        if not declared:
            return  # it is optional
        numeric = declared.isdigit() and len(declared) <= COUNT_DIGITS_MAX
        if not numeric or int(declared) != found:
            says = str(int(declared)) if numeric else "no number"
            sentence = f"{trailer.name}-1 says {says}, but there are {found} {what}"
            self._flaw("count", sentence, f"{trailer.name}-1", next_batch=next_batch)

    def _envelope(self, piece: bytes) -> Envelope:
        line = re.split(rb"[\r\n]", piece, maxsplit=1)[0]
        if piece[len(line) :].strip(BLANK):
            sentence = f"text that is no segment follows {line[:3].decode('ascii')}"
            self._flaw("text", sentence, line[:3].decode("ascii"))
        if line.startswith((b"FHS", b"BHS")):
            self._marks = _separators(line)
        return Envelope(line, self._marks)

    def _flaw(
        self, kind: FlawKind, sentence: str, position: str, *, next_batch: bool = False
    ) -> None:
        number = len(self._batches) + 1 if next_batch else 0
        self._flaws.append(Flaw(kind=kind, sentence=sentence, position=position, batch=number))


def _content(raw: bytes) -> bytes:
    """From the first segment on."""
    return raw.removeprefix(BYTE_ORDER_MARK).lstrip(BLANK)


def _pieces(content: bytes) -> Iterator[tuple[str, bytes]]:
    """What begins at each line that opens or closes something; together they are `content`, but
    for what stands before the first."""
    found = [(m.start(m.lastindex or 0), m[m.lastindex or 0]) for m in OPENING.finditer(content)]
    for (start, name), (end, _) in pairwise([*found, (len(content), b"")]):
        yield name.decode("ascii"), content[start:end]


def _unframed(piece: bytes) -> bytes:
    """A message without the end of its frame and the start of the next."""
    end = piece.rstrip(b"\x0b\r\n")
    return end[:-1] if end.endswith(b"\x1c") else piece


def _separators(line: bytes) -> Separators:
    """The delimiters of a batch header; the usual ones where it has none that are sound."""
    mark = line[3:4].decode("latin-1")
    encoding = line[4:].split(line[3:4], 1)[0].decode("latin-1")
    found = separators_of(mark, encoding) if is_delimiter(mark) else None
    if found is None and mark in ENCODING_DEFAULT:
        return Separators()
    return found or Separators(mark)


def _marks_of(received: BatchFile) -> Separators:
    heads = [received.header, *(batch.header for batch in received.batches)]
    return next((head.separators for head in heads if head is not None), Separators())


def _answering(
    name: str, header: Envelope | None, marks: Separators, control_id: str, at: datetime
) -> bytes:
    """FHS or BHS of an answer: what is echoed stands in the delimiters it came in."""
    marks = header.separators if header is not None else marks
    echo = header.field if header is not None else lambda _: b""
    fields = [
        name.encode(),
        marks.encoding.encode(),
        echo(5),
        echo(6),
        echo(3),
        echo(4),
        at.strftime("%Y%m%d%H%M%S%z").encode(),
        b"",
        b"",
        b"",
        escape(control_id, marks).encode(),
        echo(CONTROL_ID),
    ]
    while not fields[-1]:
        fields.pop()
    return marks.field.encode().join(fields) + b"\r"
