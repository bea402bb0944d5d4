"""Character sets: those of table 0211, and declarations that the bytes contradict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartgate.formats.hl7v2 import MalformedMessage, Message, parse
from chartgate.formats.hl7v2_charsets import CHARSETS, encode_text
from chartgate.testing.messages import header

TABLE_0211 = [
    "ASCII", *(f"8859/{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)), "ISO IR6", "ISO IR14",
    "ISO IR87", "ISO IR159", "GB 18030-2000", "KS X 1001", "CNS 11643-1992", "BIG-5", "UNICODE",
    "UNICODE UTF-8", "JAS2020", "JIS X 0202",
]  # fmt: skip


def read(declared: str, content: bytes, *, default: str = "") -> Message:
    raw = (header(charset=declared) + "\rZZZ|").encode() + content + b"|end\r"
    found = parse(raw, charset_default=default)
    assert found.raw == raw
    assert found.value("ZZZ", 2) == "end"
    return found


def refused(declared: str, content: bytes) -> str:
    with pytest.raises(MalformedMessage) as error:
        read(declared, content)
    assert (error.value.kind, error.value.position) == ("charset", "MSH-18")
    return str(error.value)


@pytest.mark.parametrize("declared", TABLE_0211)
def test_every_set_of_the_table_is_known_and_carries_ascii(declared: str) -> None:
    found = read(declared, b"plain")
    assert (found.value("ZZZ", 1), found.charset_flag) == ("plain", "")
    assert "A|^~\\&".encode(CHARSETS[declared]) == b"A|^~\\&"


@pytest.mark.parametrize(
    ("declared", "codec", "text"),
    [
        ("UNICODE UTF-8", "utf-8", "Zoë 山田 😀"),
        ("8859/1", "latin-1", "Zoë Müller"),
        ("8859/2", "iso8859-2", "Łódź"),
        ("8859/3", "iso8859-3", "Ġorġ"),
        ("8859/4", "iso8859-4", "Ķēniņš"),
        ("8859/5", "iso8859-5", "Иванов"),
        ("8859/6", "iso8859-6", "محمد"),
        ("8859/7", "iso8859-7", "Αλέξης"),
        ("8859/8", "iso8859-8", "שלום"),
        ("8859/9", "iso8859-9", "Şahin"),
        ("8859/15", "iso8859-15", "Zoë €"),
        ("ISO IR14", "shift_jis", "ﾔﾏﾀﾞ"),
        ("~ISO IR87", "iso2022_jp", "山田太郎"),
        ("ASCII~ISO IR87~ISO IR159", "iso2022_jp_ext", "山田丂"),
        ("8859/1~ISO IR87", "iso2022_jp", "山田太郎"),
        ("GB 18030-2000", "gb18030", "王小明"),
        ("BIG-5", "big5", "許功蓋"),
        ("KS X 1001", "euc_kr", "김철수"),
        ("windows-1251", "cp1251", "Иванов"),
    ],
)
def test_names_are_read_as_declared_without_a_flag(declared: str, codec: str, text: str) -> None:
    """Decoded before it is split: a second byte may look like a delimiter."""
    found = read(declared, text.encode(codec))
    assert (found.value("ZZZ", 1), found.charset_flag) == (text, "")


@pytest.mark.parametrize(
    ("declared", "content", "text", "charset"),
    [
        ("", "Müller".encode(), "Müller", "utf-8"),
        ("ASCII", "山田".encode(), "山田", "utf-8"),
        ("8859/1", "Müller".encode(), "Müller", "utf-8"),
        ("8859/1", "山田".encode(), "山田", "utf-8"),
        ("8859/5", "Иванов".encode(), "Иванов", "utf-8"),
        ("8859/1", "“Müller”".encode("cp1252"), "“Müller”", "cp1252"),
        ("8859/15", "O’Brien".encode("cp1252"), "O’Brien", "cp1252"),
        ("8859/9", "Şahin’s".encode("cp1254"), "Şahin’s", "cp1254"),
        ("ASCII~8859/1", "Müller".encode("latin-1"), "Müller", "iso8859-1"),
        ("", "山田".encode("iso2022_jp"), "山田", "ascii"),
        ("GB 18030-2000", "Иван".encode("gb18030"), "Иван", "gb18030"),
        ("UNICODE", "Müller".encode(), "Müller", "utf-8"),
    ],
)
def test_wrong_declaration_when_one_reading_is_left_is_flagged(
    declared: str, content: bytes, text: str, charset: str
) -> None:
    found = read(declared, content)
    assert (found.value("ZZZ", 1), found.charset) == (text, charset)
    is_right = declared in ("UNICODE", "GB 18030-2000")
    assert bool(found.charset_flag) != is_right
    assert text not in found.charset_flag


@pytest.mark.parametrize(
    ("declared", "content"),
    [
        ("UNICODE UTF-8", "Müller".encode("latin-1")),
        ("", "Müller".encode("latin-1")),
        ("ASCII~8859/1~8859/2", "Müller".encode("latin-1")),
        ("8859/2", "“ą”".encode("cp1250")),
        ("8859/15", b"\xa4 100 \x93x\x94"),
        ("8859/3", b"\xa5"),
        ("8859/1", b"\x81"),
        ("UNICODE", b"M\xfcller"),
        ("CNS 11643-1992", b"\xa4\xa1"),
        ("GB 18030-2000", "中文中文".encode()),
        ("~ISO IR87", b"\x1b$B;3|"),
        ("UNICODE UTF-8", b"\xed\xa0\x80"),
        ("UNICODE UTF-8", b"\xc0\xbc"),
    ],
)
def test_bytes_when_a_guess_could_change_what_is_said_are_refused(
    declared: str, content: bytes
) -> None:
    assert refused(declared, content).isascii()


def test_two_readings_when_the_declared_one_is_sound_keep_it_with_a_flag() -> None:
    """A capital before a closing guillemet in Latin-1 happens to be valid UTF-8."""
    found = read("8859/1", "CAFÉ»".encode("latin-1"))
    assert found.value("ZZZ", 1) == "CAFÉ»"
    assert "UTF-8" in found.charset_flag


@pytest.mark.parametrize("declared", ["UNICODE UTF-16", "UNICODE UTF-32", "utf-16"])
def test_wide_sets_when_declared_are_refused_with_what_to_do(declared: str) -> None:
    assert "send UNICODE UTF-8" in refused(declared, b"x")


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_wide_bytes_are_refused_with_what_to_do(codec: str) -> None:
    with pytest.raises(MalformedMessage, match="UTF-16 or UTF-32") as error:
        parse((header() + "\r").encode(codec))
    assert error.value.kind == "charset"


def test_unknown_set_is_refused_and_named() -> None:
    assert "'KLINGON'" in refused("Klingon", b"x")
    assert "not known" in refused("x" * 5000, b"x")


def test_byte_order_mark_outweighs_the_declaration_and_is_flagged() -> None:
    raw = b"\xef\xbb\xbf" + (header(charset="8859/1") + "\rZZZ|É»\r").encode()
    found = parse(raw)
    assert (found.value("ZZZ", 1), found.raw) == ("É»", raw)
    assert "byte order mark" in found.charset_flag
    with pytest.raises(MalformedMessage):
        parse(raw + b"\xff")


def test_default_of_the_feed_stands_in_for_an_empty_declaration_only() -> None:
    assert read("", "Müller".encode("latin-1"), default="8859/1").charset_flag == ""
    assert read("UNICODE UTF-8", "Müller".encode(), default="8859/1").charset == "utf-8"


@given(st.sampled_from(sorted(set(CHARSETS.values()))), st.text(max_size=30))
def test_encoded_text_is_what_a_reader_gets_back(codec: str, text: str) -> None:
    content = encode_text(text, codec)
    if content is not None:
        assert content.decode(codec) == text


def test_yen_sign_cannot_become_an_escape_character() -> None:
    """Shift JIS has it in the place of the backslash."""
    assert encode_text("¥", "shift_jis") is None
    assert encode_text("¥", "iso2022_jp_ext") is None
