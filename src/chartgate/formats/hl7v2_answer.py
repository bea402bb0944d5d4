"""Acknowledgements that come back for what was sent: which message, and what was said of it."""

from dataclasses import dataclass

from chartgate.formats.hl7v2 import read_header


@dataclass(frozen=True, slots=True)
class Answer:
    """What an ACK says. The bytes are as they were sent."""

    code: str  # MSA-1; as sent, so perhaps none that the standard names
    control_id: bytes  # MSA-2
    trouble: str = ""  # code of table 0357 from ERR-3, where it is one; no other text is taken


def read_answer(raw: bytes) -> Answer | None:
    """The answer in these bytes, in whatever delimiters; None where it is no acknowledgement."""
    header = read_header(raw)
    if header is None:
        return None
    mark = header.separators.field.encode("latin-1")
    segments = [line.split(mark) for line in raw.replace(b"\n", b"\r").split(b"\r")]
    msa = next((fields for fields in segments if fields[0] == b"MSA"), None)
    if msa is None or len(msa) < 3:
        return None
    err = next((fields for fields in segments if fields[0] == b"ERR"), [])
    named = err[3] if len(err) > 3 else b""
    trouble = named.split(header.separators.component.encode("latin-1"))[0]
    return Answer(
        code=msa[1].strip().decode("latin-1"),
        control_id=msa[2].strip(b" "),
        trouble=trouble.decode() if len(trouble) == 3 and trouble.isdigit() else "",
    )
