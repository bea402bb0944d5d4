"""What an ACK says, in whatever form it comes."""

import pytest

from chartgate.formats.hl7v2_answer import Answer, read_answer

MSH = b"MSH|^~\\&|B|B|A|A|20260302||ACK|9|P|2.5\r"


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (MSH + b"MSA|AA|x1\r", Answer("AA", b"x1")),
        (MSH + b"MSA|AA|x1", Answer("AA", b"x1")),
        (MSH.replace(b"\r", b"\n") + b"MSA|CA|x1\n", Answer("CA", b"x1")),
        (MSH + b"\nMSA|CA|x1|text\r\n", Answer("CA", b"x1")),
        (MSH + b"SFT|1\rMSA|AR| x1 |text\r", Answer("AR", b"x1")),
        (MSH.replace(b"|", b"!") + b"MSA!AE!x|1\r", Answer("AE", b"x|1")),
        (MSH + b"MSA|AE|x1\rERR||PID^1|101^missing\r", Answer("AE", b"x1", "101")),
        (MSH + b"MSA|AE|x1\rERR||PID^1|Ada Example\r", Answer("AE", b"x1", "")),
        (MSH + b"MSA|AE|x1\rERR|PID^1\r", Answer("AE", b"x1", "")),
        (MSH + b"MSA||\r", Answer("", b"")),
        (MSH + b"MSA|AA\r", None),
        (MSH + b"MSAX|AA|x1\r", None),
        (MSH, None),
        (b"MSA|AA|x1\r", None),
        (b"", None),
        (b"HTTP/1.1 400 Bad Request", None),
    ],
)
def test_answer_is_code_and_control_id_or_none(raw: bytes, answer: Answer | None) -> None:
    assert read_answer(raw) == answer
