"""Character sets: what MSH-18 declares, what the bytes show, and what is read.

A declaration that the bytes contradict is flagged where only one reading is left, and refused
where another reading would say something else. Source: HL7 table 0211, v2.9 chapter 2.C.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from chartgate.formats.hl7v2_delimiters import ABSENT, MalformedMessage, Separators
from chartgate.formats.hl7v2_switching import switched

DECLARATION_MAX = 200
JAPANESE = "iso2022_jp_ext"
PARTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)
REGISTERED = {100: 1, 101: 2, 109: 3, 110: 4, 144: 5, 127: 6, 126: 7, 138: 8, 148: 9, 203: 15}

# HL7 table 0211 to Python's codecs, then what senders write instead. UTF-16 and UTF-32 cannot pass
# through MLLP. Python has no codec for CNS 11643, of which only the ASCII part can be read.
CHARSETS = {
    "": "ascii",
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    **{f"8859/{part}": f"iso8859-{part}" for part in PARTS},
    "ISO IR14": "shift_jis",
    "ISO IR87": JAPANESE,
    "ISO IR159": JAPANESE,
    "JAS2020": JAPANESE,
    "JIS X 0202": JAPANESE,
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "CNS 11643-1992": "ascii",
    "BIG-5": "big5",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    **{
        f"{start}8859{mark}{part}": f"iso8859-{part}"
        for part in PARTS
        for start in ("", "ISO", "ISO ", "ISO-", "ISO_")
        for mark in "-/"
    },
    **{f"ISO IR{number}": f"iso8859-{part}" for number, part in REGISTERED.items()},
    **{f"ISO_IR {number}": f"iso8859-{part}" for number, part in REGISTERED.items()},
    **{f"{start}125{n}": f"cp125{n}" for n in range(9) for start in ("WINDOWS-", "CP", "CP-")},
    "US-ASCII": "ascii",
    "LATIN1": "iso8859-1",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "UTF 8": "utf-8",
    "UNICODE UTF8": "utf-8",
    "ISO IR192": "utf-8",
    "GB18030": "gb18030",
    "GB 18030": "gb18030",
    "BIG5": "big5",
    "EUC-KR": "euc_kr",
    "SHIFT_JIS": "shift_jis",
    "ISO-2022-JP": JAPANESE,
}
WIDE = ("UNICODE UTF-16", "UNICODE UTF-32", "UTF-16", "UTF-32", "UTF16", "UTF32", "UCS-2")
WIDE_STARTS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff", b"M\x00S\x00", b"\x00M\x00S",
               b"M\x00\x00\x00", b"\x00\x00\x00M")  # fmt: skip
# What Windows sends where it says ISO 8859.
WINDOWS = {1: "cp1252", 2: "cp1250", 5: "cp1251", 6: "cp1256", 7: "cp1253", 8: "cp1255",
           9: "cp1254", 15: "cp1252"}  # fmt: skip
WINDOWS_OF = {f"iso8859-{part}": codec for part, codec in WINDOWS.items()}
# In these an accented letter never stands before another sign above 0x7F, so that two bytes that
# make a Latin letter in UTF-8 are one.
WESTERN = ("iso8859-1", "iso8859-9", "iso8859-15", "cp1252", "cp1254")
LATIN_LEADS = frozenset((0xC2, 0xC3))
SECOND_BYTES = ("shift_jis", "gb18030", "big5")  # theirs may be those of ASCII marks
CONTROLS = frozenset(range(0x80, 0xA0))


class Reading(NamedTuple):
    """The text, the codec that read it, and a sentence where the declaration is wrong."""

    text: str
    charset: str
    flag: str = ""


def read_text(
    content: bytes, declared: bytes, *, default: str, marked: bool, separators: Separators
) -> Reading:
    """The text of a message. Raises MalformedMessage of kind "charset".

    `declared` is MSH-18, `default` the HL7 name of the set to assume where it is empty; `marked`:
    there was a UTF-8 byte order mark.
    """
    codecs = declared_codecs(declared, default, separators.repetition)
    escape = separators.escape.encode()
    # One escape character stands in MSH-2; counting it is the cheapest way to see that it is all.
    escapes = content.count(escape) > 1
    if b"\x1b" in content or (escapes and (escape + b"C2" in content or escape + b"M2" in content)):
        return _switching(content, codecs, separators, marked=marked)
    if content.isascii():
        return Reading(content.decode("ascii"), codecs[0])
    return _plain(content, codecs, marked=marked)


def declared_codecs(declared: bytes, default: str, repetition: str) -> tuple[str, ...]:
    """Python's codecs for MSH-18: the message's own, then those it may switch to."""
    if not declared and not default:
        return ("ascii",)
    if len(declared) > DECLARATION_MAX:
        raise _wrong("MSH-18 names a character set that is not known")
    return _declared_codecs(declared, default, repetition)


def refuse_wide(raw: bytes) -> None:
    """Raises MalformedMessage where the bytes are UTF-16 or UTF-32."""
    if raw.startswith(WIDE_STARTS):
        raise _wrong("the message is in UTF-16 or UTF-32, which MLLP cannot carry; send UTF-8")


def encode_text(text: str, charset: str) -> bytes | None:
    """`text` in that codec, or None where reading would not give it back."""
    try:
        content = text.encode(charset)
        back = content.replace(b"\x1b(J", b"\x1b(B").decode(charset)
    except UnicodeError:
        return None
    return content if back == text else None


@lru_cache(maxsize=256)
def _declared_codecs(declared: bytes, default: str, repetition: str) -> tuple[str, ...]:
    names = [n.strip() for n in declared.decode("latin-1").upper().split(repetition)]
    if names == [""]:
        names = [default.upper()]
    for name in names:
        if name in WIDE:
            raise _wrong(f"MSH-18 says {name}, which MLLP cannot carry; send UNICODE UTF-8")
        if name not in CHARSETS:
            shown = f": {name[:40]!r}" if name.isascii() else ""
            raise _wrong(f"MSH-18 names a character set that is not known{shown}")
    codecs = tuple(CHARSETS[name] for name in names)
    # Japanese is reached by switches from ASCII, so its codec is that of the whole message.
    return (JAPANESE, *codecs) if codecs[0] == "ascii" and JAPANESE in codecs else codecs


def _switching(
    content: bytes, codecs: tuple[str, ...], separators: Separators, *, marked: bool
) -> Reading:
    """Text that may switch its character set on the way."""
    if codecs[0] in SECOND_BYTES:  # what looks like HL7's escape may be half of a character
        separators = replace(separators, escape=ABSENT)
    found = switched(content, separators, lambda part: _plain(part, codecs, marked=marked))
    if found is None:
        read, kinds = _plain(content, codecs, marked=marked), frozenset[str]()
        text = read.text
    else:
        text, read, kinds = found
    if "\x1b$" in text or "\x1b(I" in text:
        raise _wrong("a switch to another character set is not ended, or not to be decoded")
    flag = read.flag
    if "left" in kinds:
        flag = "a switch to another character set could not be undone, and is left as it was sent"
    elif "iso2022" in kinds and JAPANESE not in codecs:
        flag = "it switches to Japanese, which MSH-18 does not declare"
    return Reading(text, read.charset, flag)


def _plain(content: bytes, codecs: tuple[str, ...], *, marked: bool) -> Reading:
    """Text without switches."""
    codec = codecs[0]
    if content.isascii():
        return Reading(content.decode("ascii"), codec)
    unicode = _decoded(content, "utf-8")
    if codec == "utf-8" or marked:
        if unicode is None:
            raise _wrong(_not_of(content, "utf-8"))
        flag = "" if codec == "utf-8" else "a byte order mark says UTF-8, MSH-18 does not"
        return Reading(unicode, "utf-8", flag)
    if codec in ("ascii", JAPANESE):
        return _instead_of_ascii(content, codecs, unicode)
    if unicode is not None and _surely_unicode(content, codec):
        return Reading(unicode, "utf-8", f"MSH-18 means {codec}, but the bytes are UTF-8")
    text = _decoded(content, codec)
    if text is None:
        raise _wrong(_not_of(content, codec))
    if codec.startswith("iso8859") and CONTROLS & set(content):
        return _windows(content, codec, text)
    if unicode is None:
        return Reading(text, codec)
    if codec in ("gb18030", "big5", "shift_jis", "euc_kr") and max(content) >= 0xE0:
        raise _wrong(f"the bytes can be read as {codec} and as UTF-8; MSH-18 must say which")
    return Reading(text, codec, f"read as {codec}, which MSH-18 means; it could be UTF-8 as well")


def _instead_of_ascii(content: bytes, codecs: tuple[str, ...], unicode: str | None) -> Reading:
    """Above ASCII where only ASCII was declared: UTF-8 cannot be mistaken; else the only other
    set that was declared."""
    if unicode is not None:
        return Reading(unicode, "utf-8", "MSH-18 does not say so, but the bytes are UTF-8")
    others = {codec for codec in codecs if codec not in ("ascii", JAPANESE)}
    others = {codec for codec in others if _decoded(content, codec) is not None}
    if len(others) != 1:
        raise _wrong(_not_of(content, "ascii"))
    (codec,) = others
    flag = "" if codec == "shift_jis" else f"read as {codec}, without a switch to it"
    return Reading(content.decode(codec), codec, flag)


def _surely_unicode(content: bytes, codec: str) -> bool:
    """Whether valid UTF-8 cannot have been meant as `codec`."""
    if codec.startswith("iso8859") and CONTROLS & set(content):
        return True  # 8859 has no characters there, only controls that no message uses
    if codec not in WESTERN:
        return False
    leads = {byte for byte in content if byte >= 0xC0}
    return leads <= LATIN_LEADS or max(leads) >= 0xE0


def _windows(content: bytes, codec: str, text: str) -> Reading:
    """Bytes that are controls in ISO 8859: letters of Windows, where all the rest agrees."""
    companion = WINDOWS_OF.get(codec, "")
    above = bytes(byte for byte in content if byte >= 0xA0)
    other = _decoded(content, companion) if companion else None
    if other is None or _decoded(above, companion) != above.decode(codec):
        raise _wrong(f"MSH-18 means {codec}, but the bytes are of another character set")
    return Reading(other, companion, f"MSH-18 means {codec}, but the bytes are {companion}")


def _decoded(content: bytes, codec: str) -> str | None:
    try:
        return content.decode(codec)
    except UnicodeDecodeError:
        return None


def _not_of(content: bytes, codec: str) -> str:
    try:
        content.decode(codec)
    except UnicodeDecodeError as error:
        return f"the bytes at {error.start} are not of the character set {codec}"
    return f"the bytes are not of the character set {codec}"


def _wrong(sentence: str) -> MalformedMessage:
    return MalformedMessage(sentence, kind="charset", position="MSH-18")
