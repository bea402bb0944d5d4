"""Switches of the character set inside a message, by ISO 2022 or by HL7's own escapes.

Both are undone before a message is taken apart, since the second byte of a switched character may
look like a delimiter. A switch ends with its line at the latest, and to an eight-bit set with the
next delimiter. What cannot be decoded stays as it was sent.
Source: HL7 v2.9 section 2.7.4; ISO 2022; ISO-IR register.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol, TypeVar

from chartgate.formats.hl7v2_delimiters import ABSENT, Separators

# The bytes after ESC to the codec of what follows: eight-bit sets, put into the upper half.
EIGHT_BIT = {
    "2D41": "iso8859-1", "2D42": "iso8859-2", "2D43": "iso8859-3", "2D44": "iso8859-4",
    "2D4C": "iso8859-5", "2D47": "iso8859-6", "2D46": "iso8859-7", "2D48": "iso8859-8",
    "2D4D": "iso8859-9", "2D62": "iso8859-15", "2949": "shift_jis",
    "242943": "euc_kr", "242941": "gb2312",
}  # fmt: skip
# ASCII, and the Japanese 7-bit set, in whose place of the backslash HL7 has its escape.
BACK = "28(?:42|4A)"
SWITCH = re.compile(rb"[CM]2[0-9A-F]{3,5}.\Z")


class Read(Protocol):
    """What a decoder of plain parts gives."""

    @property
    def text(self) -> str: ...
    @property
    def flag(self) -> str: ...


R = TypeVar("R", bound=Read)


def switched(
    content: bytes, separators: Separators, plain: Callable[[bytes], R]
) -> tuple[str, R, frozenset[str]] | None:
    """The text, how its plain parts were read, and which switches there were: "iso2022", "hl7",
    and "left" for those that could not be undone. None if there are none. `plain` reads the
    rest."""
    kinds: set[str] = set()
    pieces: list[str | bytes] = []
    start = 0
    for match in _pattern(separators).finditer(content):
        text = _undone(match)
        if text is None:
            if match["other"] is None or SWITCH.match(match["other"], 1):
                kinds.add("left")
            continue
        kinds.add("iso2022" if match[0][:1] == b"\x1b" else "hl7")
        pieces += (content[start : match.start()], text)
        start = match.end()
    if not kinds:
        return None
    pieces.append(content[start:])
    # The plain parts are read as one: what they show of their set must not depend on switches.
    whole = plain(b"\x00".join(piece for piece in pieces if isinstance(piece, bytes)))
    parts = whole.text.split("\x00")
    switches = [piece for piece in pieces if isinstance(piece, str)]
    if len(parts) != len(switches) + 1:
        return None  # a NUL stands in the message, and it will be refused for that
    text = parts[0] + "".join(s + p for s, p in zip(switches, parts[1:], strict=True))
    return text, whole, frozenset(kinds)


@lru_cache(maxsize=256)
def _pattern(separators: Separators) -> re.Pattern[bytes]:
    others = (separators.field, separators.component, separators.repetition,
              separators.subcomponent)  # fmt: skip
    ends = "".join(re.escape(mark) for mark in others if mark != ABSENT) + r"\r\n"
    # With no escape character there are only those of ISO 2022.
    mark = re.escape(separators.escape) if separators.escape != ABSENT else "(?!)"
    # Pairs never hold an opener, so that what is not closed is looked through only once.
    pair = rf"(?:(?!.?{mark}M)[\x21-\x7e]{{2}})"
    token = rf"{mark}(?![CM]2)[^{mark}{ends}]*{mark}"
    pattern = (
        r"\x1b(?P<iso>\$[@B]|\$\(D|\(I)(?P<run7>[\x21-\x7e]*+)(?:\x1b\([BJ]|(?=[\x1b\r\n]|\Z))"
        r"|\x1b\([BJ]"
        rf"|{mark}M(?P<kanji>24(?:40|42|2844)){mark}(?P<pairs>{pair}+?){mark}C{BACK}{mark}"
        rf"|{mark}[CM](?P<eight>2D[0-9A-F]{{2}}|2949|2429[0-9A-F]{{2}}){mark}"
        rf"(?P<run>(?:[^{mark}{ends}]|{token})*+)"
        rf"|{mark}C{BACK}{mark}"
        rf"|(?P<other>{mark}[^{mark}{ends}]*+{mark})"
    )
    return re.compile(pattern.encode("ascii"))


def _undone(match: re.Match[bytes]) -> str | None:
    """The text that a switch stands for; None leaves it as it was sent."""
    if match["other"] is not None:
        return None
    if match["iso"] is not None:
        return _japanese(match["iso"], match["run7"])
    if match["kanji"] is not None:
        return _japanese(bytes.fromhex(match["kanji"].decode()), match["pairs"])
    if match["eight"] is not None:
        codec = EIGHT_BIT.get(match["eight"].decode())
        return _decoded(match["run"], codec) if codec else None
    return ""


def _japanese(designation: bytes, pairs: bytes) -> str | None:
    return _decoded(b"\x1b" + designation + pairs + b"\x1b(B", "iso2022_jp_ext")


def _decoded(content: bytes, codec: str) -> str | None:
    try:
        return content.decode(codec)
    except UnicodeDecodeError:
        return None
